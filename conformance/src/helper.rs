//! Helpers: what podproof does in processes of their own.
//!
//! The suite itself never enters a namespace; a cell's launcher starts podproof again for that. A traced command begins
//! as a helper that waits.

mod gate;
mod mqueue;
mod namespaces;
mod peek;
mod shm;
mod stand_in;
mod sysv;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

pub use namespaces::Holders;
pub use sysv::SysvRecords;

/// What a helper does.
#[derive(Debug, Clone, Subcommand)]
pub enum Helper {
    /// Brings up lo in the network namespace behind a path, as a network plugin would.
    Loopback {
        /// An nsfs file.
        path: PathBuf,
    },
    /// Makes a new namespace of each type, with processes in them that stay, and prints their numbers as JSON.
    Namespaces,
    /// Says that it is there and then keeps the namespaces that it is in.
    Hold {
        /// In a user namespace of its own.
        #[arg(long)]
        user: bool,
    },
    /// Looks for the System V shared memory segment of a key and prints what came of it.
    ShmFind {
        /// Key of shmget(2).
        key: i32,
    },
    /// Starts a process with a number that is free, prints 0 and ends; prints the error where that is refused.
    StandIn {
        /// The number.
        pid: i32,
    },
    /// Prints the texts of files as they are seen in another namespace, as JSON.
    Peek {
        /// An nsfs file; the namespace behind it is entered first.
        #[arg(long = "in", value_name = "PATH")]
        namespace: PathBuf,
        /// What to read.
        files: Vec<PathBuf>,
    },
    /// Makes, removes or looks for a POSIX message queue of the node; prints the error number of a look, 0 for none.
    Queue {
        /// What to do.
        act: mqueue::Act,
        /// Name of mq_open(3), with its slash.
        name: String,
    },
    /// Prints, as JSON, what the kernel keeps of a System V semaphore and message queue in an IPC namespace.
    SysvRecords {
        /// An nsfs file.
        path: PathBuf,
        /// Key of both.
        key: i32,
        /// Waits at most this long for somebody who waits for the semaphore.
        #[arg(long, value_name = "MS", default_value_t = 0)]
        await_waiter: u64,
    },
    /// Waits for a byte on a socket, then executes a program.
    Gate {
        /// The inherited end of the socket.
        fd: i32,
        /// Numbers of the signals that it unblocks first.
        #[arg(long, value_name = "SIGNAL")]
        unblock: Vec<i32>,
        /// What to execute.
        program: PathBuf,
        /// Its arguments, from the name on.
        #[arg(last = true, required = true)]
        arguments: Vec<OsString>,
    },
}

/// Does it.
///
/// # Errors
/// When the kernel refuses.
pub fn run(helper: &Helper) -> Result<()> {
    match helper {
        Helper::Loopback { path } => loopback(path),
        Helper::Namespaces => namespaces::make(),
        Helper::Hold { user } => namespaces::hold(*user),
        Helper::ShmFind { key } => shm::find(*key),
        Helper::StandIn { pid } => stand_in::start(*pid),
        Helper::Peek { namespace, files } => peek::print(namespace, files),
        Helper::Queue { act, name } => mqueue::act(*act, name),
        Helper::SysvRecords { path, key, await_waiter } => sysv::print(path, *key, *await_waiter),
        Helper::Gate { fd, unblock, program, arguments } => gate::pass(*fd, unblock, program, arguments),
    }
}

fn loopback(path: &PathBuf) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("setns {}", path.display()))?;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .context("make a socket for ioctl")?;
    set_up(socket.as_raw_fd()).context("bring up lo")
}

#[expect(unsafe_code, reason = "interface flags are set by an ioctl")]
fn set_up(socket: i32) -> std::io::Result<()> {
    // SAFETY: ifreq is plain data for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    let up = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(std::io::Error::other)?;
    request.ifr_ifru.ifru_flags = up;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives through the call (netdevice(7)).
    let result = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
