//! Namespaces: new ones at clone, joined ones, unshared ones, and calls that fail.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use podproof_ebpf::event::{EventKind, NsKind, NsSet};

use crate::Res;
use crate::observe::{Case, Observed, equal, same_task, truth};
use crate::report::{Line, namespaces, say, say_number, say_task};
use crate::sys;
use crate::waits::wait_for_end;

pub(crate) const CASES: &[Case] = &[
    Case { name: "ns::clone3_with_six", scenario: six, check: check_six },
    Case { name: "ns::clone3_with_user", scenario: user, check: check_user },
    Case { name: "ns::setns_by_descriptor", scenario: setns_by_fd, check: check_setns },
    Case { name: "ns::setns_by_pidfd", scenario: setns_by_pidfd, check: check_setns },
    Case { name: "ns::setns_of_pid_is_for_children", scenario: setns_pid, check: check_setns },
    Case { name: "ns::setns_that_fails", scenario: setns_fails, check: check_setns },
    Case { name: "ns::unshare", scenario: unshare_some, check: check_unshare },
    Case { name: "ns::unshare_pid_is_for_children", scenario: unshare_pid, check: check_unshare_pid },
];

const SIX: u64 = 0x2000_0000 | 0x0002_0000 | 0x0400_0000 | 0x0800_0000 | 0x4000_0000 | 0x0200_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWTIME: i32 = 0x80;

fn six() -> Res<()> {
    say_task("parent")?;
    let child = sys::clone3(SIX, libc::SIGCHLD, None, || say_task("child").map(|_| 0))?;
    equal("exit code", &sys::wait(child)?, &0)
}

/// Compares all fields; and that exactly these kinds are other than the parent's.
fn check_new(seen: &Observed, wanted: u64, new: &[NsKind]) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let (_, view, flags, _) = seen.birth(child)?;
    equal("clone flags", &flags, &wanted)?;
    equal("numbers", &view.ns_pids, &child.ns_pids)?;
    equal("namespaces", &view.ns, &child.ns)?;
    // Inside of a new cgroup namespace the child does not know its cgroup; it is the parent's.
    equal("cgroup", &Some(view.cgroup_id), &parent.cgroup_id.or(Some(view.cgroup_id)))?;
    equal("pid namespace of the parent", &view.parent_pid_ns, &parent.ns.pid)?;
    for kind in NsKind::ALL {
        let is_new = view.ns.get(kind) != parent.ns.get(kind);
        equal(&format!("{kind} is new"), &is_new, &new.contains(&kind))?;
    }
    equal("namespaces at the end", &seen.death(child)?.1.ns, &child.ns)
}

fn check_six(seen: &Observed) -> Res<()> {
    use NsKind::{Cgroup, Ipc, Mnt, Net, Pid, PidForChildren, Uts};
    check_new(seen, SIX, &[Mnt, Uts, Ipc, Net, Pid, PidForChildren, Cgroup])?;
    equal("it is PID 1", &seen.birth(seen.task("child")?)?.1.ns_pid(), &Some(1))
}

fn user() -> Res<()> {
    say_task("parent")?;
    let child = sys::clone3(CLONE_NEWUSER, libc::SIGCHLD, None, || say_task("child").map(|_| 0))?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_user(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    same_task(seen.birth(child)?.1, child, parent)?;
    check_new(seen, CLONE_NEWUSER, &[NsKind::User])
}

/// One call as the scenario saw it.
pub(crate) fn say_call(n: usize, fd: i32, flags: u64, ret: i64, before: NsSet, after: NsSet) -> Res<()> {
    let call = serde_json::to_string(&(fd, flags, ret, before, after))?;
    say(&Line::Text(format!("call {n}"), call))
}

/// Calls setns and says everything about the call.
fn join(n: usize, fd: BorrowedFd<'_>, flags: CloneFlags) -> Res<Result<(), Errno>> {
    let before = namespaces()?;
    let result = setns(fd, flags);
    let ret = result.map_or_else(|error| -(error as i64), |()| 0);
    say_call(n, fd.as_raw_fd(), flags.bits() as u64, ret, before, namespaces()?)?;
    Ok(result)
}

/// A child in new namespaces, which lives until the returned pipe is closed.
pub(crate) fn holder(flags: u64) -> Res<(nix::unistd::Pid, std::io::PipeWriter)> {
    let (release, hold) = std::io::pipe()?;
    let (ready, tell) = std::io::pipe()?;
    let child = {
        let hold = &hold;
        sys::clone3(flags, libc::SIGCHLD, None, move || {
            // The inherited copy, so that only the parent holds the pipe open.
            nix::unistd::close(hold.as_raw_fd())?;
            drop(tell);
            wait_for_end(release)?;
            Ok(0)
        })?
    };
    wait_for_end(ready)?;
    Ok((child, hold))
}

fn setns_by_fd() -> Res<()> {
    let (child, hold) = holder(SIX)?;
    for (n, (kind, flag)) in [
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("net", CloneFlags::empty()),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ]
    .into_iter()
    .enumerate()
    {
        let file = File::open(format!("/proc/{child}/ns/{kind}"))?;
        join(n, file.as_fd(), flag)??;
    }
    say_number("calls", 4)?;
    drop(hold);
    equal("exit code", &sys::wait(child)?, &0)
}

fn setns_by_pidfd() -> Res<()> {
    let (child, hold) = holder(SIX)?;
    let pidfd = sys::pidfd_open(child)?;
    join(0, pidfd.as_fd(), CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC)??;
    join(1, pidfd.as_fd(), CloneFlags::CLONE_NEWNS)??;
    say_number("calls", 2)?;
    drop(hold);
    equal("exit code", &sys::wait(child)?, &0)
}

fn setns_pid() -> Res<()> {
    let (child, hold) = holder(SIX)?;
    let file = File::open(format!("/proc/{child}/ns/pid"))?;
    let own = namespaces()?.pid;
    join(0, file.as_fd(), CloneFlags::CLONE_NEWPID)??;
    equal("own pid namespace", &namespaces()?.pid, &own)?;
    say_number("calls", 1)?;
    drop(hold);
    equal("exit code", &sys::wait(child)?, &0)
}

fn setns_fails() -> Res<()> {
    let null = File::open("/dev/null")?;
    equal("no namespace", &join(0, null.as_fd(), CloneFlags::empty())?, &Err(Errno::EINVAL))?;
    let uts = File::open("/proc/self/ns/uts")?;
    equal("another type", &join(1, uts.as_fd(), CloneFlags::CLONE_NEWNET)?, &Err(Errno::EINVAL))?;
    say_number("calls", 2)
}

type Call = (i32, u64, i64, NsSet, NsSet);

fn said_calls(seen: &Observed) -> Res<Vec<Call>> {
    (0..seen.number("calls")?).map(|n| Ok(serde_json::from_str(seen.text(&format!("call {n}"))?)?)).collect()
}

pub(crate) fn check_setns(seen: &Observed) -> Res<()> {
    let calls = seen.all(|event| match event.kind {
        EventKind::Setns { fd, nstype, ret, before, after } => {
            Some((fd, u64::from(nstype), ret, before, after))
        }
        _ => None,
    });
    equal("setns calls", &calls, &said_calls(seen)?)?;
    truth("there were calls", !calls.is_empty())
}

pub(crate) fn split(n: usize, flags: CloneFlags) -> Res<Result<(), Errno>> {
    let before = namespaces()?;
    let result = unshare(flags);
    let ret = result.map_or_else(|error| -(error as i64), |()| 0);
    say_call(n, 0, flags.bits() as u64, ret, before, namespaces()?)?;
    Ok(result)
}

fn unshare_some() -> Res<()> {
    split(0, CloneFlags::CLONE_NEWUTS)??;
    split(1, CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)??;
    // Not a flag of unshare.
    equal("a wrong flag", &split(2, CloneFlags::CLONE_PARENT)?, &Err(Errno::EINVAL))?;
    split(3, CloneFlags::from_bits_retain(CLONE_NEWTIME))??;
    split(4, CloneFlags::CLONE_NEWUSER)??;
    say_number("calls", 5)
}

/// The new pid namespace has no link in /proc before its first task.
fn unshare_pid() -> Res<()> {
    say_task("parent")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let child = sys::fork(|| say_task("child").map(|_| 0))?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn check_unshare_pid(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let (before, after) = seen.one("unshare", |event| match event.kind {
        EventKind::Unshare { before, after, .. } => Some((before, after)),
        _ => None,
    })?;
    equal("before", &before, &parent.ns)?;
    let said = NsSet { pid_for_children: child.ns.pid, ..parent.ns };
    equal("after", &after, &said)?;
    equal("the child's", &seen.birth(child)?.1.ns, &child.ns)
}

pub(crate) fn check_unshare(seen: &Observed) -> Res<()> {
    let calls = seen.all(|event| match event.kind {
        EventKind::Unshare { flags, ret, before, after } => Some((0, flags, ret, before, after)),
        _ => None,
    });
    equal("unshare calls", &calls, &said_calls(seen)?)
}
