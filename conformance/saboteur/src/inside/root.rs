//! Wrappers that change where a program stands: its root, or its working directory.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, umount2};
use nix::unistd::{chdir, chroot};

/// Changes the root by chroot(2) alone and becomes the program.
pub(super) fn enter(root: &str, program: &str, arguments: &[String]) -> Result<u8> {
    chroot(root).with_context(|| format!("chroot {root}"))?;
    chdir("/").context("chdir /")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}

/// Goes to a mount, takes it out of the container's tree, and becomes the program there.
pub(super) fn leave(passage: &str, program: &str, arguments: &[String]) -> Result<u8> {
    chdir(passage).with_context(|| format!("chdir {passage}"))?;
    umount2(passage, MntFlags::MNT_DETACH).with_context(|| format!("detach {passage}"))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
