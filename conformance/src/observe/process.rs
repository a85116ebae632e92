//! `/proc` read from the node: the kernel's own records of a process, seen from outside.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use podproof_witness::{NsId, OpenFd};

/// The kinds of namespaces that a container can have, by their name below `/proc/PID/ns`.
pub const NS_KINDS: [&str; 8] = ["mnt", "uts", "ipc", "net", "pid", "cgroup", "user", "time"];

/// Identity of the namespace behind a path.
///
/// # Errors
/// When the path cannot be read.
pub fn ns_at(path: &Path) -> io::Result<NsId> {
    let metadata = fs::metadata(path)?;
    Ok(NsId { dev: metadata.dev(), ino: metadata.ino() })
}

/// The user namespace that owns the namespace behind a path (ioctl_ns(2), `NS_GET_USERNS`).
///
/// # Errors
/// When the path cannot be opened or the kernel does not tell.
pub fn owner_of(path: &Path) -> io::Result<NsId> {
    let owner = File::from(owner(&File::open(path)?)?).metadata()?;
    Ok(NsId { dev: owner.dev(), ino: owner.ino() })
}

#[expect(unsafe_code, reason = "nix has no ioctls of namespaces")]
fn owner(namespace: &File) -> io::Result<OwnedFd> {
    /// `_IO(0xb7, 0x1)` of linux/nsfs.h.
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: this request takes no argument and touches no memory of this process.
    let raw = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// All namespaces of a process, by file name; those that cannot be read are absent.
#[must_use]
pub fn namespaces(pid: i32) -> BTreeMap<String, NsId> {
    NS_KINDS
        .into_iter()
        .filter_map(|kind| {
            let id = ns_at(Path::new(&format!("/proc/{pid}/ns/{kind}"))).ok()?;
            Some((kind.to_owned(), id))
        })
        .collect()
}

/// One line of `/proc/PID/status`, without its name.
#[must_use]
pub fn status_line(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status_field(&status, name).map(str::to_owned)
}

/// One line of a `status` text, without its name.
#[must_use]
pub fn status_field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

/// `NSpid`: the number of the process in each pid namespace, outermost first.
#[must_use]
pub fn ns_pids(pid: i32) -> Option<Vec<u64>> {
    status_line(pid, "NSpid")?.split_whitespace().map(|number| number.parse().ok()).collect()
}

/// State letter of a process (proc(5)), or `None` when it is gone.
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    status_line(pid, "State")?.chars().next()
}

/// The children of a process, by the `PPid` of every process on the node.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn children(pid: i32) -> io::Result<Vec<i32>> {
    let parent = pid.to_string();
    let is_child = |candidate: &i32| status_line(*candidate, "PPid").as_ref() == Some(&parent);
    let listed = listed_pids(Path::new("/proc"))?.into_iter().filter_map(|pid| i32::try_from(pid).ok());
    Ok(listed.filter(is_child).collect())
}

/// The children of a process and theirs, by the `PPid` of every process on the node.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn descendants(pid: i32) -> io::Result<Vec<i32>> {
    let listed = listed_pids(Path::new("/proc"))?.into_iter().filter_map(|pid| i32::try_from(pid).ok());
    let parents = listed.filter_map(|pid| Some((pid, status_line(pid, "PPid")?.parse().ok()?)));
    Ok(below(pid, parents.collect()))
}

/// What descends from a process, by pairs of a process and its parent.
fn below(pid: i32, mut parents: Vec<(i32, i32)>) -> Vec<i32> {
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        let children = parents.extract_if(.., |(_, its)| *its == parent).map(|(pid, _)| pid);
        let before = found.len();
        found.extend(children);
        next.extend(&found[before..]);
    }
    found
}

/// First word of a process's command line; `None` when it has none or is gone.
#[must_use]
pub fn program(pid: i32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next().filter(|first| !first.is_empty())?;
    Some(String::from_utf8_lossy(first).into_owned())
}

/// Open descriptors of a process, as its `/proc/PID/fd` shows them.
///
/// # Errors
/// When the process is gone.
pub fn open_fds(pid: i32) -> io::Result<Vec<OpenFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let target =
            fs::read_link(entry.path()).map_or_else(|_| "?".to_owned(), |path| path.display().to_string());
        found.push(OpenFd { fd, target });
    }
    found.sort_by_key(|open| open.fd);
    Ok(found)
}

/// Numeric entries of a proc file system.
///
/// # Errors
/// When the directory cannot be read.
pub fn listed_pids(proc: &Path) -> io::Result<Vec<u64>> {
    let mut pids: Vec<u64> =
        fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// A mount, as mountinfo lists it (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the file system.
    pub device: String,
    /// Root of the mount within its file system.
    pub root: String,
    /// Where it is mounted, seen from the reader's root.
    pub target: String,
    /// Type of the file system.
    pub fstype: String,
    /// Source.
    pub source: String,
}

/// Parses mountinfo.
#[must_use]
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(2);
            let device = left.next()?.to_owned();
            let root = left.next()?.to_owned();
            let target = unescaped(left.next()?);
            let mut right = right.split(' ');
            Some(Mount {
                device,
                root,
                target,
                fstype: right.next()?.to_owned(),
                source: right.next().unwrap_or_default().to_owned(),
            })
        })
        .collect()
}

/// A path of mountinfo with its octal escapes undone (`\\040` is a space).
fn unescaped(path: &str) -> String {
    let mut plain = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        match after.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain + rest
}

/// Targets of this process's mounts below a directory, in the order in which they were mounted.
#[must_use]
pub fn mounts_below(dir: &Path) -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let targets = mounts(&mountinfo).into_iter().map(|mount| mount.target);
    targets.filter(|target| Path::new(target).starts_with(dir)).collect()
}

/// `CLOCK_BOOTTIME` in nanoseconds: the clock of the trace.
#[must_use]
pub fn boot_ns() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_parsed() {
        let text = "29 1 0:26 / / rw,relatime shared:1 master:2 - tmpfs none rw,size=5k\n\
                    30 29 0:5 /sub /dev/a\\040b rw - devtmpfs udev rw\n";
        let mounts = mounts(text);
        assert_eq!(mounts[0].fstype, "tmpfs");
        assert_eq!(mounts[1].root, "/sub");
        assert_eq!(mounts[1].target, "/dev/a b");
    }

    #[test]
    fn children_and_theirs_descend_from_a_process() {
        let parents = vec![(2, 1), (3, 2), (4, 9), (5, 3), (6, 2), (9, 1)];
        let mut found = below(2, parents.clone());
        found.sort_unstable();
        assert_eq!(found, [3, 5, 6]);
        assert_eq!(below(5, parents), [0; 0]);
    }

    #[test]
    fn a_status_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nNSpid:\t41\t1\nCapBnd:\t00ff\n";
        assert_eq!(status_field(status, "NSpid"), Some("41\t1"));
        assert_eq!(status_field(status, "NS"), None);
    }
}
