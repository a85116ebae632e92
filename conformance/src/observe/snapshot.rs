//! What exists on the node: taken before and after, so that nothing of it stays behind unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::cgroup::Layout;
use super::process;

/// Something that a runtime could leave behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A cgroup of any hierarchy.
    Cgroup(PathBuf),
    /// A mount in the namespace of whoever looks.
    Mount {
        /// Type of its file system.
        fstype: String,
        /// Where it is.
        target: String,
    },
    /// A System V shared memory segment, by its key.
    Segment(i64),
    /// A process, by its number and name.
    Process(i32, String),
    /// A network interface of the namespace of whoever looks.
    Link(String),
    /// A namespace that a descriptor holds.
    Namespace {
        /// As `/proc/PID/fd` shows it.
        name: String,
        /// Number of the process that has the descriptor.
        holder: i32,
    },
    /// A file, of any type.
    File(PathBuf),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::Mount { fstype, target } => write!(f, "mount of {fstype} on {target}"),
            Self::Segment(key) => write!(f, "shared memory segment with key {key:#x}"),
            Self::Process(pid, name) if name.is_empty() => write!(f, "process {pid}"),
            Self::Process(pid, name) => write!(f, "process {pid} ({name})"),
            Self::Link(name) => write!(f, "network interface {name}"),
            Self::Namespace { name, holder } => write!(f, "namespace {name}, held by process {holder}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Objects of the whole node, each with how many there are of it: mounts may lie on each other.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: BTreeMap<Object, usize>,
}

impl Snapshot {
    /// Looks at cgroups of every hierarchy, mounts, network interfaces, System V segments, and processes whose root lies in
    /// `dir`, where the run's root file systems are.
    #[must_use]
    pub fn take(layout: &Layout, dir: &Path) -> Self {
        let mut snapshot = Self::default();
        for path in layout.existing("/") {
            snapshot.add(Object::Cgroup(path));
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for mount in process::mounts(&mountinfo) {
            snapshot.add(Object::Mount { fstype: mount.fstype, target: mount.target });
        }
        let links = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
        for name in links.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())) {
            snapshot.add(Object::Link(name.to_owned()));
        }
        let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        for line in segments.lines().skip(1) {
            let key =
                line.split_whitespace().next().and_then(|key| key.parse::<i64>().ok()).unwrap_or_default();
            snapshot.add(Object::Segment(key));
        }
        for found in procfs::process::all_processes().into_iter().flatten().flatten() {
            if found.root().is_ok_and(|root| root.starts_with(dir)) {
                snapshot.add(Object::Process(found.pid(), String::new()));
            }
        }
        snapshot
    }

    /// Looks at these processes too.
    #[must_use]
    pub fn with_processes(mut self, pids: &[i32]) -> Self {
        for pid in pids {
            let name = process::status_line(*pid, "Name").unwrap_or_default();
            self.objects.remove(&Object::Process(*pid, String::new()));
            self.objects.insert(Object::Process(*pid, name), 1);
        }
        self
    }

    /// Looks at namespaces that descriptors hold too.
    #[must_use]
    pub fn with_namespaces(mut self) -> Self {
        let pids = process::listed_pids(Path::new("/proc")).unwrap_or_default();
        for pid in pids.into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
            for open in process::open_fds(pid).unwrap_or_default() {
                let kind = open.target.split_once(":[").map(|(kind, _)| kind);
                if kind.is_some_and(|kind| process::NS_KINDS.contains(&kind)) {
                    self.add(Object::Namespace { name: open.target, holder: pid });
                }
            }
        }
        self
    }

    /// Looks at all files below these directories too, but not at those below `except`.
    #[must_use]
    pub fn with_files(mut self, dirs: &[&Path], except: &[PathBuf]) -> Self {
        let mut front: Vec<PathBuf> = dirs.iter().map(|dir| (*dir).to_owned()).collect();
        while let Some(dir) = front.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if except.contains(&path) {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    front.push(path.clone());
                }
                self.add(Object::File(path));
            }
        }
        self
    }

    fn add(&mut self, object: Object) {
        *self.objects.entry(object).or_default() += 1;
    }

    /// What is here and was not there before, or is more than it was.
    #[must_use]
    pub fn beyond(&self, before: &Self) -> BTreeSet<Object> {
        let is_more =
            |(object, n): &(&Object, &usize)| before.objects.get(*object).is_none_or(|old| *n > old);
        self.objects.iter().filter(is_more).map(|(object, _)| object.clone()).collect()
    }

    /// What is here, was not there before, and carries one of these marks where other programs of the node could have made
    /// it as well (anything but a process).
    #[must_use]
    pub fn since(&self, before: &Self, marks: &[String]) -> Vec<String> {
        let is_ours = |text: &String| {
            text.starts_with("process") || marks.iter().any(|mark| text.contains(mark.as_str()))
        };
        self.beyond(before).iter().map(ToString::to_string).filter(is_ours).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(objects: &[Object]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        objects.iter().for_each(|object| snapshot.add(object.clone()));
        snapshot
    }

    fn cgroup(path: &str) -> Object {
        Object::Cgroup(path.into())
    }

    fn mount(target: &str) -> Object {
        Object::Mount { fstype: "tmpfs".to_owned(), target: target.to_owned() }
    }

    #[test]
    fn only_what_is_new_and_ours_counts() {
        let process = |pid| Object::Process(pid, String::new());
        let before = of(&[cgroup("/sys/fs/cgroup/a"), process(1)]);
        let after = of(&[
            cgroup("/sys/fs/cgroup/a"),
            cgroup("/sys/fs/cgroup/user"),
            cgroup("/sys/fs/cgroup/ns-01-a"),
            process(2),
        ]);
        let marks = ["ns-01-".to_owned()];
        assert_eq!(after.since(&before, &marks), ["cgroup /sys/fs/cgroup/ns-01-a", "process 2"]);
    }

    #[test]
    fn a_second_mount_on_the_same_place_is_new() {
        let (one, two) = (of(&[mount("/a")]), of(&[mount("/a"), mount("/a")]));
        assert_eq!(two.beyond(&one), BTreeSet::from([mount("/a")]));
        assert_eq!(one.beyond(&two), BTreeSet::new());
        assert_eq!(of(&[]).beyond(&one), BTreeSet::new());
    }

    #[test]
    fn files_are_found_and_what_is_left_out_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let (kept, left_out) = (temp.path().join("kept"), temp.path().join("left-out"));
        for dir in [&kept, &left_out] {
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("file"), "").unwrap();
        }
        let snapshot = Snapshot::default().with_files(&[temp.path()], &[left_out]);
        let expected = BTreeSet::from([Object::File(kept.clone()), Object::File(kept.join("file"))]);
        assert_eq!(snapshot.beyond(&Snapshot::default()), expected);
    }
}
