//! Making a cgroup, handing controllers down to it, writing its limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::owner::Owner;
use super::remove::{self, MADE};
use super::{CgroupError, CgroupPath, MOUNT_POINT};
use crate::spec::CgroupSetting;
use crate::spec::resources::Otherwise;
use crate::sys::xattr;

/// True when [`MOUNT_POINT`] is a cgroup v2 file system; false on v1 and hybrid hosts.
#[must_use]
pub fn has_cgroup2() -> bool {
    statfs(MOUNT_POINT).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Controllers that the root of the hierarchy offers.
#[must_use]
pub fn root_controllers() -> Vec<String> {
    let text = fs::read_to_string(Path::new(MOUNT_POINT).join("cgroup.controllers")).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// How often a parent may vanish while something is made below it, when another container's removal takes it away.
const MAKE_ATTEMPTS: u32 = 10;

/// The cgroups above this one that do not exist.
#[must_use]
pub fn missing_parents(path: &CgroupPath) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> =
        path.ancestors().into_iter().rev().take_while(|parent| !parent.exists()).collect();
    missing.reverse();
    missing
}

/// Marks what an interrupted [`make`] has made above its cgroup and could not mark any more. `missing` are those that did
/// not exist before.
pub fn mark_made_parents(path: &CgroupPath, missing: &[PathBuf]) {
    for parent in path.ancestors().iter().filter(|parent| missing.contains(parent)) {
        // It may not have been made, or be gone; without the mark it stays.
        let _unmarked = xattr::set(parent, MADE, b"");
    }
}

/// Fails when there is such a cgroup: it is somebody's, who may have processes in it.
///
/// # Errors
/// [`CgroupError::Exists`].
pub fn expect_none(path: &CgroupPath) -> Result<(), CgroupError> {
    let path = path.directory();
    if path.exists() { Err(CgroupError::Exists { path }) } else { Ok(()) }
}

/// Makes the cgroup, which must be new, and the missing ones above it, and marks it with its owner.
///
/// # Errors
/// [`CgroupError::Exists`], or what mkdir(2) and setxattr(2) give; whatever was made is removed.
pub fn make(path: &CgroupPath, owner: &Owner) -> Result<(), CgroupError> {
    let result = make_all(path).and_then(|()| {
        let directory = path.directory();
        let marked = owner.mark(&directory);
        if marked.is_err() {
            // Best effort: the first error is the one to report.
            drop(fs::remove_dir(&directory));
        }
        marked
    });
    if result.is_err() {
        // Best effort: the first error is the one to report.
        drop(remove::remove_made_parents(path));
    }
    result
}

fn make_all(path: &CgroupPath) -> Result<(), CgroupError> {
    let directory = path.directory();
    for attempt in 1.. {
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(CgroupError::Exists { path: directory });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < MAKE_ATTEMPTS => {}
            Err(error) => return Err(CgroupError::io("make", directory)(error)),
        }
        for parent in path.ancestors().into_iter().skip(1) {
            match fs::create_dir(&parent) {
                // Without the mark it stays: a delete knows it only when this create was interrupted.
                Ok(()) => drop(xattr::set(&parent, MADE, b"")),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < MAKE_ATTEMPTS => break,
                Err(error) => return Err(CgroupError::io("make", parent)(error)),
            }
        }
    }
    Ok(())
}

/// Switches controllers on in every cgroup from the root to the parent of `path`.
///
/// # Errors
/// What the kernel says, with the file: `EBUSY` when a cgroup on the way has processes of its own.
pub fn enable_controllers(path: &CgroupPath, names: &[String]) -> Result<(), CgroupError> {
    let ancestors = path.ancestors();
    // What is on in the last is on in all above it.
    let is_on = |parent: &PathBuf| missing_in(parent, names).is_ok_and(|missing| missing.is_empty());
    if ancestors.last().is_some_and(is_on) {
        return Ok(());
    }
    ancestors.iter().try_for_each(|directory| enable_in(directory, names))
}

/// Switches those of these controllers that there are on for the cgroups directly below `path`.
///
/// # Errors
/// As [`enable_controllers`].
pub fn enable_controllers_below(path: &CgroupPath, wanted: &[&str]) -> Result<(), CgroupError> {
    let mut names = root_controllers();
    names.retain(|name| wanted.contains(&name.as_str()));
    enable_controllers(path, &names)?;
    enable_in(&path.directory(), &names)
}

fn enable_in(directory: &Path, names: &[String]) -> Result<(), CgroupError> {
    for name in missing_in(directory, names)? {
        let file = directory.join(SUBTREE_CONTROL);
        fs::write(&file, format!("+{name}")).map_err(CgroupError::io("write", &file))?;
    }
    Ok(())
}

/// Those of these controllers that are not on for the cgroups directly below.
fn missing_in<'a>(directory: &Path, names: &'a [String]) -> Result<Vec<&'a String>, CgroupError> {
    let file = directory.join(SUBTREE_CONTROL);
    let enabled = fs::read_to_string(&file).map_err(CgroupError::io("read", file))?;
    Ok(names.iter().filter(|name| !enabled.split_whitespace().any(|on| on == *name)).collect())
}

/// Writes one setting, each line with a write of its own, as files with a line per device want it.
///
/// # Errors
/// What the kernel says, with the file.
pub fn apply(path: &CgroupPath, setting: &CgroupSetting) -> Result<(), CgroupError> {
    let Some((file, value)) = target(path, setting) else { return Ok(()) };
    // Never created: a file that is not there is a controller that is not on.
    let mut open = fs::OpenOptions::new().write(true).open(&file).map_err(CgroupError::io("write", &file))?;
    let lines: Vec<&str> = value.lines().collect();
    // An empty text is for the kernel to judge.
    for line in if lines.is_empty() { &[""][..] } else { &lines } {
        io::Write::write_all(&mut open, line.as_bytes()).map_err(CgroupError::io("write", &file))?;
    }
    Ok(())
}

/// The file that a setting is written to, and its text; `None` when there is nothing to do on this kernel.
#[must_use]
pub fn target<'a>(path: &CgroupPath, setting: &'a CgroupSetting) -> Option<(PathBuf, &'a str)> {
    let file = path.directory().join(&setting.file);
    match &setting.otherwise {
        Otherwise::Skip if !file.exists() => None,
        Otherwise::Write { file: other, value } if !file.exists() => {
            Some((path.directory().join(other), value.as_str()))
        }
        _ => Some((file, setting.value.as_str())),
    }
}
