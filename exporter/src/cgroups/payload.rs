//! Containers whose processes are not in their own cgroup: crun with systemd makes one below the scope for them, and leaves the scope to
//! systemd (crun(1), `run.oci.systemd.subgroup`).

use std::path::Path;

use super::files::processes;

/// How crun calls it, unless it is told otherwise.
const NAME: &str = "container";

/// The container's own cgroup, if this is one below it for its processes.
pub(crate) fn above_payload(cgroup: &Path) -> Option<&Path> {
    cgroup.parent().filter(|above| cgroup.file_name().is_some_and(|name| name == NAME) && is_scope(above))
}

/// Processes of a container by its own cgroup. `None` when it is gone or threaded.
pub(crate) fn container_processes(cgroup: &Path) -> Option<Vec<i32>> {
    let own = processes(cgroup)?;
    if !own.is_empty() || !is_scope(cgroup) {
        return Some(own);
    }
    processes(&cgroup.join(NAME)).or(Some(own))
}

fn is_scope(cgroup: &Path) -> bool {
    cgroup.extension().is_some_and(|extension| extension == "scope")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_container_s_processes_may_be_below_its_scope() {
        let of = |path| above_payload(Path::new(path)).and_then(Path::to_str);
        assert_eq!(of("machine.slice/libpod-1.scope/container"), Some("machine.slice/libpod-1.scope"));
        for other in
            ["libpod-1.scope/container/a", "libpod-1.scope/init", "docker/container", "container", ""]
        {
            assert_eq!(of(other), None);
        }
        let dir = tempfile::tempdir().unwrap();
        for (name, own, below) in [("a.scope", "", "7\n"), ("b.scope", "3\n", "7\n"), ("c", "", "7\n")] {
            let cgroup = dir.path().join(name);
            fs::create_dir_all(cgroup.join(NAME)).unwrap();
            fs::write(cgroup.join("cgroup.procs"), own).unwrap();
            fs::write(cgroup.join(NAME).join("cgroup.procs"), below).unwrap();
        }
        let of = |name| container_processes(&dir.path().join(name));
        assert_eq!([of("a.scope"), of("b.scope"), of("c")], [Some(vec![7]), Some(vec![3]), Some(vec![])]);
        fs::remove_dir_all(dir.path().join("a.scope/container")).unwrap();
        assert_eq!([of("a.scope"), of("gone")], [Some(vec![]), None]);
    }
}
