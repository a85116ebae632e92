//! From what is known to samples.

mod catalogue;
mod collector;
mod family;
mod files;
mod kernel;
mod own;

pub use catalogue::FAMILIES;
pub use collector::{Collector, Collectors};
pub(crate) use family::Sheet;
pub use family::{Family, Kind};
pub(crate) use kernel::OOM_KILLS;
pub(crate) use own::{OwnState, Requests, of_exporter};

use crate::model::{Names, Role, Series, Sums};
use crate::observe::View;

/// A container has no more samples than this.
pub(crate) const MAX_PER_CONTAINER: usize = kernel::MAX_SAMPLES + files::MAX_SAMPLES + OWN_SAMPLES;

/// Identity and start, zombies by parent and their age, processes, the sandbox.
const OWN_SAMPLES: usize = 8;

/// All samples of the node.
pub(crate) fn sheet(view: &View<'_>, wanted: Collectors) -> Sheet {
    let mut sheet = Sheet::new(wanted);
    for (names, series) in view.model.series() {
        kernel::of_container(&mut sheet, names, &view.model.sums(series, view.snapshot));
        of_zombies(&mut sheet, view, names);
        // The root's processes are kernel threads too: those of the host are not counted.
        if !matches!(series.owner.role, Role::Host | Role::Overflow) {
            of_container(&mut sheet, view, names, series);
        }
    }
    kernel::of_node(&mut sheet, &Sums::from(&view.snapshot.node));
    kernel::of_nobody(&mut sheet, &view.model.nobody(view.snapshot));
    kernel::of_flag_sets(&mut sheet, view.flag_sets);
    own::of_probes(&mut sheet, view.probes);
    own::of_maps(&mut sheet, view);
    own::of_tables(&mut sheet, view);
    sheet
}

fn of_zombies(sheet: &mut Sheet, view: &View<'_>, names: &Names) {
    let common = names.labels();
    let zombies = view.zombies(names);
    let by_parent = [("init", zombies.of_init), ("pause", zombies.of_pause), ("other", zombies.of_others)];
    for (parent, count) in by_parent {
        sheet.count(&catalogue::ZOMBIE_PROCESSES, &[&common[..], &[parent]].concat(), count);
    }
    sheet.set(&catalogue::ZOMBIE_OLDEST_AGE_SECONDS, &common, zombies.oldest.as_secs_f64());
}

fn of_container(sheet: &mut Sheet, view: &View<'_>, names: &Names, series: &Series) {
    let common = names.labels();
    let owner = &series.owner;
    let identity =
        [&*owner.container_id, &owner.pod_uid, owner.role.label(), &owner.runtime, &owner.qos_class];
    sheet.set(&catalogue::CONTAINER_INFO, &[&common[..], &identity].concat(), 1.0);
    files::of_container(sheet, names, &view.model.files(series), &view.gauges(series));
    if let Some(at) = view.model.started_at(series) {
        sheet.set(&catalogue::CONTAINER_START_TIME_SECONDS, &common, at.as_secs_f64());
    }
    let processes = view.n_processes(series);
    sheet.size(&catalogue::PROCESSES, &common, processes);
    if owner.role == Role::Sandbox {
        sheet.set(&catalogue::SANDBOX_INIT_UP, &common[..2], f64::from(u8::from(processes > 0)));
    }
}
