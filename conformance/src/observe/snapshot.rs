//! What exists on the node: taken before and after a run, so that nothing of it stays behind unnoticed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::cgroup::Layout;

/// Objects of the node that a run could leave behind, by a line each.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: BTreeSet<String>,
}

impl Snapshot {
    /// Everything that carries the marks of a run: mounts, cgroups and files with `mark` in their path, and
    /// processes whose environment or root lies there.
    #[must_use]
    pub fn of_run(layout: &Layout, cgroup: &str, dir: &Path) -> Self {
        let mut objects = BTreeSet::new();
        for path in layout.existing(cgroup) {
            objects.insert(format!("cgroup {}", path.display()));
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for mount in super::process::mounts(&mountinfo) {
            if Path::new(&mount.target).starts_with(dir) {
                objects.insert(format!("mount {} on {}", mount.fstype, mount.target));
            }
        }
        if dir.exists() {
            objects.insert(format!("directory {}", dir.display()));
        }
        for process in procfs::process::all_processes().into_iter().flatten().flatten() {
            let inside = |path: std::path::PathBuf| path.starts_with(dir);
            if process.root().is_ok_and(inside) || process.cwd().is_ok_and(inside) {
                objects.insert(format!("process {}", process.pid()));
            }
        }
        Self { objects }
    }

    /// What is here and was not there before.
    #[must_use]
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.objects.difference(&before.objects).cloned().collect()
    }
}
