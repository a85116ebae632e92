//! The command that is traced.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use podproof_ebpf::Scope;

use crate::interrupt;

/// A command and what became of it.
#[derive(Debug)]
pub(super) struct Traced {
    child: Child,
    status: Option<ExitStatus>,
}

impl Traced {
    /// Starts a command such that its first event is its exec.
    pub(super) fn start(
        scope: &Scope,
        program: &Path,
        arguments: &[OsString],
        keeps_stdout: bool,
    ) -> Result<Self> {
        let (mut opener, gate) = UnixStream::pair().context("make a pair of sockets")?;
        fcntl(&gate, FcntlArg::F_SETFD(FdFlag::empty())).context("let the command inherit a socket")?;
        let own = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(own);
        command
            .args(["helper", "gate"])
            // It inherits the mask, and the traced command would inherit it from there.
            .args(interrupt::blocked().iter().map(|signal| format!("--unblock={}", *signal as i32)))
            .arg(gate.as_raw_fd().to_string())
            .arg(program)
            .arg("--")
            .args(arguments);
        if !keeps_stdout {
            let stderr = io::stderr().as_fd().try_clone_to_owned().context("duplicate standard error")?;
            command.stdout(Stdio::from(stderr));
        }
        let mut child = command.spawn().context("start the command")?;
        drop(gate);
        // It is there only when it says so: its own exec belongs to no trace.
        let mut byte = [0];
        let opened = opener
            .read_exact(&mut byte)
            .context("wait for the gate of the command")
            .and_then(|()| scope.add_thread_group(child.id()).map_err(anyhow::Error::from))
            .and_then(|()| opener.write_all(&byte).context("start the command"));
        // Without that byte it ends, and executes nothing.
        drop(opener);
        if let Err(error) = opened {
            child.wait().context("wait for the command")?;
            return Err(error);
        }
        Ok(Self { child, status: None })
    }

    /// Its thread group.
    pub(super) fn tgid(&self) -> u32 {
        self.child.id()
    }

    /// Reaps it if it has ended; whether it has.
    pub(super) fn look(&mut self) -> io::Result<bool> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.is_over())
    }

    /// Whether it was seen to have ended.
    pub(super) fn is_over(&self) -> bool {
        self.status.is_some()
    }

    /// Its exit code; 128 and the number of the signal that killed it.
    pub(super) fn exit_code(&self) -> Option<u8> {
        let status = self.status?;
        let code = status.code().or_else(|| Some(128 + status.signal()?))?;
        u8::try_from(code).ok()
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        // It is our child and not reaped, so the number is its own.
        if let Err(errno) = kill(Pid::from_raw(self.child.id().cast_signed()), signal)
            && errno != Errno::ESRCH
        {
            tracing::warn!(%signal, %errno, "pass on a signal to the command");
        }
    }
}

/// Whether the terminal sends its signals to this process group, and with it to the command.
pub(super) fn in_foreground() -> bool {
    let terminal = File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal) == Ok(getpgrp()))
}

/// The file of a program, as the shell would find it.
pub(super) fn locate(given: &OsStr) -> Result<PathBuf> {
    let shown = given.display();
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if given.as_encoded_bytes().contains(&b'/') {
        let path = std::path::absolute(given).with_context(|| format!("command {shown}"))?;
        ensure!(path.exists(), "command {shown}: no such file");
        ensure!(is_program(&path), "command {shown}: not executable; chmod +x it, or give its interpreter");
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).map(|dir| dir.join(given)).find(|path| is_program(path)) {
        Some(path) => Ok(path),
        None => bail!("command {shown}: not found in PATH; give its path"),
    }
}
