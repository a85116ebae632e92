//! Samples of what the controllers' files tell.

use super::catalogue as all;
use super::family::{ContainerSheet, Family, as_f64};
use crate::cgroups::{FileCounters, FileGauges};

/// So many samples of each family a container has with all controllers.
pub(super) static SAMPLES: &[(&Family, usize)] = &[
    (&all::MEMORY_EVENTS, FileCounters::MEMORY_EVENTS.len()),
    (&all::CPU_PERIODS, 1),
    (&all::CPU_THROTTLED_PERIODS, 1),
    (&all::CPU_THROTTLED_SECONDS, 1),
    (&all::PIDS_LIMIT_HITS, 1),
    (&all::PIDS, 1),
    (&all::PIDS_LIMIT, 1),
];

pub(super) fn of_container(sheet: &mut ContainerSheet<'_>, counters: &FileCounters) {
    if let Some(values) = counters.memory {
        for (event, value) in FileCounters::MEMORY_EVENTS.iter().zip(values) {
            sheet.count(&all::MEMORY_EVENTS, &[event], value);
        }
    }
    if let Some([periods, throttled, throttled_usec]) = counters.cpu {
        sheet.count(&all::CPU_PERIODS, &[], periods);
        sheet.count(&all::CPU_THROTTLED_PERIODS, &[], throttled);
        sheet.set(&all::CPU_THROTTLED_SECONDS, &[], as_f64(throttled_usec) / 1e6);
    }
    if let Some(hits) = counters.pids_limit_hits {
        sheet.count(&all::PIDS_LIMIT_HITS, &[], hits);
    }
}

/// What only makes sense for one cgroup.
pub(super) fn of_limits(sheet: &mut ContainerSheet<'_>, gauges: &FileGauges) {
    for (family, value) in [(&all::PIDS, gauges.pids), (&all::PIDS_LIMIT, gauges.pids_limit)] {
        if let Some(value) = value {
            sheet.count(family, &[], value);
        }
    }
}
