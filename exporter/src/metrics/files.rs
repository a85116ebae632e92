//! Samples of what the controllers' files tell.

use super::catalogue as all;
use super::family::{Sheet, as_f64};
use crate::cgroups::{FileCounters, FileGauges};
use crate::model::Names;

/// As many as a container has with all controllers.
pub(super) const MAX_SAMPLES: usize = FileCounters::MEMORY_EVENTS.len() + 3 + 3;

pub(super) fn of_container(sheet: &mut Sheet, names: &Names, counters: &FileCounters, gauges: &FileGauges) {
    let common = names.labels();
    if let Some(values) = counters.memory {
        for (event, value) in FileCounters::MEMORY_EVENTS.iter().zip(values) {
            sheet.count(&all::MEMORY_EVENTS, &[&common[..], &[event]].concat(), value);
        }
    }
    if let Some([periods, throttled, throttled_usec]) = counters.cpu {
        sheet.count(&all::CPU_PERIODS, &common, periods);
        sheet.count(&all::CPU_THROTTLED_PERIODS, &common, throttled);
        sheet.set(&all::CPU_THROTTLED_SECONDS, &common, as_f64(throttled_usec) / 1e6);
    }
    let counts = [
        (&all::PIDS_LIMIT_HITS, counters.pids_limit_hits),
        (&all::PIDS, gauges.pids),
        (&all::PIDS_LIMIT, gauges.pids_limit),
    ];
    for (family, value) in counts {
        if let Some(value) = value {
            sheet.count(family, &common, value);
        }
    }
}
