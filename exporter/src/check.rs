//! What the running kernel makes of the probes: `--check` tells it and ends, `--strict` wants all of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use podproof_ebpf::{CounterStatus, LoadError, ProbeStatus, TraceOptions, Tracer};
use serde::Serialize;

/// How a check is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One document.
    Json,
}

/// What became of the probes, and of the counters that they feed.
#[derive(Debug, Serialize)]
struct Checked {
    /// Why nothing can be counted here.
    error: Option<String>,
    probes: Vec<ProbeStatus>,
    counters: Vec<CounterStatus>,
}

/// Attaches the probes, prints what became of them, and detaches them. True when they can count; all of them, if that is asked
/// for.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn check(format: Format, is_strict: bool, options: &TraceOptions, btf: &Path) -> Result<bool> {
    let checked = match Tracer::start_with_btf(options, btf) {
        Ok(tracer) => Checked { error: None, probes: tracer.probes(), counters: tracer.counter_sources() },
        Err(error) => {
            let probes =
                if let LoadError::Required { probes, .. } = &error { probes.clone() } else { vec![] };
            let error = Some(format!("{:#}", anyhow::Error::new(error)));
            Checked { error, probes, counters: vec![] }
        }
    };
    let text = match format {
        Format::Table => table(&checked),
        Format::Json => serde_json::to_string_pretty(&checked)? + "\n",
    };
    io::stdout().lock().write_all(text.as_bytes()).context("write to standard output")?;
    let is_whole = lacks(&checked.probes, &checked.counters).is_empty();
    Ok(checked.error.is_none() && (is_whole || !is_strict))
}

/// What is missing, with the reason: probes, and counters that the kernel cannot give although their probes are attached.
pub(crate) fn lacks(probes: &[ProbeStatus], counters: &[CounterStatus]) -> BTreeSet<String> {
    let probes = probes.iter().filter(|probe| !probe.attached && !is_needless(probe)).map(|probe| {
        format!("{} is not attached: {}", probe.name, probe.reason.as_deref().unwrap_or("not tried"))
    });
    // A counter without its probe has the reason of the probe.
    probes.chain(counters.iter().filter_map(|counter| counter.unavailable.clone())).collect()
}

/// Whether nothing is missed without it: a kernel that was built without the 32-bit entry gets no calls by it.
pub(crate) fn is_needless(probe: &ProbeStatus) -> bool {
    probe.hook.starts_with("__ia32_") && probe.errno.is_none()
}

fn table(checked: &Checked) -> String {
    let mut rows = vec![["PROBE", "SOURCE", "NEED", "STATE"].map(str::to_owned)];
    for probe in &checked.probes {
        let need = if probe.required { "required" } else { "optional" };
        let reason = || format!("refused: {}", probe.reason.as_deref().unwrap_or("not tried"));
        let state = if probe.attached { "attached".to_owned() } else { reason() };
        let source = format!("{}/{}", probe.mechanism, probe.hook);
        rows.push([probe.name.clone(), source, need.to_owned(), state]);
    }
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let [names, sources, needs] = [0, 1, 2].map(width);
    let mut text = String::new();
    for [name, source, need, state] in &rows {
        // A string takes all that is written.
        _ = writeln!(text, "{name:names$}  {source:sources$}  {need:needs$}  {state}");
    }
    for counter in &checked.counters {
        if let Some(reason) = &counter.unavailable {
            _ = writeln!(text, "counter {} is unavailable: {reason}", counter.name);
        }
    }
    if let Some(error) = &checked.error {
        _ = writeln!(text, "nothing can be counted: {error}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(refused: &[&str]) -> Checked {
        let mut probes = podproof_ebpf::programs();
        probes.retain(|probe| ["task_newtask", "do_wait"].contains(&probe.name.as_str()));
        for probe in &mut probes {
            probe.attached = !refused.contains(&probe.name.as_str());
            probe.reason = (!probe.attached).then(|| "load: no".to_owned());
        }
        let counter = |name: &str, unavailable: Option<&str>| CounterStatus {
            name: name.to_owned(),
            source: "fexit/do_wait".to_owned(),
            unavailable: unavailable.map(str::to_owned),
        };
        let of_probe = refused.contains(&"do_wait").then_some("do_wait is not attached: load: no");
        let counters = vec![counter("waits_reaped", of_probe), counter("exits_oom", Some("not known"))];
        Checked { error: None, probes, counters }
    }

    #[test]
    fn a_lack_is_told_once_with_its_reason() {
        let all = checked(&["do_wait"]);
        let lacks: Vec<_> = lacks(&all.probes, &all.counters).into_iter().collect();
        assert_eq!(lacks, ["do_wait is not attached: load: no", "not known"]);
    }

    #[test]
    fn a_kernel_without_the_32_bit_entry_lacks_nothing() {
        let mut probes = podproof_ebpf::programs();
        probes.retain(|probe| probe.hook == "__ia32_sys_setns");
        assert_eq!(probes.len(), 2);
        probes[0].reason = Some("this kernel has no function __ia32_sys_setns".to_owned());
        assert!(lacks(&probes, &[]).is_empty());
        // Where it is and is refused, calls are missed.
        (probes[0].reason, probes[0].errno) = (Some("attach: no".to_owned()), Some(1));
        assert_eq!(lacks(&probes, &[]).len(), 1);
    }

    #[test]
    fn a_table_has_a_line_for_each() {
        let text = table(&checked(&["do_wait"]));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PROBE", "SOURCE", "NEED", "STATE"]);
        let cells = |name: &str| {
            let line = lines.iter().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(cells("task_newtask"), "task_newtask tp_btf/task_newtask required attached");
        assert_eq!(cells("do_wait"), "do_wait fexit/do_wait optional refused: load: no");
        assert_eq!(cells("counter exits_oom"), "counter exits_oom is unavailable: not known");
        assert!(lines.contains(&"counter waits_reaped is unavailable: do_wait is not attached: load: no"));
    }
}
