//! From what is known to samples.

mod catalogue;
mod collector;
mod family;
mod files;
mod group;
mod kernel;
mod namespaces;
mod own;

pub use catalogue::FAMILIES;
pub use collector::{Collector, Collectors};
use family::ContainerSheet;
pub(crate) use family::Sheet;
pub use family::{Family, Kind};
pub(crate) use kernel::OOM_KILLS;
pub use namespaces::NamespaceType;
pub(crate) use own::{Environment, OwnState, Requests, of_exporter};

use crate::model::{Dropped, Names, Role, Series, Sums};
use crate::observe::{View, Zombies};
use group::{Group, groups};

/// So many samples of each family a container has that neither counters of the kernel nor files make: identity and start, zombies by
/// parent and their age, processes, the sandbox.
static OWN_SAMPLES: &[(&Family, usize)] = &[
    (&catalogue::CONTAINER_INFO, 1),
    (&catalogue::CONTAINER_START_TIME_SECONDS, 1),
    (&catalogue::ZOMBIE_PROCESSES, 3),
    (&catalogue::ZOMBIE_OLDEST_AGE_SECONDS, 1),
    (&catalogue::PROCESSES, 1),
    (&catalogue::SANDBOX_INIT_UP, 1),
];

/// What is shown of all that is known.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Groups of metrics.
    pub collectors: Collectors,
    /// Types of namespaces with series of their own; the others are shown together.
    pub namespace_types: Vec<NamespaceType>,
}

impl Choice {
    /// All that can be shown.
    pub(crate) fn everything() -> Self {
        Self { collectors: Collectors::ALL, namespace_types: NamespaceType::ALL.to_vec() }
    }

    /// A container has no more samples than this.
    pub(crate) fn max_per_container(&self) -> usize {
        let others = files::SAMPLES.iter().chain(OWN_SAMPLES);
        let wanted = others.filter(|(family, _)| self.collectors.has(family.collector));
        kernel::max_samples(self) + wanted.map(|(_, n)| n).sum::<usize>()
    }
}

/// All samples of the node, without those of what could not be read.
pub(crate) fn sheet(view: &View<'_>, choice: &Choice) -> Sheet {
    let mut sheet = Sheet::new(choice.collectors);
    for (names, group) in groups(view) {
        if view.is_current {
            of_processes(&mut sheet, view, &names, &group);
        }
        let own = &mut sheet.of(&names);
        if let Some(sums) = group.sums(view) {
            kernel::of_container(own, &sums, &choice.namespace_types);
        }
        if let Some(zombies) = group.zombies(view) {
            of_zombies(own, &zombies);
        }
        if group.containers().next().is_some() {
            files::of_container(own, &group.files(view));
        }
        // What has other names than its own is not one container.
        if let Some(series) = group.containers().find(|series| series.owner.names == *names) {
            of_identity(own, view, series);
        }
    }
    if let Some(snapshot) = view.snapshot {
        kernel::of_node(&mut sheet, &Sums::from(&snapshot.node));
        for (reason, sums) in view.unattributed(snapshot) {
            kernel::of_nobody(&mut sheet, reason, &sums);
        }
    }
    kernel::of_flag_sets(&mut sheet, view.flag_sets);
    own::of_probes(&mut sheet, view.probes);
    own::of_maps(&mut sheet, view);
    own::of_tables(&mut sheet, view);
    sheet
}

fn of_zombies(sheet: &mut ContainerSheet<'_>, zombies: &Zombies) {
    let by_parent = [("init", zombies.of_init), ("pause", zombies.of_pause), ("other", zombies.of_others)];
    for (parent, count) in by_parent {
        sheet.count(&catalogue::ZOMBIE_PROCESSES, &[parent], count);
    }
    sheet.set(&catalogue::ZOMBIE_OLDEST_AGE_SECONDS, &[], zombies.oldest.as_secs_f64());
}

fn of_processes(sheet: &mut Sheet, view: &View<'_>, names: &Names, group: &Group<'_>) {
    let mut all = Some(0);
    for series in group.series() {
        let role = series.owner.role;
        let own =
            if role == Role::Host { view.n_host_processes(series) } else { Some(view.n_processes(series)) };
        if role == Role::Sandbox && view.model.dropped() != Some(Dropped::Pod) {
            let is_up = own > Some(0) && view.is_first_alive(series).unwrap_or(true);
            let is_up = f64::from(u8::from(is_up));
            sheet.set(&catalogue::SANDBOX_INIT_UP, &series.owner.names.labels()[..2], is_up);
        }
        all = all.zip(own).map(|(all, own)| all + own);
    }
    if let Some(all) = all {
        sheet.of(names).size(&catalogue::PROCESSES, &[], all);
    }
}

/// What only one container has.
fn of_identity(sheet: &mut ContainerSheet<'_>, view: &View<'_>, series: &Series) {
    let owner = &series.owner;
    let identity =
        [&*owner.container_id, &owner.pod_uid, owner.role.label(), &owner.runtime, &owner.qos_class];
    sheet.set(&catalogue::CONTAINER_INFO, &identity, 1.0);
    if let Some(at) = view.model.started_at(series) {
        sheet.set(&catalogue::CONTAINER_START_TIME_SECONDS, &[], at.as_secs_f64());
    }
    files::of_limits(sheet, &view.model.gauges(series));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_makes_room() {
        let room = |choice: &Choice| choice.max_per_container();
        let all = Choice::everything();
        let without = |left_out: &[Collector]| {
            let others = Collector::OPTIONAL.iter().filter(|collector| !left_out.contains(collector));
            let collectors = others.fold(Collectors::NONE, |all, collector| all.with(*collector));
            room(&Choice { collectors, ..all.clone() })
        };
        assert_eq!(room(&all), 123);
        assert_eq!(without(&[Collector::ThrottleHistogram]), 115);
        assert_eq!(without(&[Collector::ThrottleHistogram, Collector::ZombieHistogram]), 115 - 11);
        // Identity, start and migrations.
        assert_eq!(without(Collector::OPTIONAL), 4);
        let four = ["user", "mnt", "pid", "net"];
        let is_one = |kind: &NamespaceType| four.contains(&kind.label());
        let four = Choice { namespace_types: NamespaceType::ALL.into_iter().filter(is_one).collect(), ..all };
        assert_eq!(room(&four), 123 - 12);
    }
}
