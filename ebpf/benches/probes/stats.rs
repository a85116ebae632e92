//! The kernel's BPF statistics: how often each program ran, and for how long.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;

use aya::sys::{Stats, enable_stats};

use crate::Res;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

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
