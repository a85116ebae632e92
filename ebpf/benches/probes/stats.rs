//! The kernel's BPF statistics: how often each program ran, and for how long.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;

use aya::sys::{Stats, enable_stats};
use podproof_ebpf::Tracer;

use crate::Res;
use crate::record::ProgramRuns;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// The order in which the probes are loaded, which is the order of their ids.
const LOAD_ORDER: [&str; 13] = [
    "sched_process_free",
    "sched_process_exit",
    "signal_generate",
    "signal_deliver",
    "sched_process_exec",
    "mark_victim",
    "cgroup_rmdir",
    "cgroup_attach_task",
    "cgroup_mkdir",
    "sys_exit",
    "sys_enter",
    "release_task",
    "task_newtask",
];

/// Fails when the kernel keeps statistics of all programs: they cost time in each run.
pub(crate) fn ensure_off() -> Res<()> {
    let value = fs::read_to_string(SWITCH).map_err(|error| format!("cannot read {SWITCH}: {error}"))?;
    if value.trim() == "0" {
        return Ok(());
    }
    Err(format!(
        "kernel.bpf_stats_enabled is {}: every program would be timed with its statistics; set it to 0",
        value.trim()
    )
    .into())
}

/// Keeps statistics until the descriptor is closed.
pub(crate) fn on() -> Res<OwnedFd> {
    Ok(enable_stats(Stats::RunTime)?)
}

/// The programs that a process has descriptors of, by id: runs and nanoseconds.
pub(crate) fn of_process(pid: u32) -> Res<BTreeMap<u64, (u64, u64)>> {
    let mut programs = BTreeMap::new();
    let dir = format!("/proc/{pid}/fdinfo");
    for entry in fs::read_dir(&dir).map_err(|error| format!("cannot read {dir}: {error}"))? {
        // A descriptor may be closed while we look.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        if let (Some(id), Some(time), Some(runs)) = (field("prog_id"), field("run_time_ns"), field("run_cnt"))
        {
            programs.insert(id, (runs, time));
        }
    }
    Ok(programs)
}

/// The programs of the only tracer of this process.
pub(crate) fn of_tracer(tracer: &Tracer) -> Res<Vec<ProgramRuns>> {
    let is_attached =
        |name: &&&str| tracer.probes().iter().any(|probe| probe.name == **name && probe.attached);
    let names = LOAD_ORDER.iter().filter(is_attached);
    let programs = of_process(std::process::id())?;
    Ok(names
        .zip(programs.into_values())
        .map(|(name, (runs, time_ns))| ProgramRuns { name: (*name).to_owned(), runs, time_ns })
        .collect())
}
