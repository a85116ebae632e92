//! Samples of the exporter itself.

use std::collections::BTreeMap;
use std::time::Duration;

use podproof_ebpf::ProbeStatus;

use super::catalogue as all;
use super::family::{Sheet, as_f64};
use crate::cgroups::mode;
use crate::observe::View;

/// Requests that were answered, by handler and status code.
pub(crate) type Requests = BTreeMap<(&'static str, u16), u64>;

pub(super) fn of_probes(sheet: &mut Sheet, probes: &[ProbeStatus]) {
    // What is attached on demand, for evidence only, is not this program's.
    for probe in probes.iter().filter(|probe| !probe.on_demand) {
        let mechanism = if probe.attached { probe.mechanism.as_str() } else { "none" };
        let required = if probe.required { "true" } else { "false" };
        let value = f64::from(u8::from(probe.attached));
        sheet.set(&all::PROBE_ATTACHED, &[&probe.name, mechanism, required], value);
        let name = [probe.name.as_str()];
        if let Some(runs) = probe.run_count {
            sheet.count(&all::PROBE_RUNS, &name, runs);
        }
        if let Some(ns) = probe.run_time_ns {
            sheet.set(&all::PROBE_RUN_SECONDS, &name, as_f64(ns) / 1e9);
        }
        if let Some(missed) = probe.missed {
            sheet.count(&all::PROBE_MISSED, &name, missed);
        }
    }
}

/// How full the kernel side is, and what did not fit.
pub(super) fn of_maps(sheet: &mut Sheet, view: &View<'_>) {
    let mut lost = BTreeMap::new();
    for refused in view.refusals {
        sheet.count(&all::MAP_UPDATE_ERRORS, &[refused.map, refused.errno], refused.count);
        *lost.entry(refused.map).or_insert(0) += refused.count;
    }
    for (map, count) in lost {
        sheet.count(&all::EVENTS_LOST, &[map, "map_full"], count);
    }
    for fill in view.fill {
        sheet.count(&all::MAP_ENTRIES, &[fill.map], fill.entries);
        sheet.count(&all::MAP_CAPACITY, &[fill.map], fill.capacity);
    }
    let Some(orphans) = view.fill.iter().find(|fill| fill.map == "orphans") else { return };
    let n_zombies = view.zombies_of_map.len() + view.zombies_of_proc.len();
    let n_tracked = orphans.entries.saturating_add(u64::try_from(n_zombies).unwrap_or(u64::MAX));
    sheet.count(&all::TRACKED_PROCESSES, &[], n_tracked);
}

pub(super) fn of_tables(sheet: &mut Sheet, view: &View<'_>) {
    let (_live, removed) = view.model.n_members();
    let tally = &view.model.tally;
    for ((source, outcome), count) in &tally.paths {
        sheet.count(&all::CGROUP_RESOLUTIONS, &[source.label(), outcome.label()], *count);
    }
    for ((source, outcome), count) in &tally.names {
        sheet.count(&all::METADATA_RESOLUTIONS, &[source.label(), outcome.label()], *count);
    }
    sheet.size(&all::SERIES_LIMIT, &[], view.max_samples);
    sheet.count(&all::SERIES_LIMITED, &[], tally.n_limited);
    for (what, count) in [("zombies", view.differences.zombies), ("cgroups", view.differences.cgroups)] {
        sheet.count(&all::RECONCILE_DIFFERENCES, &[what], count);
    }
    sheet.set(&all::ACCOUNTING_START_TIME_SECONDS, &[], view.started.as_secs_f64());
    sheet.set(&all::RECONCILE_LAST_SUCCESS_TIMESTAMP_SECONDS, &[], view.reconciled_at.as_secs_f64());
    sheet.size(&all::TRACKED_CONTAINERS, &[], view.model.series().count());
    sheet.size(&all::TOMBSTONES, &[], removed);
}

/// Where it runs, which does not change.
#[derive(Debug)]
pub(crate) struct Environment {
    kernel: String,
    cgroup_mode: &'static str,
}

impl Environment {
    /// Asks the kernel; what it does not tell is empty.
    pub(crate) fn read() -> Self {
        let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
        Self { kernel: kernel.unwrap_or_default(), cgroup_mode: mode() }
    }
}

/// What only the exporter knows of itself.
pub(crate) struct OwnState<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) requests: Requests,
    /// By collector: its time, and whether it succeeded.
    pub(crate) collectors: BTreeMap<&'static str, (Duration, bool)>,
    /// Samples that are not on the sheet.
    pub(crate) n_others: usize,
    /// A listener that is not the loopback's serves without TLS.
    pub(crate) is_insecure: bool,
}

/// Comes last: it counts the series.
pub(crate) fn of_exporter(sheet: &mut Sheet, own: &OwnState<'_>) {
    for ((handler, code), count) in &own.requests {
        sheet.count(&all::HTTP_REQUESTS, &[handler, &code.to_string()], *count);
    }
    for (name, (time, is_good)) in &own.collectors {
        sheet.set(&all::SCRAPE_COLLECTOR_DURATION_SECONDS, &[name], time.as_secs_f64());
        sheet.set(&all::SCRAPE_COLLECTOR_SUCCESS, &[name], f64::from(u8::from(*is_good)));
    }
    sheet.set(&all::WEB_INSECURE, &[], f64::from(u8::from(own.is_insecure)));
    let build = [
        env!("CARGO_PKG_VERSION"),
        env!("PODPROOF_REVISION"),
        env!("PODPROOF_RUSTVERSION"),
        &own.environment.kernel,
        own.environment.cgroup_mode,
    ];
    sheet.set(&all::BUILD_INFO, &build, 1.0);
    sheet.size(&all::SERIES, &[], sheet.n_series() + 1 + own.n_others);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Collectors;

    #[test]
    fn all_series_are_counted_those_of_the_process_with_them() {
        let environment = Environment { kernel: String::new(), cgroup_mode: "unified" };
        let of = |n_others| {
            let mut sheet = Sheet::new(Collectors::ALL);
            let (requests, collectors) = (Requests::from([(("metrics", 200), 3)]), BTreeMap::new());
            let own =
                OwnState { environment: &environment, requests, collectors, is_insecure: false, n_others };
            of_exporter(&mut sheet, &own);
            sheet.into_parts().collect::<String>()
        };
        let text = of(0);
        let n_lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(text.contains(&format!("\npodproof_series {n_lines}\n")), "{text}");
        assert!(of(7).contains(&format!("\npodproof_series {}\n", n_lines + 7)));
    }
}
