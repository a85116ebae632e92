//! What a test run leaves behind: processes, mounts, cgroups and files that were not there before it.
//!
//! Processes are ours beyond doubt, because orphans come to us (child subreaper). Mounts count whoever made them. In
//! cgroup hierarchies and the shared temporary folders other programs come and go, so there only names of this project
//! count; tests get a temporary folder of their own under `target`, in which everything counts.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::test::pidfd;

/// In the name of every file and cgroup that podproof makes outside `target`.
const MARKS: [&str; 2] = ["podproof", "podrt"];
const SHARED_DIRS: [&str; 6] = ["/tmp", "/var/tmp", "/run", "/run/netns", "/dev/shm", "/sys/fs/bpf"];
/// How long a process may take to end after the test program that started it.
const GRACE_MS: u16 = 2000;

/// The state of the machine at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Snapshot {
    /// Takes the state; `own_tmp` is the temporary folder of the tests.
    pub(crate) fn take(own_tmp: &Path) -> Result<Self> {
        let mountinfo =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let mut snapshot = Self::default();
        for line in mountinfo.lines() {
            let Some((point, fstype)) = mount(line) else { continue };
            if fstype == "cgroup" || fstype == "cgroup2" {
                cgroups(Path::new(point), &mut snapshot.cgroups);
            }
            snapshot.mounts.insert(format!("{fstype} on {point}"));
        }
        for dir in SHARED_DIRS {
            let is_marked = |name: &str| MARKS.iter().any(|mark| name.contains(mark));
            snapshot.files.extend(entries(Path::new(dir), is_marked));
        }
        snapshot.files.extend(entries(own_tmp, |_| true));
        Ok(snapshot)
    }

    /// What is in `after` and not in `self`, one line each.
    pub(crate) fn new_in(&self, after: &Self) -> Vec<String> {
        let new = |what: &str, before: &BTreeSet<String>, after: &BTreeSet<String>| {
            after.difference(before).map(|name| format!("{what} {name}")).collect::<Vec<_>>()
        };
        let mut left = new("mount", &self.mounts, &after.mounts);
        left.extend(new("cgroup", &self.cgroups, &after.cgroups));
        left.extend(new("file", &self.files, &after.files));
        left
    }
}

/// Mount point and file system type of a line of mountinfo, proc_pid_mountinfo(5).
fn mount(line: &str) -> Option<(&str, &str)> {
    let (fields, source) = line.split_once(" - ")?;
    Some((fields.split(' ').nth(4)?, source.split(' ').next()?))
}

fn cgroups(dir: &Path, found: &mut BTreeSet<String>) {
    // A group may vanish while we walk.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if MARKS.iter().any(|mark| entry.file_name().to_string_lossy().contains(mark)) {
                found.insert(path.display().to_string());
            }
            cgroups(&path, found);
        }
    }
}

fn entries(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| is_wanted(name)).map(|name| dir.join(name).display().to_string()).collect()
}

/// Makes orphans of our descendants our children, so that none can get away.
pub(crate) fn adopt_orphans() -> Result<()> {
    prctl::set_child_subreaper(true).context("cannot become a child subreaper")
}

/// Ends the processes that are still there and names them. Those that end by themselves in a short while do not count.
pub(crate) fn leftover_processes() -> Result<Vec<String>> {
    let mut left = Vec::new();
    loop {
        reap()?;
        let Some(child) = children()?.into_iter().next() else { return Ok(left) };
        let name = command_line(child);
        let Ok(fd) = pidfd::open(child) else { continue };
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        let timeout = if left.is_empty() { GRACE_MS } else { 0 };
        if poll(&mut fds, PollTimeout::from(timeout)).context("cannot wait for a process")? == 0 {
            left.push(format!("process {child} {name}"));
            // It is our child and was not waited for: the number cannot have passed to another process.
            kill(child, Signal::SIGKILL).with_context(|| format!("cannot kill process {child}"))?;
            waitpid(child, None).with_context(|| format!("cannot wait for process {child}"))?;
        }
    }
}

fn reap() -> Result<()> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err).context("cannot wait for children"),
        }
    }
}

fn children() -> Result<Vec<Pid>> {
    let mut pids = Vec::new();
    let tasks: PathBuf = "/proc/self/task".into();
    for task in fs::read_dir(&tasks).context("cannot read /proc/self/task")?.flatten() {
        let text =
            fs::read_to_string(task.path().join("children")).context("cannot read our children in /proc")?;
        pids.extend(text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
    }
    Ok(pids)
}

fn command_line(pid: Pid) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_named() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let before =
            Snapshot { mounts: set(&["proc on /proc"]), files: set(&["/tmp/podrt-1"]), ..Default::default() };
        let after = Snapshot {
            mounts: set(&["proc on /proc", "tmpfs on /tmp/x"]),
            cgroups: set(&["/sys/fs/cgroup/podproof-1"]),
            files: set(&[]),
        };
        assert_eq!(before.new_in(&after), ["mount tmpfs on /tmp/x", "cgroup /sys/fs/cgroup/podproof-1"]);
    }

    #[test]
    fn mountinfo_lines_with_optional_fields_are_read() {
        let line = "36 35 98:0 /m1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
        assert_eq!(mount(line), Some(("/mnt2", "ext3")));
    }

    #[test]
    fn a_file_in_the_tests_own_folder_is_found() {
        let tmp = tempfile::tempdir().unwrap();
        let before = Snapshot::take(tmp.path()).unwrap();
        let file = tmp.path().join("forgotten");
        fs::write(&file, "").unwrap();
        let new = before.new_in(&Snapshot::take(tmp.path()).unwrap());
        assert!(new.contains(&format!("file {}", file.display())), "{new:?}");
    }
}
