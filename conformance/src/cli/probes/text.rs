//! The programs, signals and counters as tables for people.

use std::collections::BTreeMap;

use nix::errno::Errno;
use podproof_ebpf::{CounterStatus, ProbeStatus, SignalStatus};

use super::{Checked, Listed, ListedSource};

/// Rows as columns, each as wide as its widest cell; the last one is as it is.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| rows.iter().filter_map(|row| row.get(i)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..n_columns).map(|i| width(i).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn need(required: bool) -> &'static str {
    if required { "required" } else { "optional" }
}

pub(super) fn listed(all: &Listed) -> String {
    let mut rows = vec![row(["PROGRAM", "TIER", "SOURCE", "NEED", "ATTACHED", "GIVES"])];
    for program in &all.probes {
        let (tier, source) = (program.tier.to_string(), format!("{}/{}", program.mechanism, program.hook));
        let attached = match (program.on_demand, program.on_request) {
            (true, _) => "on demand",
            (_, true) => "on request",
            _ => "always",
        };
        rows.push(row([&program.name, &tier, &source, need(program.required), attached, &program.gives]));
        if !program.fallback.is_empty() {
            rows.push(row(["", "", "", "", "", &format!("instead: {}", program.fallback)]));
        }
    }
    let mut text = columns(&rows);
    let mut rows = vec![row(["SIGNAL", "TELLS", "TIER", "SOURCE, the best first"])];
    for signal in &all.signals {
        for (i, source) in signal.sources.iter().enumerate() {
            let (name, gives) = if i == 0 { (signal.name, signal.gives) } else { ("", "") };
            rows.push(row([name, gives, &source.tier.to_string(), &listed_source(source)]));
        }
    }
    text = format!("{text}\n{}", columns(&rows));
    let mut rows = vec![row(["TIER", "SOURCE", "COUNTERS"])];
    for counters in &all.counters {
        rows.push(row([&counters.tier.to_string(), &counters.source, &counters.names.join(" ")]));
    }
    format!("{text}\n{}", columns(&rows))
}

fn listed_source(source: &ListedSource) -> String {
    lacking(&source.source, source.lost)
}

/// Hooks, and what they do not tell.
pub(super) fn lacking(hooks: &[String], lost: &str) -> String {
    let hooks = hooks.join(" + ");
    if lost.is_empty() { hooks } else { format!("{hooks}, lacks {lost}") }
}

pub(super) fn checked(checked: &Checked) -> String {
    let mut text = format!("kernel {}\n\n", checked.kernel);
    text.push_str(&programs(&checked.probes));
    if !checked.statistics && checked.error.is_none() {
        let is_counted = checked.probes.iter().any(|probe| probe.run_count.is_some());
        let state = if is_counted {
            "incomplete: they are counted only while another process turns the kernel's BPF statistics on"
        } else {
            "unavailable: the kernel's BPF statistics are off"
        };
        text.push_str(&format!(
            "\nRuns and their time are {state}. --stats turns them on for the time of this command, `sysctl -w \
             kernel.bpf_stats_enabled=1` until further notice.\n"
        ));
    }
    text.push_str(&refusals(&checked.probes));
    if checked.error.is_none() {
        text.push('\n');
        text.push_str(&signals(&checked.signals));
        text.push('\n');
        text.push_str(&counters(&checked.counters));
    }
    text
}

fn programs(probes: &[ProbeStatus]) -> String {
    let mut rows = vec![row(["PROGRAM", "TIER", "SOURCE", "NEED", "STATE", "RUNS", "MEAN", "SKIPPED"])];
    for probe in probes {
        let (tier, source) = (probe.tier.to_string(), format!("{}/{}", probe.mechanism, probe.hook));
        let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        rows.push(row([
            &probe.name,
            &tier,
            &source,
            need(probe.required),
            &state(probe),
            &number(probe.run_count),
            &mean(probe).map_or("-".to_owned(), |mean| format!("{mean} ns")),
            &number(probe.missed),
        ]));
    }
    columns(&rows)
}

/// Mean time of a run in nanoseconds; `None` without one.
fn mean(probe: &ProbeStatus) -> Option<u64> {
    probe.run_time_ns?.checked_div(probe.run_count?)
}

fn state(probe: &ProbeStatus) -> String {
    match probe.errno {
        _ if probe.attached && probe.on_demand => "attached (on demand)".into(),
        _ if probe.attached => "attached".into(),
        Some(errno) => format!("refused: {:?}", Errno::from_raw(errno)),
        None => "not usable".into(),
    }
}

/// Programs that are not attached, by reason: many often have the same.
fn refusals(probes: &[ProbeStatus]) -> String {
    let mut by_reason: Vec<(&str, Vec<&ProbeStatus>)> = vec![];
    for probe in probes.iter().filter(|probe| !probe.attached) {
        let reason = probe.reason.as_deref().unwrap_or("no reason given");
        match by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, same)) => same.push(probe),
            None => by_reason.push((reason, vec![probe])),
        }
    }
    let mut text = String::new();
    for (reason, probes) in by_reason {
        text.push_str(&format!("\nNot attached: {reason}\n"));
        let instead = |probe: &&ProbeStatus| {
            let instead = if probe.fallback.is_empty() { "nothing takes its place" } else { &probe.fallback };
            row([&format!("  {}", probe.name), instead])
        };
        text.push_str(&columns(&probes.iter().map(instead).collect::<Vec<_>>()));
    }
    text
}

fn signals(signals: &[SignalStatus]) -> String {
    let mut rows = vec![row(["SIGNAL", "SOURCE"])];
    for signal in signals {
        let source = match &signal.unavailable {
            Some(reason) => format!("unavailable: {}", shortened(reason)),
            None => lacking(&signal.source, &signal.lost),
        };
        rows.push(row([&signal.name, &source]));
    }
    columns(&rows)
}

/// The verifier's words stand with the programs already.
fn shortened(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(what, _why)| what)
}

fn counters(counters: &[CounterStatus]) -> String {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for counter in counters.iter().filter(|counter| counter.unavailable.is_some()) {
        missing.entry(&counter.source).or_default().push(&counter.name);
    }
    let n_missing: usize = missing.values().map(Vec::len).sum();
    let mut text = format!("{} of {} counters are available\n", counters.len() - n_missing, counters.len());
    for (source, names) in missing {
        text.push_str(&format!("  unavailable without {source}: {}\n", names.join(" ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(name: &str) -> ProbeStatus {
        podproof_ebpf::programs().into_iter().find(|probe| probe.name == name).unwrap()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![row(["a", "bb", "c"]), row(["aaa", "", "last"]), row(["x"])];
        assert_eq!(columns(&rows), "a    bb  c\naaa      last\nx\n");
    }

    #[test]
    fn a_state_says_what_is_unavailable_and_never_zero() {
        let attached = ProbeStatus { attached: true, missed: Some(0), ..probe("task_newtask") };
        let line = programs(std::slice::from_ref(&attached));
        assert!(line.ends_with("attached  -     -     0\n"), "{line}");
        let counted = ProbeStatus { run_count: Some(3), run_time_ns: Some(1000), ..attached };
        assert!(programs(&[counted]).ends_with("attached  3     333 ns  0\n"));
        let never_run =
            ProbeStatus { attached: true, run_count: Some(0), run_time_ns: Some(0), ..probe("sys_exit") };
        assert_eq!((mean(&never_run), state(&never_run).as_str()), (None, "attached (on demand)"));
        let refused = ProbeStatus { errno: Some(1), ..probe("do_wait") };
        assert_eq!(state(&refused), "refused: EPERM");
        assert_eq!(state(&probe("do_wait")), "not usable");
    }

    #[test]
    fn counts_that_nobody_asked_for_are_called_incomplete() {
        let with = |run_count: Option<u64>, statistics: bool| {
            checked(&Checked {
                schema: 1,
                podproof: "0",
                kernel: "6.1".into(),
                statistics,
                watched_ms: 0,
                error: None,
                probes: vec![ProbeStatus { attached: true, run_count, ..probe("task_newtask") }],
                signals: vec![],
                counters: vec![],
            })
        };
        assert!(with(None, false).contains("are unavailable: the kernel's BPF statistics are off. --stats"));
        assert!(with(Some(1), false).contains("are incomplete"));
        assert!(!with(Some(1), true).contains("--stats"));
    }

    #[test]
    fn programs_with_one_reason_stand_together_with_what_takes_their_place() {
        let refused = |name: &str, reason: &str| ProbeStatus { reason: Some(reason.into()), ..probe(name) };
        let probes =
            [refused("release_task", "load: no"), refused("do_wait", "load: no"), refused("setns", "gone")];
        let text = refusals(&probes);
        assert_eq!(text.matches("Not attached: load: no\n").count(), 1);
        assert!(text.contains("  release_task  events: sys_exit"), "{text}");
        assert!(text.contains("  do_wait       nothing takes its place\n"), "{text}");
        assert!(text.contains("\nNot attached: gone\n  setns"), "{text}");
    }

    #[test]
    fn counters_without_their_program_are_listed_by_it() {
        let counter = |name: &str, unavailable: bool| CounterStatus {
            name: name.into(),
            source: "fexit/do_wait".into(),
            unavailable: unavailable.then(|| "refused".into()),
        };
        let all = [counter("execs", false), counter("waits_reaped", true), counter("waits_error", true)];
        assert_eq!(
            counters(&all),
            "1 of 3 counters are available\n  unavailable without fexit/do_wait: waits_reaped waits_error\n"
        );
    }
}
