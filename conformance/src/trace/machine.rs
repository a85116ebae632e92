//! What this machine can add to the events: names of processes, namespaces and cgroups from before the trace.
//!
//! Everything is looked up when an event names something unknown, and read-only.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use podproof_ebpf::event::NsKind;

use crate::observe::process::{self, Mount, listed_pids};

/// A walk over all cgroups is repeated at most this often, as what it did not find may be gone.
const MAX_WALKS: u32 = 16;

/// The v2 hierarchy, where it is mounted: at `/sys/fs/cgroup`, or on machines with both versions at its `unified`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct V2 {
    mount: PathBuf,
}

impl V2 {
    /// Looks for it in mountinfo.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::among(&process::mounts(&mountinfo()))
    }

    fn among(mounts: &[Mount]) -> Option<Self> {
        let whole = mounts.iter().find(|mount| mount.fstype == "cgroup2" && mount.root == "/");
        let any = || mounts.iter().find(|mount| mount.fstype == "cgroup2");
        whole.or_else(any).map(|mount| Self { mount: PathBuf::from(&mount.target) })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// The directory of a cgroup, given as its path in the hierarchy (`/a/b`) or as its directory.
    ///
    /// # Errors
    /// The directory that is none of a cgroup, when there is no such cgroup.
    pub fn directory(&self, given: &Path) -> Result<PathBuf, PathBuf> {
        let dir = if given.starts_with(&self.mount) {
            given.to_owned()
        } else {
            self.mount.join(given.strip_prefix("/").unwrap_or(given))
        };
        if given.is_dir() && !dir.exists() {
            return Err(given.to_owned());
        }
        let climbs = given.components().any(|part| part == Component::ParentDir);
        if !climbs && dir.join("cgroup.procs").is_file() { Ok(dir) } else { Err(dir) }
    }

    /// Paths of all cgroups at and below a directory of the hierarchy, by id, parents first.
    #[must_use]
    pub fn below(&self, dir: &Path) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut front = vec![dir.to_owned()];
        while let Some(dir) = front.pop() {
            let Ok(metadata) = fs::metadata(&dir) else { continue };
            let path = dir.strip_prefix(&self.mount).unwrap_or(&dir);
            found.push((metadata.ino(), format!("/{}", path.display())));
            let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
            front.extend(
                entries
                    .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                    .map(|entry| entry.path()),
            );
        }
        found
    }
}

/// The machine that the trace comes from, while it is at hand.
#[derive(Debug, Default)]
pub struct Machine {
    v2: Option<V2>,
    walks: u32,
    /// Controllers of the v1 hierarchies, by number.
    v1: HashMap<u32, String>,
    /// Effective capabilities of this program, one bit each.
    capabilities: Option<u64>,
}

impl Machine {
    /// The machine that this program runs on.
    #[must_use]
    pub fn here() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let capabilities = process::status_line(std::process::id().cast_signed(), "CapEff");
        let capabilities = capabilities.and_then(|mask| u64::from_str_radix(&mask, 16).ok());
        Self { v2: V2::find(), walks: 0, v1: v1_names(&own), capabilities }
    }

    /// What root has here: the effective capabilities of this program.
    pub(super) fn capabilities(&self) -> Option<u64> {
        self.capabilities
    }

    /// Controllers of a v1 hierarchy.
    pub(super) fn hierarchy(&self, number: u32) -> Option<&str> {
        self.v1.get(&number).map(String::as_str)
    }

    /// Name of a living process.
    pub(super) fn process_name(&self, tgid: u32) -> Option<String> {
        let name = fs::read_to_string(format!("/proc/{tgid}/comm")).ok()?;
        Some(name.trim_end_matches('\n').to_owned())
    }

    /// Numbers of a living process, outermost first.
    pub(super) fn ns_pids(&self, tgid: u32) -> Vec<u32> {
        let numbers = process::ns_pids(tgid.cast_signed()).unwrap_or_default();
        numbers.into_iter().filter_map(|number| u32::try_from(number).ok()).collect()
    }

    /// Paths of all cgroups that exist, by id.
    pub(super) fn cgroups(&mut self) -> Vec<(u64, String)> {
        if self.walks >= MAX_WALKS {
            return Vec::new();
        }
        self.walks += 1;
        self.v2.as_ref().map_or_else(Vec::new, |v2| v2.below(v2.mount()))
    }

    /// The oldest number among the processes that are in a namespace, but for one that has just come into it.
    pub(super) fn member(&self, kind: NsKind, inode: u32, but: u32) -> Option<u32> {
        let pids = listed_pids(Path::new("/proc")).unwrap_or_default();
        pids.into_iter()
            .filter_map(|pid| u32::try_from(pid).ok())
            .find(|pid| *pid != but && self.is_member(kind, inode, *pid))
    }

    /// Whether a process lives and is in a namespace.
    pub(super) fn is_member(&self, kind: NsKind, inode: u32, tgid: u32) -> bool {
        fs::metadata(ns_path(tgid, kind)).is_ok_and(|file| file.ino() == u64::from(inode))
    }

    /// Where the file of a namespace is mounted (`ip netns add` does that).
    pub(super) fn ns_file(&self, kind: NsKind, inode: u32) -> Option<String> {
        let root = format!("{kind}:[{inode}]");
        let mounts = process::mounts(&mountinfo());
        mounts
            .into_iter()
            .find(|mount| mount.fstype == "nsfs" && mount.root == root)
            .map(|mount| mount.target)
    }

    /// The namespaces of the first process of the machine.
    pub(super) fn first_namespaces(&self) -> Vec<(NsKind, u32)> {
        let inode = |kind| u32::try_from(fs::metadata(ns_path(1, kind)).ok()?.ino()).ok();
        NsKind::ALL.into_iter().filter_map(|kind| Some((kind, inode(kind)?))).collect()
    }
}

fn mountinfo() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()
}

fn ns_path(pid: u32, kind: NsKind) -> String {
    format!("/proc/{pid}/ns/{kind}")
}

/// `4:memory:/a` names hierarchy 4; v2 is number 0 and has no name.
fn v1_names(own: &str) -> HashMap<u32, String> {
    let named = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let number: u32 = fields.next()?.parse().ok()?;
        let name = fields.next()?;
        (number != 0).then(|| (number, name.trim_start_matches("name=").to_owned()))
    };
    own.lines().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fstype: &str, root: &str, target: &str) -> Mount {
        Mount {
            device: "0:1".into(),
            root: root.into(),
            target: target.into(),
            fstype: fstype.into(),
            source: String::new(),
        }
    }

    #[test]
    fn the_v2_hierarchy_is_found_on_hybrid_machines() {
        let hybrid = [
            mount("cgroup", "/", "/sys/fs/cgroup/memory"),
            mount("cgroup2", "/a", "/run/x"),
            mount("cgroup2", "/", "/sys/fs/cgroup/unified"),
        ];
        assert_eq!(V2::among(&hybrid).unwrap().mount(), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(V2::among(&hybrid[..1]), None);
    }

    #[test]
    fn a_cgroup_is_given_by_path_or_directory() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for dir in ["a", "a/b"] {
            fs::write(root.path().join(dir).join("cgroup.procs"), "").unwrap();
        }
        let v2 = V2 { mount: root.path().to_owned() };
        let there = root.path().join("a/b");
        assert_eq!(v2.directory(Path::new("/a/b")), Ok(there.clone()));
        assert_eq!(v2.directory(Path::new("a/b")), Ok(there.clone()));
        assert_eq!(v2.directory(&there), Ok(there));
        assert_eq!(v2.directory(Path::new("/c")), Err(root.path().join("c")));
        assert!(v2.directory(Path::new("/a/../a/b")).is_err());
        let paths: Vec<String> = v2.below(&root.path().join("a")).into_iter().map(|(_, path)| path).collect();
        assert_eq!(paths, ["/a", "/a/b"]);
    }

    #[test]
    fn v1_hierarchies_have_their_controllers_as_names() {
        let names = v1_names("4:memory:/x\n1:name=systemd:/\n0::/\n");
        assert_eq!(names.get(&4).map(String::as_str), Some("memory"));
        assert_eq!(names.get(&1).map(String::as_str), Some("systemd"));
        assert_eq!(names.get(&0), None);
    }
}
