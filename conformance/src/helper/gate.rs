//! A gate: a process that becomes the traced command when it is told to, so that its whole life is in the trace.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{SigSet, Signal};

/// Says on an inherited socket that it is there, waits for a byte on it, closes it, unblocks the signals with these numbers,
/// and executes the program with these arguments, its own name first. When the socket is closed instead, whoever holds the
/// other end is gone, and nothing is executed.
pub(super) fn pass(fd: RawFd, unblock: &[i32], program: &Path, arguments: &[OsString]) -> Result<()> {
    let unblocked = unblock.iter().map(|number| Signal::try_from(*number)).collect::<Result<SigSet, _>>();
    let unblocked = unblocked.with_context(|| format!("unblock signals {unblock:?}"))?;
    let mut socket = inherited(fd);
    let mut byte = [0];
    socket.write_all(&byte).context("come to the gate")?;
    let n_read = socket.read(&mut byte).context("wait at the gate")?;
    drop(socket);
    ensure!(n_read == 1, "the trace ended before {} was started", program.display());
    // A mask outlives an exec (sigprocmask(2)). One that came meanwhile is taken here, by the process that it was for.
    unblocked.thread_unblock().with_context(|| format!("unblock signals {unblock:?}"))?;
    let mut command = Command::new(program);
    if let Some((name, rest)) = arguments.split_first() {
        command.arg0(name).args(rest);
    }
    let error = command.exec();
    Err(error).with_context(|| format!("cannot execute {}", program.display()))
}

#[expect(unsafe_code, reason = "an inherited descriptor has no owned handle in std")]
fn inherited(fd: RawFd) -> UnixStream {
    // SAFETY: `podproof trace` passes this descriptor to this process, and nothing else in it uses it.
    unsafe { UnixStream::from_raw_fd(fd) }
}
