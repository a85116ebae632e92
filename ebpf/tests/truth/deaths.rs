//! What the end of a parent does to its children.

use std::io::Read as _;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::observe::{Case, Observed, equal, in_order, same_task, truth};
use crate::report::{TaskTruth, say_task};
use crate::sys;
use crate::waits::wait_for_end;

pub(crate) const CASES: &[Case] = &[
    Case { name: "orphan::to_a_subreaper", scenario: to_subreaper, check: check_to_reaper },
    Case { name: "orphan::to_pid_1_of_its_namespace", scenario: to_pid_1, check: check_to_reaper },
    Case { name: "orphan::zombie_is_handed_on", scenario: zombie_handed_on, check: check_zombie_handed_on },
    Case { name: "orphan::pid_1_dies_before_its_children", scenario: pid_1_dies, check: check_pid_1_dies },
];

const CLONE_NEWPID: u64 = 0x2000_0000;

/// "reaper" forks "parent" forks "orphan"; the parent ends first, then the orphan.
fn make_orphan() -> Res<()> {
    say_task("reaper")?;
    let (release, hold) = std::io::pipe()?;
    let parent = sys::fork(|| {
        say_task("parent")?;
        let mut release = release.try_clone()?;
        let (ready, tell) = std::io::pipe()?;
        sys::fork(move || {
            say_task("orphan")?;
            drop(tell);
            release.read_exact(&mut [0])?;
            Ok(3)
        })?;
        wait_for_end(ready)?;
        Ok(4)
    })?;
    equal("exit code of the parent", &sys::wait(parent)?, &4)?;
    std::io::Write::write_all(&mut &hold, b"!")?;
    equal("exit code of the orphan", &sys::wait(Pid::from_raw(-1))?, &3)
}

fn to_subreaper() -> Res<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
    make_orphan()
}

fn to_pid_1() -> Res<()> {
    let init = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || make_orphan().map(|()| 0))?;
    equal("exit code", &sys::wait(init)?, &0)
}

fn reparented(seen: &Observed, orphan: &TaskTruth, from: &TaskTruth, to: &TaskTruth) -> Res<()> {
    let (event, old, new) = seen.one("new parent", |event| match &event.kind {
        EventKind::Reparent { task, from, to } if orphan.is(task) => Some((event, from, to)),
        _ => None,
    })?;
    truth("the old parent", from.is(old))?;
    truth("the new parent", to.is(new))?;
    equal("source", &event.source.as_str(), &"tp_btf/sched_process_exit")?;
    in_order(&[seen.birth(orphan)?.0, seen.death(from)?.0, event, seen.death(orphan)?.0])
}

fn check_to_reaper(seen: &Observed) -> Res<()> {
    let (reaper, parent, orphan) = (seen.task("reaper")?, seen.task("parent")?, seen.task("orphan")?);
    same_task(seen.birth(orphan)?.1, orphan, parent)?;
    same_task(seen.death(orphan)?.1, orphan, reaper)?;
    reparented(seen, orphan, parent, reaper)?;
    let [(_, told, 1)] = seen.zombies(orphan)[..] else { return Err("not one zombie".into()) };
    truth("the reaper was told", reaper.is(&told))?;
    seen.reaped_by(orphan, reaper)?;
    seen.reaped_by(parent, reaper).map(drop)
}

/// The middle process leaves a zombie, which the subreaper gets and is told of.
fn zombie_handed_on() -> Res<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
    say_task("reaper")?;
    let middle = sys::fork(|| {
        say_task("parent")?;
        let zombie = sys::fork(|| say_task("zombie").map(|_| 6))?;
        sys::waitid(zombie, libc::WEXITED | libc::WNOWAIT)?;
        Ok(4)
    })?;
    // In this order, so that the zombie is taken from its new parent in any case.
    equal("exit code of the parent", &sys::wait(middle)?, &4)?;
    equal("exit code of the zombie", &sys::wait(Pid::from_raw(-1))?, &6)
}

fn check_zombie_handed_on(seen: &Observed) -> Res<()> {
    let (reaper, parent, zombie) = (seen.task("reaper")?, seen.task("parent")?, seen.task("zombie")?);
    let [(first, told, 1), (second, told_next, 1)] = seen.zombies(zombie)[..] else {
        return Err("not told twice".into());
    };
    truth("first its parent was told", parent.is(&told))?;
    truth("then the reaper", reaper.is(&told_next))?;
    truth("by the parent that ended", parent.is(&second.current))?;
    in_order(&[seen.death(zombie)?.0, first, seen.death(parent)?.0, second, seen.reaped_by(zombie, reaper)?])
}

fn pid_1_dies() -> Res<()> {
    say_task("outer")?;
    let init = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
        say_task("init")?;
        let (ready, tell) = std::io::pipe()?;
        sys::fork(move || {
            say_task("child")?;
            drop(tell);
            loop {
                nix::unistd::pause();
            }
        })?;
        wait_for_end(ready)?;
        Ok(2)
    })?;
    equal("exit code", &sys::wait(init)?, &2)?;
    equal("no child is left", &waitpid(Pid::from_raw(-1), None).err(), &Some(nix::errno::Errno::ECHILD))
}

fn check_pid_1_dies(seen: &Observed) -> Res<()> {
    let (outer, init, child) = (seen.task("outer")?, seen.task("init")?, seen.task("child")?);
    let (end, _, status) = seen.death(child)?;
    equal("the child was killed", &status, &9)?;
    // PID 1 reaps while it ends, and ignores SIGCHLD for that: no zombie.
    truth("no zombie of the child", seen.zombies(child).is_empty())?;
    let [(zombie, told, 1)] = seen.zombies(init)[..] else { return Err("not one zombie of PID 1".into()) };
    truth("the outer parent was told", outer.is(&told))?;
    let kill = seen.one("SIGKILL to the child", |event| match &event.kind {
        EventKind::SignalGenerate { signal: 9, target, .. } if child.is(target) => Some(event),
        _ => None,
    })?;
    truth("sent by PID 1", init.is(&kill.current))?;
    in_order(&[seen.death(init)?.0, kill, end, zombie, seen.reaped_by(init, outer)?])?;
    seen.not_freed_before(child, end)
}
