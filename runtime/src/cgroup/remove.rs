//! Killing everything in a cgroup, and removing it with all groups below it.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::events::Events;
use super::owner::Claim;
use super::{CgroupError, CgroupPath, Owner};
use crate::sys::xattr;

/// How long killed processes may take to end. SIGKILL needs milliseconds; a process in an
/// uninterruptible sleep may need for ever, and that has to be an error.
const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// The mark on a group that podrt made above a container's: whichever container leaves it last removes it.
pub(super) const MADE: &CStr = c"trusted.podrt.made";

/// Kills every process in the cgroup and below, waits for their end, and removes the groups, deepest first; then those above
/// that podrt made, as far as they are empty.
///
/// A cgroup that does not exist, or has the mark of another container, is a success.
///
/// # Errors
/// [`CgroupError::Stranger`], [`CgroupError::Busy`] when processes do not end, else the failed operation.
pub fn remove(path: &CgroupPath, owner: &Owner) -> Result<(), CgroupError> {
    match owner.claim(path)? {
        Claim::Own => remove_with_processes(&path.directory())?,
        // Whoever comes into it now makes this fail, and is not killed.
        Claim::Unmarked => remove_tree(&path.directory())?,
        Claim::Others | Claim::Gone => {}
    }
    remove_made_parents(path)
}

fn remove_with_processes(directory: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + KILL_DEADLINE;
    // Mostly the last process has ended already, and there is nothing below.
    match fs::remove_dir(directory) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(CgroupError::io("remove", directory)(error));
        }
        _ => return Ok(()),
    }
    loop {
        kill(directory)?;
        wait_empty(directory, deadline)?;
        match remove_tree(directory) {
            // Somebody on the node put a process in, or made a group, after the kill.
            Err(CgroupError::Io { source, .. })
                if matches!(source.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY))
                    && Instant::now() < deadline => {}
            result => return result,
        }
    }
}

/// Removes a cgroup without processes, with those below it and those above that podrt made. Kills nothing.
///
/// # Errors
/// `EBUSY` when a process has come into it, else the failed operation.
pub fn remove_empty(path: &CgroupPath) -> Result<(), CgroupError> {
    remove_tree(&path.directory())?;
    remove_made_parents(path)
}

/// Removes the groups above a container's that podrt made, upwards to the first that is in use or somebody else's.
pub(super) fn remove_made_parents(path: &CgroupPath) -> Result<(), CgroupError> {
    for parent in path.ancestors().into_iter().skip(1).rev() {
        if xattr::get(&parent, MADE).is_none() {
            // Gone already, or not podrt's: above it may be one of podrt's only in the first case.
            if parent.exists() {
                break;
            }
            continue;
        }
        match fs::remove_dir(&parent) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) => break,
            Err(error) => return Err(CgroupError::io("remove", parent)(error)),
        }
    }
    Ok(())
}

/// Sends SIGKILL to every process in the cgroup and below, at once, whatever they fork meanwhile.
///
/// # Errors
/// [`CgroupError::Stranger`], or the failed write; a cgroup that does not exist is a success.
pub fn kill_all(path: &CgroupPath, owner: &Owner) -> Result<(), CgroupError> {
    if owner.claim(path)? == Claim::Own { kill(&path.directory()) } else { Ok(()) }
}

fn kill(directory: &Path) -> Result<(), CgroupError> {
    let file = directory.join("cgroup.kill");
    match fs::write(&file, "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CgroupError::io("write", file)(error)),
        _ => Ok(()),
    }
}

/// The processes in the cgroup and below.
///
/// # Errors
/// [`CgroupError::Stranger`], or the failed read; a cgroup that does not exist has none.
pub fn processes(path: &CgroupPath, owner: &Owner) -> Result<Vec<Pid>, CgroupError> {
    let mut pids = Vec::new();
    if owner.claim(path)? != Claim::Own {
        return Ok(pids);
    }
    for directory in tree(&path.directory())? {
        let file = directory.join("cgroup.procs");
        match fs::read_to_string(&file) {
            // A zero is a process of another pid namespace, which this one cannot name.
            Ok(text) => {
                pids.extend(
                    text.lines().filter_map(|l| l.parse().ok()).filter(|p| *p > 0).map(Pid::from_raw),
                );
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A threaded group lists its processes in the group above.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            Err(error) => return Err(CgroupError::io("read", file)(error)),
        }
    }
    Ok(pids)
}

/// A directory and all below it, parents first.
pub(super) fn tree(top: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let mut list = vec![top.to_owned()];
    let mut next = 0;
    while let Some(directory) = list.get(next).cloned() {
        next += 1;
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(CgroupError::io("list", directory)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(CgroupError::io("list", &directory))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                list.push(entry.path());
            }
        }
    }
    Ok(list)
}

fn remove_tree(top: &Path) -> Result<(), CgroupError> {
    for directory in tree(top)?.into_iter().rev() {
        match fs::remove_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CgroupError::io("remove", directory)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Waits for the end of the last process.
fn wait_empty(directory: &Path, deadline: Instant) -> Result<(), CgroupError> {
    let Some(mut events) = Events::open(directory)? else { return Ok(()) };
    if events.wait_for("populated 0", deadline)? {
        return Ok(());
    }
    Err(CgroupError::Busy { path: directory.to_owned(), seconds: KILL_DEADLINE.as_secs() })
}
