//! When a container was started.

use std::path::Path;
use std::time::Duration;

use super::clock;
use super::stat::stat;
use crate::cgroups::processes;

/// Unix time at which the oldest process of a cgroup was started, by proc_pid_stat(5), `starttime`: the container's first one, as long
/// as that is there.
pub(super) fn at(cgroup: &Path) -> Option<Duration> {
    let start = |pid: i32| Some(stat(pid).ok()?.starttime);
    let ticks = processes(cgroup)?.into_iter().filter_map(start).min()?;
    let booted_at = clock::unix().saturating_sub(clock::boot());
    Some(booted_at + Duration::from_secs_f64(as_f64(ticks) / as_f64(procfs::ticks_per_second())))
}

#[expect(clippy::cast_precision_loss, reason = "ticks stay below 2^53 for millions of years")]
fn as_f64(ticks: u64) -> f64 {
    ticks as f64
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_oldest_process_tells() {
        let before = clock::unix();
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let write = |text: String| fs::write(dir.path().join("cgroup.procs"), text).unwrap();
        write(format!("{}\n", child.id()));
        let found = at(dir.path()).unwrap();
        // In ticks of 10 ms, cut off.
        assert!(found + Duration::from_millis(20) > before && found <= clock::unix(), "{found:?} {before:?}");
        write(format!("{}\n{}\n", child.id(), std::process::id()));
        assert!(at(dir.path()).unwrap() < before);
        write(String::new());
        assert_eq!(at(dir.path()), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
