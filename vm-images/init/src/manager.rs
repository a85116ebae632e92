//! PID 1 becomes a service manager, and a child of it goes on in its place.
#![expect(unsafe_code, clippy::disallowed_methods, reason = "PID 1 can only be handed over by fork(2)")]

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::unistd::{ForkResult, fork};

use crate::step::{Failure, Step};

/// Returns in the child. Fails in both when there can be no child, in PID 1 when the program does not start.
pub(crate) fn hand_over(program: &str) -> Result<(), Failure> {
    // SAFETY: this program has one thread.
    match unsafe { fork() }.step("fork", "PID 1")? {
        ForkResult::Child => Ok(()),
        // As the kernel starts its first program (init/main.c).
        ForkResult::Parent { .. } => {
            let error = Command::new(program).env_clear().envs([("HOME", "/"), ("TERM", "linux")]).exec();
            Err(error).step("start", program)
        }
    }
}
