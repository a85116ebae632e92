//! The container's terminal: a pair from the container's own devpts, so that its name means something there.
//!
//! An image must not choose what is opened or bound: the directory is looked up inside of the root and has to be a devpts,
//! where only the kernel makes files; the other end comes from the master, not from a path.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};

use super::super::{Context, StepError, console};
use super::rootfs;
use crate::spec::ConsoleSize;
use crate::sys::mount::{attach, clone_tree, open_in_root};
use crate::sys::pty;

const DIRECTORY: &str = "/dev/pts";
const CONSOLE: &str = "/dev/console";
/// `DEVPTS_SUPER_MAGIC` of `linux/magic.h`.
const DEVPTS: FsType = FsType(0x1cd1);

/// Makes a terminal in `root`, sends its master to `socket`, and makes it the standard streams and the controlling
/// terminal of the caller, who leads a new session.
pub(super) fn set_up(
    root: BorrowedFd<'_>,
    socket: Option<BorrowedFd<'_>>,
    is_console: bool,
    size: Option<ConsoleSize>,
    uid: u32,
) -> Result<(), StepError> {
    let socket = socket.ok_or_else(|| StepError::new("nobody takes its master", Errno::EBADF))?;
    let way_out = || format!("{DIRECTORY} (process.terminal needs a devpts there: add one to mounts)");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let directory = open_in_root(root, Path::new(DIRECTORY), flags).during(way_out)?;
    if fstatfs(&directory)?.filesystem_type() != DEVPTS {
        return Err(StepError::new(way_out(), Errno::ENODEV));
    }
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let master =
        openat(&directory, "ptmx", flags, Mode::empty()).during(|| format!("open {DIRECTORY}/ptmx"))?;
    let terminal = pty::open_peer(master.as_fd()).during(|| "open its other end")?;
    if let Some(size) = size {
        pty::set_size(terminal.as_fd(), size).during(|| "set process.consoleSize")?;
    }
    fchown(&terminal, Some(Uid::from_raw(uid)), None).during(|| "set its owner")?;
    if is_console {
        let target = rootfs::make_file(root, Path::new(CONSOLE))?;
        let node = clone_tree(terminal.as_fd(), Path::new(""), false).during(|| "bind it")?;
        attach(node.as_fd(), target.as_fd()).during(|| format!("attach it to {CONSOLE}"))?;
    }
    pty::set_controlling(terminal.as_fd()).during(|| "make it the controlling terminal")?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    dup2_stderr(&terminal)?;
    console::send(socket, master.as_fd()).during(|| "send its master")
}
