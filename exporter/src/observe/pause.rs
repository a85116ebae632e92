//! What runs in the sandbox of a pod of the kubelet.

use std::path::Path;

use super::proc::Procfs;
use crate::cgroups::container_processes;

/// What its program is called: Kubernetes' own is `pause`, OpenShift's `pod`.
const PROGRAMS: [&str; 2] = ["pause", "pod"];

/// Whether the only process of a cgroup has the name of that program (proc_pid_comm(5)). False where /proc hides it.
pub(super) fn is_alone_in(procfs: &Procfs, cgroup: &Path) -> bool {
    let Some(&[pid]) = container_processes(cgroup).as_deref() else { return false };
    procfs.stat(pid).is_ok_and(|stat| PROGRAMS.contains(&stat.comm.as_str()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::observe::proc;

    #[test]
    fn the_only_process_tells_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/bin/cat", dir.path().join("pause")).unwrap();
        let found = |pids: &[u32]| {
            let lines: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
            fs::write(dir.path().join("cgroup.procs"), lines).unwrap();
            is_alone_in(&proc::own(), dir.path())
        };
        let mut child = Command::new(dir.path().join("pause")).stdin(Stdio::piped()).spawn().unwrap();
        let own = std::process::id();
        assert_eq!(
            [found(&[child.id()]), found(&[child.id(), own]), found(&[own]), found(&[])],
            [true, false, false, false]
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_alone_in(&proc::own(), &dir.path().join("gone")));
    }
}
