//! The operations of the worker, and the system calls of this program that have no safe wrapper.
#![allow(unsafe_code, reason = "fork, clone, and a step between fork and exec")]

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::ptr;

use nix::sched::{CloneFlags, clone, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use crate::Res;
use crate::record::Case;

/// An ELF executable whose only instructions are `exit(0)`, linked at 4 MiB: header, one loadable segment, code.
#[rustfmt::skip]
pub(crate) const EXIT_PROGRAM: [u8; 129] = [
    // ELF header: 64-bit, little endian, executable, x86-64; entry 0x400078; program header at 64.
    0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 0, 0x3e, 0, 1, 0, 0, 0, 0x78, 0, 0x40, 0, 0, 0, 0, 0,
    64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    // PT_LOAD, readable and executable: the whole file at 0x400000.
    1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
    129, 0, 0, 0, 0, 0, 0, 0, 129, 0, 0, 0, 0, 0, 0, 0,
    0, 0x10, 0, 0, 0, 0, 0, 0,
    // xor edi, edi; mov eax, SYS_exit; syscall
    0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05,
];

const STACK_BYTES: usize = 64 << 10;

/// `struct clone_args` up to `tls` (clone(2), the first version of the struct).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// What the operations use, opened before they are timed.
#[derive(Debug)]
pub(crate) struct Operations {
    uts: File,
    program: CString,
    /// Of the child between vfork and exec.
    stack: Vec<u8>,
}

impl Operations {
    /// `program` is the path of [`EXIT_PROGRAM`].
    pub(crate) fn new(program: &Path) -> Res<Self> {
        Ok(Self {
            uts: File::open("/proc/self/ns/uts")?,
            program: CString::new(program.as_os_str().as_bytes())?,
            stack: vec![0; STACK_BYTES],
        })
    }

    /// Does an operation so many times. Only in a process with one thread.
    pub(crate) fn repeat(&mut self, case: Case, n: u64) -> Res<()> {
        for _ in 0..n {
            match case {
                Case::Getpid => {
                    std::hint::black_box(getpid());
                }
                Case::ForkExitWait => fork_exit_wait()?,
                Case::VforkExecWait => self.vfork_exec_wait()?,
                Case::Setns => setns(&self.uts, CloneFlags::CLONE_NEWUTS)?,
                Case::Unshare => unshare(CloneFlags::CLONE_NEWUTS)?,
                Case::Clone3FiveNamespaces => clone3_five_namespaces()?,
            }
        }
        Ok(())
    }

    /// What vfork(2) does. posix_spawn(3) would ask for the action of every signal first, which is more system calls than
    /// all the rest.
    fn vfork_exec_wait(&mut self) -> Res<()> {
        let path = self.program.as_ptr();
        let (args, none) = ([path, ptr::null()], [ptr::null()]);
        let child = || {
            // SAFETY: path and arrays end with a zero and outlive the child's use of this memory.
            unsafe { libc::execve(path, args.as_ptr(), none.as_ptr()) };
            127
        };
        let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
        // SAFETY: the worker has one thread and waits until the child has left this memory; the child, on a stack of its
        // own, only executes or leaves.
        let pid = unsafe { clone(Box::new(child), &mut self.stack, flags, Some(libc::SIGCHLD)) }?;
        reap(pid)
    }
}

/// fork(2), `_exit`(2), wait4(2).
pub(crate) fn fork_exit_wait() -> Res<()> {
    // SAFETY: the worker has one thread, and its child only leaves.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => leave(),
        pid => reap(Pid::from_raw(pid)),
    }
}

fn clone3_five_namespaces() -> Res<()> {
    let flags = CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWCGROUP;
    let args = CloneArgs {
        flags: flags.bits().cast_unsigned().into(),
        exit_signal: libc::SIGCHLD.cast_unsigned().into(),
        ..CloneArgs::default()
    };
    // SAFETY: `args` outlives the call and its size is passed; without a stack the child goes on with a copy of this
    // one, as after fork, in a process with one thread.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => leave(),
        pid => reap(Pid::from_raw(i32::try_from(pid)?)),
    }
}

fn leave() -> ! {
    // SAFETY: ends the process without running exit handlers; no preconditions.
    unsafe { libc::_exit(0) }
}

fn reap(pid: Pid) -> Res<()> {
    match waitpid(pid, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        other => Err(format!("a child of the worker ended with {other:?}").into()),
    }
}

/// A command that is killed when this thread ends, so that a measurement that is broken off leaves nothing behind.
pub(crate) fn tied_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // SAFETY: prctl(2) is async-signal-safe, and nothing else is done between fork and exec.
    unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) };
    command
}
