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
pub(crate) use family::Sheet;
pub use family::{Family, Kind};
pub use group::Dropped;
pub(crate) use kernel::OOM_KILLS;
pub use namespaces::NamespaceType;
pub(crate) use own::{Environment, OwnState, Requests, of_exporter};

use crate::model::{Names, Role, Series, Sums};
use crate::observe::{View, Zombies};
use group::{Group, groups};

/// A container has no more samples than this.
pub(crate) const MAX_PER_CONTAINER: usize = kernel::MAX_SAMPLES + files::MAX_SAMPLES + OWN_SAMPLES;

/// Identity and start, zombies by parent and their age, processes, the sandbox.
const OWN_SAMPLES: usize = 8;

/// What is shown of all that is known.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Groups of metrics.
    pub collectors: Collectors,
    /// A label that is left empty.
    pub dropped: Option<Dropped>,
    /// Types of namespaces with series of their own; the others are shown together.
    pub namespace_types: Vec<NamespaceType>,
}

/// All samples of the node, without those of what could not be read.
pub(crate) fn sheet(view: &View<'_>, choice: &Choice) -> Sheet {
    let mut sheet = Sheet::new(choice.collectors);
    let dropped = choice.dropped;
    for (names, group) in groups(view, dropped) {
        if let Some(sums) = group.sums(view) {
            kernel::of_container(&mut sheet, &names, &sums, &choice.namespace_types);
        }
        if let Some(zombies) = group.zombies(view) {
            of_zombies(&mut sheet, &names, &zombies);
        }
        if view.is_current {
            of_processes(&mut sheet, view, &names, &group, dropped);
        }
        if group.containers().next().is_some() {
            files::of_container(&mut sheet, &names, &group.files(view));
        }
        // What has other names than its own is not one container.
        if let Some(series) = group.containers().find(|series| series.owner.names == *names) {
            of_identity(&mut sheet, view, &names, series);
        }
    }
    if let Some(snapshot) = view.snapshot {
        kernel::of_node(&mut sheet, &Sums::from(&snapshot.node));
        kernel::of_nobody(&mut sheet, &view.model.nobody(snapshot));
    }
    kernel::of_flag_sets(&mut sheet, view.flag_sets);
    own::of_probes(&mut sheet, view.probes);
    own::of_maps(&mut sheet, view);
    own::of_tables(&mut sheet, view);
    sheet
}

fn of_zombies(sheet: &mut Sheet, names: &Names, zombies: &Zombies) {
    let common = names.labels();
    let by_parent = [("init", zombies.of_init), ("pause", zombies.of_pause), ("other", zombies.of_others)];
    for (parent, count) in by_parent {
        sheet.count(&catalogue::ZOMBIE_PROCESSES, &[&common[..], &[parent]].concat(), count);
    }
    sheet.set(&catalogue::ZOMBIE_OLDEST_AGE_SECONDS, &common, zombies.oldest.as_secs_f64());
}

fn of_processes(
    sheet: &mut Sheet,
    view: &View<'_>,
    names: &Names,
    group: &Group<'_>,
    dropped: Option<Dropped>,
) {
    let mut all = Some(0);
    for series in group.series() {
        let role = series.owner.role;
        let own =
            if role == Role::Host { view.n_host_processes(series) } else { Some(view.n_processes(series)) };
        if role == Role::Sandbox && dropped != Some(Dropped::Pod) {
            let is_up = f64::from(u8::from(own > Some(0)));
            sheet.set(&catalogue::SANDBOX_INIT_UP, &series.owner.names.labels()[..2], is_up);
        }
        all = all.zip(own).map(|(all, own)| all + own);
    }
    if let Some(all) = all {
        sheet.size(&catalogue::PROCESSES, &names.labels(), all);
    }
}

/// What only one container has.
fn of_identity(sheet: &mut Sheet, view: &View<'_>, names: &Names, series: &Series) {
    let common = names.labels();
    let owner = &series.owner;
    let identity =
        [&*owner.container_id, &owner.pod_uid, owner.role.label(), &owner.runtime, &owner.qos_class];
    sheet.set(&catalogue::CONTAINER_INFO, &[&common[..], &identity].concat(), 1.0);
    if let Some(at) = view.model.started_at(series) {
        sheet.set(&catalogue::CONTAINER_START_TIME_SECONDS, &common, at.as_secs_f64());
    }
    files::of_limits(sheet, names, &view.gauges(series));
}
