//! Programs in front of those of a pod's containers.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use nix::sched::CloneFlags;

use super::{SHARED, unshare};

/// Where volumes are mounted that are to be emptied.
const VOLUME: &str = "/data";

/// Runs the program to its end.
pub(super) fn run(program: &str, arguments: &[String]) -> Result<ExitStatus> {
    Command::new(program).args(arguments).status().with_context(|| format!("run {program}"))
}

/// Ends as the program does, but with 0 where a signal ended it.
pub(super) fn forgive(program: &str, arguments: &[String]) -> Result<u8> {
    Ok(code(run(program, arguments)?).unwrap_or(0))
}

/// Runs the program once more when it failed.
pub(super) fn again(program: &str, arguments: &[String]) -> Result<u8> {
    let mut status = run(program, arguments)?;
    if !status.success() {
        status = run(program, arguments)?;
    }
    Ok(code(status).unwrap_or_else(|| {
        let signal = status.signal().unwrap_or(0);
        u8::try_from(128 + signal).unwrap_or(u8::MAX)
    }))
}

/// Empties the volume, then becomes the program.
pub(super) fn clear(program: &str, arguments: &[String]) -> Result<u8> {
    for entry in fs::read_dir(VOLUME).into_iter().flatten().flatten() {
        fs::remove_file(entry.path()).with_context(|| format!("remove {}", entry.path().display()))?;
    }
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

/// Replaces the files of the volume by copies of themselves, then becomes the program.
pub(super) fn put_back(program: &str, arguments: &[String]) -> Result<u8> {
    for entry in fs::read_dir(VOLUME).into_iter().flatten().flatten() {
        let (path, saved) = (entry.path(), entry.path().with_extension("saved"));
        fs::copy(&path, &saved).with_context(|| format!("copy {}", path.display()))?;
        fs::rename(&saved, &path).with_context(|| format!("replace {}", path.display()))?;
    }
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

/// Becomes the program, in an IPC namespace of its own unless it is the first run of the container.
pub(super) fn own_ipc_again(program: &str, arguments: &[String]) -> Result<u8> {
    let name = arguments.last().map(String::as_str).unwrap_or_default();
    let mark = format!("{SHARED}/started-{name}");
    let is_again = fs::exists(&mark).with_context(|| format!("look for {mark}"))?;
    fs::write(&mark, "").with_context(|| format!("write {mark}"))?;
    if is_again {
        return unshare::run(CloneFlags::CLONE_NEWIPC, program, arguments);
    }
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

fn code(status: ExitStatus) -> Option<u8> {
    status.code().and_then(|code| u8::try_from(code).ok())
}
