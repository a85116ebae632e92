//! Samples of the exporter itself.

use std::collections::BTreeMap;
use std::time::Duration;

use podproof_ebpf::ProbeStatus;

use super::catalogue as all;
use super::family::{Sheet, as_f64};
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

pub(super) fn of_tables(sheet: &mut Sheet, view: &View<'_>) {
    let (_live, removed) = view.model.n_members();
    sheet.set(&all::ACCOUNTING_START_TIME_SECONDS, &[], view.started.as_secs_f64());
    sheet.set(&all::RECONCILE_LAST_SUCCESS_TIMESTAMP_SECONDS, &[], view.compared_at.as_secs_f64());
    let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    sheet.count(&all::TRACKED_CONTAINERS, &[], count(view.model.series().count()));
    sheet.count(&all::TOMBSTONES, &[], count(removed));
}

/// What only the exporter knows of itself.
pub(crate) struct OwnState {
    pub(crate) requests: Requests,
    /// By collector: its time, and whether it succeeded.
    pub(crate) collectors: BTreeMap<&'static str, (Duration, bool)>,
    /// A listener that is not the loopback's serves without TLS.
    pub(crate) is_insecure: bool,
}

/// Comes last: it counts the series.
pub(crate) fn of_exporter(sheet: &mut Sheet, own: &OwnState) {
    for ((handler, code), count) in &own.requests {
        sheet.count(&all::HTTP_REQUESTS, &[handler, &code.to_string()], *count);
    }
    for (name, (time, is_good)) in &own.collectors {
        sheet.set(&all::SCRAPE_COLLECTOR_DURATION_SECONDS, &[name], time.as_secs_f64());
        sheet.set(&all::SCRAPE_COLLECTOR_SUCCESS, &[name], f64::from(u8::from(*is_good)));
    }
    sheet.set(&all::WEB_INSECURE, &[], f64::from(u8::from(own.is_insecure)));
    let version = env!("CARGO_PKG_VERSION");
    let kernel = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    sheet.set(&all::BUILD_INFO, &[version, &kernel.unwrap_or_default()], 1.0);
    let n = sheet.n_series() + 1;
    sheet.count(&all::SERIES, &[], u64::try_from(n).unwrap_or(u64::MAX));
}
