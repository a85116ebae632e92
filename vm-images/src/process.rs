//! The QEMU process: started with the descriptors that it shall have, watched by a pidfd, and never left
//! behind. It dies with the thread that started it (PR_SET_PDEATHSIG), with this guard, or by itself.
#![expect(
    unsafe_code,
    reason = "the parent-death signal and inherited descriptors are set between fork and exec"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::qemu::PROGRAM;

/// QEMU could not be started or watched.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// The program is not in `PATH`.
    #[error(
        "{PROGRAM} is not in PATH; install QEMU for x86-64 (Debian and Ubuntu: qemu-system-x86; Fedora: qemu-system-x86-core)"
    )]
    NotFound,
    /// It could not be executed.
    #[error("start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// An operation on the running process failed.
    #[error("{op} QEMU")]
    Watch {
        /// What was tried.
        op: &'static str,
        /// The cause.
        source: io::Error,
    },
}

/// A running QEMU. Dropping it kills and reaps it.
#[derive(Debug)]
pub(crate) struct QemuGuard {
    child: Child,
    pidfd: OwnedFd,
    is_reaped: bool,
}

/// Finds the program as execvp(3) would.
pub(crate) fn find() -> Result<PathBuf, QemuError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(PROGRAM))
        .find(|candidate| {
            nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok() && candidate.is_file()
        })
        .ok_or(QemuError::NotFound)
}

impl QemuGuard {
    /// Starts QEMU with these descriptors open, and its standard error at `stderr`.
    pub(crate) fn start(
        program: &Path,
        arguments: Vec<OsString>,
        inherited: Vec<RawFd>,
        stderr: OwnedFd,
    ) -> Result<Self, QemuError> {
        let mut command = Command::new(program);
        // A group of its own: the terminal's Ctrl-C reaches the parent alone, which ends QEMU and then reports.
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
        let parent: Pid = getpid();
        let prepare = move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the call above, which would then wait for nothing.
            if getppid() != parent {
                return Err(io::Error::from_raw_os_error(nix::errno::Errno::ESRCH as i32));
            }
            for fd in &inherited {
                // SAFETY: the caller keeps these descriptors open until `start` returns, so they are open in the
                // child, which has a copy of the table.
                let fd = unsafe { BorrowedFd::borrow_raw(*fd) };
                fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls and nothing else; it takes no lock and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        let mut child =
            command.spawn().map_err(|source| QemuError::Start { program: program.to_owned(), source })?;
        match open_pidfd(&child) {
            Ok(pidfd) => Ok(Self { child, pidfd, is_reaped: false }),
            Err(source) => {
                child.kill().and_then(|()| child.wait()).ok();
                Err(QemuError::Watch { op: "open a pidfd of", source })
            }
        }
    }

    /// Sends SIGKILL; the pidfd tells when it has worked.
    pub(crate) fn kill(&mut self) -> Result<(), QemuError> {
        self.child.kill().map_err(|source| QemuError::Watch { op: "kill", source })
    }

    /// Takes the exit status. Blocks until there is one: call it when the pidfd is readable.
    pub(crate) fn reap(&mut self) -> Result<ExitStatus, QemuError> {
        let status = self.child.wait().map_err(|source| QemuError::Watch { op: "wait for", source })?;
        self.is_reaped = true;
        Ok(status)
    }
}

fn open_pidfd(child: &Child) -> io::Result<OwnedFd> {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

impl Drop for QemuGuard {
    fn drop(&mut self) {
        if !self.is_reaped {
            // Best effort on a path that already reports an error.
            self.child.kill().and_then(|()| self.child.wait()).ok();
        }
    }
}

impl AsFd for QemuGuard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Raw numbers for the command line.
pub(crate) fn numbers<'a>(fds: impl IntoIterator<Item = &'a OwnedFd>) -> Vec<RawFd> {
    fds.into_iter().map(AsRawFd::as_raw_fd).collect()
}
