//! The process that a container began with.

use std::path::Path;
use std::time::Duration;

use super::clock;
use super::stat::stat;
use crate::cgroups::container_processes;
use crate::model::First;

/// The oldest process of a container: the first one, as long as that is there.
pub(super) fn find(cgroup: &Path) -> Option<First> {
    let start = |pid: i32| Some((stat(pid).ok()?.starttime, pid));
    let (start_time, pid) = container_processes(cgroup)?.into_iter().filter_map(start).min()?;
    let booted_at = clock::unix().saturating_sub(clock::boot());
    let at = booted_at + Duration::from_secs_f64(as_f64(start_time) / as_f64(procfs::ticks_per_second()));
    Some(First { pid, start_time, at })
}

/// Whether it is alive: neither gone nor a zombie.
pub(super) fn is_alive(first: &First) -> bool {
    stat(first.pid).is_ok_and(|stat| stat.starttime == first.start_time && !['Z', 'X'].contains(&stat.state))
}

#[expect(clippy::cast_precision_loss, reason = "ticks stay below 2^53 for millions of years")]
fn as_f64(ticks: u64) -> f64 {
    ticks as f64
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn the_oldest_process_tells() {
        let before = clock::unix();
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let write = |text: String| fs::write(dir.path().join("cgroup.procs"), text).unwrap();
        write(format!("{}\n", child.id()));
        let first = find(dir.path()).unwrap();
        let found = first.at;
        assert!(first.pid == child.id().cast_signed() && is_alive(&first));
        // In ticks of 10 ms, cut off.
        assert!(found + Duration::from_millis(20) > before && found <= clock::unix(), "{found:?} {before:?}");
        write(format!("{}\n{}\n", child.id(), std::process::id()));
        let own = std::process::id().cast_signed();
        assert_eq!(find(dir.path()).map(|first| (first.pid, first.at < before)), Some((own, true)));
        write(String::new());
        assert_eq!(find(dir.path()), None);
        child.kill().unwrap();
        // It is a zombie then, or about to become one, and after that nobody.
        waitid(Id::Pid(Pid::from_raw(first.pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert!(!is_alive(&first));
        child.wait().unwrap();
        assert!(
            !is_alive(&first)
                && is_alive(&First { start_time: stat(own).unwrap().starttime, pid: own, ..first })
        );
    }
}
