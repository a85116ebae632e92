//! What exists on the node: taken before and after a run, so that nothing of it stays behind unnoticed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::cgroup::Layout;
use super::process;

/// Objects of the whole node that a runtime could leave behind, by a line each: cgroups of every hierarchy, mounts,
/// System V segments, and processes whose root lies in a run's directory.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at the node; `dir` is where the run's root file systems are.
    #[must_use]
    pub fn take(layout: &Layout, dir: &Path) -> Self {
        let mut objects = BTreeSet::new();
        for path in layout.existing("/") {
            objects.insert(format!("cgroup {}", path.display()));
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for mount in process::mounts(&mountinfo) {
            objects.insert(format!("mount of {} on {}", mount.fstype, mount.target));
        }
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        for line in segments.lines().skip(1) {
            let key =
                line.split_whitespace().next().and_then(|key| key.parse::<i64>().ok()).unwrap_or_default();
            objects.insert(format!("shared memory segment with key {key:#x}"));
        }
        for found in procfs::process::all_processes().into_iter().flatten().flatten() {
            if found.root().is_ok_and(|root| root.starts_with(dir)) {
                objects.insert(format!("process {}", found.pid()));
            }
        }
        Self { objects }
    }

    /// What is here, was not there before, and carries one of these marks where other programs of the node could have made
    /// it as well (anything but a process).
    #[must_use]
    pub fn since(&self, before: &Self, marks: &[String]) -> Vec<String> {
        let is_ours = |object: &&String| {
            object.starts_with("process") || marks.iter().any(|mark| object.contains(mark.as_str()))
        };
        self.objects.difference(&before.objects).filter(is_ours).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(objects: &[&str]) -> Snapshot {
        Snapshot { objects: objects.iter().map(|object| (*object).to_owned()).collect() }
    }

    #[test]
    fn only_what_is_new_and_ours_counts() {
        let before = of(&["cgroup /sys/fs/cgroup/a", "process 1"]);
        let after = of(&[
            "cgroup /sys/fs/cgroup/a",
            "cgroup /sys/fs/cgroup/user",
            "cgroup /sys/fs/cgroup/ns-01-a",
            "process 2",
        ]);
        let marks = ["ns-01-".to_owned()];
        assert_eq!(after.since(&before, &marks), ["cgroup /sys/fs/cgroup/ns-01-a", "process 2"]);
    }
}
