//! Stopping every process of a cgroup, and letting them go on (`cgroup.freeze`).
//!
//! A frozen process runs no instruction of its own, and signals wait for it; SIGKILL ends it all the same.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use super::events::Events;
use super::{CgroupError, CgroupPath};

/// How long processes may take to stop. It takes milliseconds, unless one is in an uninterruptible sleep.
const DEADLINE: Duration = Duration::from_secs(10);

/// Freezes the cgroup with all below it, and waits until no process runs.
///
/// # Errors
/// [`CgroupError::Running`] when one cannot be stopped; then all go on.
pub fn freeze(path: &CgroupPath) -> Result<(), CgroupError> {
    write(path, "1")?;
    let result = wait(path, true);
    if result.is_err() {
        // The error is the one to report.
        drop(write(path, "0"));
    }
    result
}

/// Lets the processes of the cgroup go on.
///
/// # Errors
/// [`CgroupError::Frozen`] when a cgroup above is frozen too.
pub fn thaw(path: &CgroupPath) -> Result<(), CgroupError> {
    write(path, "0")?;
    wait(path, false)
}

/// True when the cgroup itself was frozen; one above may be, whatever this says.
///
/// # Errors
/// The failed read; a cgroup that does not exist is not frozen.
pub fn is_frozen(path: &CgroupPath) -> Result<bool, CgroupError> {
    let file = path.directory().join("cgroup.freeze");
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim() == "1"),
        Err(error) if is_gone(&error) => Ok(false),
        Err(error) => Err(CgroupError::io("read", file)(error)),
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn write(path: &CgroupPath, text: &str) -> Result<(), CgroupError> {
    let file = path.directory().join("cgroup.freeze");
    fs::write(&file, text).map_err(CgroupError::io("write", file))
}

fn wait(path: &CgroupPath, is_frozen: bool) -> Result<(), CgroupError> {
    let directory = path.directory();
    let Some(mut events) = Events::open(&directory)? else { return Ok(()) };
    let line = if is_frozen { "frozen 1" } else { "frozen 0" };
    if events.wait_for(line, Instant::now() + DEADLINE)? {
        return Ok(());
    }
    let seconds = DEADLINE.as_secs();
    Err(if is_frozen {
        CgroupError::Running { path: directory, seconds }
    } else {
        CgroupError::Frozen { path: directory, seconds }
    })
}
