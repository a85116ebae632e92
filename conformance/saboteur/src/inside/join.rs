//! The wrapper as a part of the runtime that joins a namespace too late, or one too many (setns(2)).

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use super::SHARED;
use crate::kept;

/// Joins the namespace behind the path and executes the program in this same process.
pub(super) fn run(kind: CloneFlags, path: &str, program: &str, arguments: &[String]) -> Result<u8> {
    let file = File::open(path).with_context(|| format!("open {path}"))?;
    setns(file, kind).with_context(|| format!("setns {path}"))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

/// Joins the namespaces that are kept in the shared directory and executes the program in this same process.
pub(super) fn kept(program: &str, arguments: &[String]) -> Result<u8> {
    for (kind, flag) in kept::KINDS {
        let path = kept::file(Path::new(SHARED), kind);
        if path.exists() {
            let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
            setns(file, flag).with_context(|| format!("setns {}", path.display()))?;
        }
    }
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
