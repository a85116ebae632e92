//! Namespace calls with masks, and calls that the kernel refuses: nothing changes, and the error is told.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::namespaces::{check_setns, check_unshare, holder, say_call, split};
use crate::observe::{Case, Observed, equal, truth};
use crate::report::{namespaces, say_number, say_task, say_text};
use crate::sys;
use crate::sys::program::{refused_exec, refused_execveat, setns};

pub(crate) const CASES: &[Case] = &[
    Case { name: "setns::pidfd_with_a_mask", scenario: mask, check: check_setns },
    Case { name: "setns::pidfd_with_a_user_namespace", scenario: mask_with_user, check: check_setns },
    Case { name: "setns::of_any_type", scenario: any_type, check: check_setns },
    Case { name: "refused::setns", scenario: refused_setns, check: check_setns },
    Case { name: "refused::unshare", scenario: refused_unshare, check: check_unshare },
    Case { name: "refused::clone", scenario: refused_clone, check: check_refused_clone },
    Case { name: "refused::exec", scenario: refused_execs, check: check_refused_execs },
];

const NEWNS: i32 = libc::CLONE_NEWNS;
const NEWUTS: i32 = libc::CLONE_NEWUTS;
const NEWIPC: i32 = libc::CLONE_NEWIPC;
const NEWNET: i32 = libc::CLONE_NEWNET;
const NEWPID: i32 = libc::CLONE_NEWPID;
const NEWUSER: i32 = libc::CLONE_NEWUSER;
const NEWCGROUP: i32 = libc::CLONE_NEWCGROUP;

/// Calls setns and says everything about the call.
fn join(n: usize, fd: i32, nstype: i32) -> Res<Result<(), Errno>> {
    let before = namespaces()?;
    let result = setns(fd, nstype);
    let ret = result.map_or_else(|error| -(error as i64), |()| 0);
    say_call(n, fd, nstype.cast_unsigned().into(), ret, before, namespaces()?)?;
    Ok(result)
}

fn flags(types: i32) -> u64 {
    types.cast_unsigned().into()
}

fn mask() -> Res<()> {
    let (child, hold) = holder(flags(NEWUTS | NEWIPC | NEWNET | NEWPID | NEWNS | NEWCGROUP))?;
    let pidfd = sys::pidfd_open(child)?;
    let own = namespaces()?;
    join(0, pidfd.as_raw_fd(), NEWUTS | NEWIPC | NEWNET | NEWPID | NEWCGROUP)??;
    let joined = namespaces()?;
    truth("pid is for children", joined.pid == own.pid && joined.pid_for_children != own.pid_for_children)?;
    truth("the mount namespace stays", joined.mnt == own.mnt)?;
    join(1, pidfd.as_raw_fd(), NEWNS)??;
    say_number("calls", 2)?;
    drop(hold);
    equal("exit code", &sys::wait(child)?, &0)
}

fn mask_with_user() -> Res<()> {
    let (child, hold) = holder(flags(NEWUSER | NEWUTS | NEWIPC | NEWPID))?;
    let pidfd = sys::pidfd_open(child)?;
    let own = namespaces()?;
    join(0, pidfd.as_raw_fd(), NEWUSER | NEWUTS | NEWIPC | NEWPID)??;
    let joined = namespaces()?;
    truth("another user namespace", joined.user != own.user)?;
    truth("other ones of both", joined.uts != own.uts && joined.ipc != own.ipc)?;
    say_number("calls", 1)?;
    drop(hold);
    equal("exit code", &sys::wait(child)?, &0)
}

/// Type 0 takes what the descriptor is, and a pidfd is no namespace.
fn any_type() -> Res<()> {
    let (child, hold) = holder(flags(NEWUTS | NEWIPC | NEWPID | NEWNS))?;
    for (n, kind) in ["uts", "pid", "ipc", "mnt"].into_iter().enumerate() {
        let file = File::open(format!("/proc/{child}/ns/{kind}"))?;
        join(n, file.as_raw_fd(), 0)??;
    }
    let pidfd = sys::pidfd_open(child)?;
    equal("a pidfd needs a mask", &join(4, pidfd.as_raw_fd(), 0)?, &Err(Errno::EINVAL))?;
    say_number("calls", 5)?;
    drop(hold);
    equal("exit code", &sys::wait(child)?, &0)
}

fn refused_setns() -> Res<()> {
    let uts = File::open("/proc/self/ns/uts")?;
    let user = File::open("/proc/self/ns/user")?;
    let pidfd = sys::pidfd_open(nix::unistd::getpid())?;
    let calls = [
        (uts.as_fd(), NEWNET, Errno::EINVAL),
        (uts.as_fd(), NEWUTS | NEWNET, Errno::EINVAL),
        // One may not join the own user namespace.
        (user.as_fd(), NEWUSER, Errno::EINVAL),
        (pidfd.as_fd(), NEWUTS | NEWUSER, Errno::EINVAL),
        (pidfd.as_fd(), libc::CLONE_VM, Errno::EINVAL),
    ];
    for (n, (fd, nstype, error)) in calls.into_iter().enumerate() {
        equal("refusal", &join(n, fd.as_raw_fd(), nstype)?, &Err(error))?;
    }
    equal("no descriptor", &join(5, -1, NEWUTS)?, &Err(Errno::EBADF))?;
    equal("no such descriptor", &join(6, 1_000_000, 0)?, &Err(Errno::EBADF))?;
    let child = sys::fork(|| {
        sys::set_capabilities(0, 0, 0)?;
        equal("no privilege", &join(7, uts.as_raw_fd(), NEWUTS)?, &Err(Errno::EPERM))?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)?;
    say_number("calls", 8)
}

fn refused_unshare() -> Res<()> {
    let retain = CloneFlags::from_bits_retain;
    equal("a flag of clone", &split(0, CloneFlags::CLONE_VFORK)?, &Err(Errno::EINVAL))?;
    let mixed = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_PARENT;
    equal("none is done when one is wrong", &split(1, mixed)?, &Err(Errno::EINVAL))?;
    let child = sys::fork(|| {
        sys::set_capabilities(0, 0, 0)?;
        equal("no privilege", &split(2, CloneFlags::CLONE_NEWUTS)?, &Err(Errno::EPERM))?;
        equal("nor for several", &split(3, retain(NEWNS | NEWNET | NEWPID))?, &Err(Errno::EPERM))?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)?;
    split(4, CloneFlags::empty())??;
    say_number("calls", 5)
}

const CLONE_FS: u64 = 0x200;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_PIDFD: u64 = 0x1000;

/// Calls clone3 and says what it refused.
fn refuse(flags: u64, exit_signal: i32, error: Errno) -> Res<()> {
    let refusal = sys::clone3(flags, exit_signal, None, || Ok(0)).err();
    equal("refusal", &refusal, &Some(error))?;
    say_text("refused", &serde_json::to_string(&(nix::unistd::getpid().as_raw(), flags, error as i32))?)
}

fn refused_clone() -> Res<()> {
    say_task("parent")?;
    refuse(CLONE_FS | flags(NEWNS), libc::SIGCHLD, Errno::EINVAL)?;
    refuse(flags(NEWUSER) | CLONE_FS, libc::SIGCHLD, Errno::EINVAL)?;
    refuse(CLONE_PARENT, libc::SIGCHLD, Errno::EINVAL)?;
    refuse(0, 65, Errno::EINVAL)?;
    // No place for the descriptor.
    refuse(CLONE_PIDFD, libc::SIGCHLD, Errno::EFAULT)?;
    let child = sys::fork(|| {
        sys::set_capabilities(0, 0, 0)?;
        refuse(flags(NEWUTS), libc::SIGCHLD, Errno::EPERM)?;
        refuse(flags(NEWPID | NEWNS), 0, Errno::EPERM)?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_refused_clone(seen: &Observed) -> Res<()> {
    let failed = seen.all(|event| match event.kind {
        EventKind::CloneFailed { flags, errno } => Some((event.current.tid, flags, errno)),
        _ => None,
    });
    let said: Vec<(u32, u64, i32)> =
        seen.texts("refused").into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?;
    equal("refused clones", &failed, &said)?;
    let births = seen.all(|event| matches!(event.kind, EventKind::NewTask { .. }).then_some(event));
    equal("only the fork made a task", &births.len(), &1)
}

fn refused_execs() -> Res<()> {
    say_task("self")?;
    let long = format!("/nowhere/{}", "x".repeat(60));
    let calls = [
        ("/nowhere/at/all", Errno::ENOENT),
        // A directory is not executable for anybody.
        ("/", Errno::EACCES),
        ("/proc/self/status/below", Errno::ENOTDIR),
        ("", Errno::ENOENT),
        (long.as_str(), Errno::ENOENT),
    ];
    for (path, error) in calls {
        equal("execve", &refused_exec(path)?, &error)?;
        say_text("refused", &serde_json::to_string(&(path, error as i32))?)?;
    }
    equal("execveat", &refused_execveat("nowhere/at/all")?, &Errno::ENOENT)?;
    say_text("refused", &serde_json::to_string(&("nowhere/at/all", Errno::ENOENT as i32))?)
}

fn check_refused_execs(seen: &Observed) -> Res<()> {
    let me = seen.task("self")?;
    let failed = seen.all(|event| match &event.kind {
        EventKind::ExecFailed { filename, errno } if me.is(&event.current) => {
            Some((filename.clone(), *errno))
        }
        _ => None,
    });
    let said: Vec<(String, i32)> =
        seen.texts("refused").into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let execs = seen.all(|event| matches!(event.kind, EventKind::Exec { .. }).then_some(event));
    truth("nothing was executed", execs.is_empty())?;
    equal("refused execs", &failed, &said)
}
