//! The process that a container began with.

use std::path::Path;
use std::time::Duration;

use super::clock;
use super::proc::Procfs;
use crate::cgroups::container_processes;
use crate::model::First;

/// The oldest process of a container: the first one, as long as that is there.
pub(super) fn find(procfs: &Procfs, cgroup: &Path) -> Option<First> {
    let start = |pid: i32| Some((procfs.stat(pid).ok()?.starttime, pid));
    let (start_time, pid) = container_processes(cgroup)?.into_iter().filter_map(start).min()?;
    let booted_at = clock::unix().saturating_sub(clock::boot());
    let at = booted_at + Duration::from_secs_f64(as_f64(start_time) / as_f64(procfs::ticks_per_second()));
    Some(First { pid, start_time, at })
}

/// Whether it is alive: neither gone nor a zombie.
pub(super) fn is_alive(procfs: &Procfs, first: &First) -> bool {
    let stat = procfs.stat(first.pid);
    stat.is_ok_and(|stat| stat.starttime == first.start_time && !['Z', 'X'].contains(&stat.state))
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
    use crate::observe::proc;

    #[test]
    fn the_oldest_process_tells() {
        let (procfs, before) = (proc::own(), clock::unix());
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let write = |text: String| fs::write(dir.path().join("cgroup.procs"), text).unwrap();
        write(format!("{}\n", child.id()));
        let first = find(&procfs, dir.path()).unwrap();
        let found = first.at;
        assert!(first.pid == child.id().cast_signed() && is_alive(&procfs, &first));
        // In ticks of 10 ms, cut off.
        assert!(found + Duration::from_millis(20) > before && found <= clock::unix(), "{found:?} {before:?}");
        write(format!("{}\n{}\n", child.id(), std::process::id()));
        let own = std::process::id().cast_signed();
        assert_eq!(find(&procfs, dir.path()).map(|first| (first.pid, first.at < before)), Some((own, true)));
        write(String::new());
        assert_eq!(find(&procfs, dir.path()), None);
        child.kill().unwrap();
        // It is a zombie then, or about to become one, and after that nobody.
        waitid(Id::Pid(Pid::from_raw(first.pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert!(!is_alive(&procfs, &first));
        child.wait().unwrap();
        assert!(
            !is_alive(&procfs, &first)
                && is_alive(
                    &procfs,
                    &First { start_time: procfs.stat(own).unwrap().starttime, pid: own, ..first }
                )
        );
    }
}
