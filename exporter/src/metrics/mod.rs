//! From what is known to samples.

mod catalogue;
mod family;
mod files;
mod kernel;
mod own;

pub use catalogue::FAMILIES;
pub(crate) use family::Sheet;
pub use family::{Family, Kind};
pub(crate) use kernel::OOM_KILLS;
pub(crate) use own::{OwnState, Requests, of_exporter};

use crate::model::{Names, Role, Series, Sums};
use crate::observe::View;

/// All samples of the node.
pub(crate) fn sheet(view: &View<'_>) -> Sheet {
    let mut sheet = Sheet::default();
    for (names, series) in view.model.series() {
        kernel::of_container(&mut sheet, names, &view.model.sums(series, view.snapshot));
        of_zombies(&mut sheet, view, names);
        // The root's processes are kernel threads too: those of the host are not counted.
        if series.owner.role != Role::Host {
            of_container(&mut sheet, view, names, series);
        }
    }
    kernel::of_node(&mut sheet, &Sums::from(&view.snapshot.node));
    kernel::of_nobody(&mut sheet, &view.model.nobody(view.snapshot));
    own::of_probes(&mut sheet, view.probes);
    own::of_tables(&mut sheet, view);
    sheet
}

fn of_zombies(sheet: &mut Sheet, view: &View<'_>, names: &Names) {
    let common = names.labels();
    let zombies = view.zombies(names);
    for (parent, count) in [("init", zombies.of_init), ("other", zombies.of_others)] {
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
    let processes = view.n_processes(series);
    sheet.count(&catalogue::PROCESSES, &common, processes);
    if owner.role == Role::Sandbox {
        sheet.set(&catalogue::SANDBOX_INIT_UP, &common[..2], f64::from(u8::from(processes > 0)));
    }
}
