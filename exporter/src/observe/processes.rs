//! Processes of cgroups that have kernel threads too, as the root of the hierarchy has.

use std::path::Path;

use procfs::process::StatFlags;

use super::proc::Procfs;
use crate::cgroups::processes;

/// Processes of a cgroup, without the kernel's threads; 0 when it is gone. `None` when /proc hides some of them (proc(5), `hidepid`):
/// what they are is not known then.
pub(super) fn without_kernel_threads(procfs: &Procfs, cgroup: &Path) -> Option<usize> {
    let (mut n, mut unseen) = (0, Vec::new());
    for pid in processes(cgroup).unwrap_or_default() {
        match is_kernel_thread(procfs, pid) {
            Some(true) => {}
            Some(false) => n += 1,
            None => unseen.push(pid),
        }
    }
    if unseen.is_empty() {
        return Some(n);
    }
    // Who has ended meanwhile is not listed again.
    let listed = processes(cgroup).unwrap_or_default();
    (!unseen.iter().any(|pid| listed.contains(pid))).then_some(n)
}

/// By proc_pid_stat(5), `flags`.
fn is_kernel_thread(procfs: &Procfs, pid: i32) -> Option<bool> {
    Some(procfs.stat(pid).ok()?.flags & StatFlags::PF_KTHREAD.bits() != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::observe::proc;

    #[test]
    fn only_what_can_be_seen_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let count = |pids: &[u32]| {
            let lines: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
            fs::write(dir.path().join("cgroup.procs"), lines).unwrap();
            without_kernel_threads(&proc::own(), dir.path())
        };
        let own = std::process::id();
        assert_eq!([count(&[]), count(&[own]), count(&[own, 1])], [Some(0), Some(1), Some(2)]);
        // A number that none can have, as that of a process in another pid namespace is shown.
        assert_eq!(count(&[own, 0]), None);
        assert_eq!(without_kernel_threads(&proc::own(), &dir.path().join("gone")), Some(0));
    }
}
