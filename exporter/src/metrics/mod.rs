//! From what is known to samples.

mod catalogue;
mod family;
mod files;
mod kernel;
mod own;
mod zombies;

pub use catalogue::FAMILIES;
pub(crate) use family::Sheet;
pub use family::{Family, Kind};
pub(crate) use own::{OwnState, Requests, of_exporter};

use crate::cgroups::{FileGauges, n_processes, read_gauges};
use crate::model::{Names, Role, Series, Sums};
use crate::observe::View;

/// All samples of the node.
pub(crate) fn sheet(view: &View<'_>) -> Sheet {
    let mut sheet = Sheet::default();
    let zombies = zombies::Zombies::of(view);
    for (names, series) in view.model.series() {
        kernel::of_container(&mut sheet, names, &view.model.sums(series, view.snapshot));
        zombies.show(&mut sheet, names);
        // The root's processes are kernel threads too: those of the host are not counted.
        if series.owner.role != Role::Host {
            of_container(&mut sheet, view, names, series);
        }
    }
    kernel::of_node(&mut sheet, &sums(view.snapshot.node.clone()));
    kernel::of_nobody(&mut sheet, &view.model.nobody(view.snapshot));
    own::of_probes(&mut sheet, view.probes);
    own::of_tables(&mut sheet, view);
    sheet
}

fn of_container(sheet: &mut Sheet, view: &View<'_>, names: &Names, series: &Series) {
    let common = [names.namespace.as_str(), &names.pod, &names.container];
    let owner = &series.owner;
    let identity =
        [&*owner.container_id, &owner.pod_uid, owner.role.label(), &owner.runtime, &owner.qos_class];
    sheet.set(&catalogue::CONTAINER_INFO, &[&common[..], &identity].concat(), 1.0);
    let top = view.model.live(series).filter(|(_, is_top)| *is_top).last();
    let gauges = top.map_or_else(FileGauges::default, |(path, _)| read_gauges(&view.mount_point.join(path)));
    files::of_container(sheet, names, &view.model.files(series), &gauges);
    let processes = n_alive(view, series);
    sheet.count(&catalogue::PROCESSES, &common, processes);
    if owner.role == Role::Sandbox {
        sheet.set(&catalogue::SANDBOX_INIT_UP, &common[..2], f64::from(u8::from(processes > 0)));
    }
}

fn n_alive(view: &View<'_>, series: &Series) -> u64 {
    view.model.live(series).filter_map(|(path, _)| n_processes(&view.mount_point.join(path))).sum()
}

fn sums(counts: podproof_ebpf::counters::Counts) -> Sums {
    let mut sums = Sums::zero(&counts);
    sums.add(&counts);
    sums
}
