//! Orphans that are adopted more than once, or run another program as one.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use nix::unistd::{Pid, setsid};
use podproof_ebpf::event::{Event, EventKind, TaskRef};

use crate::Res;
use crate::observe::{Case, Observed, equal, in_order, same_task, truth};
use crate::report::{TaskTruth, say_number, say_task};
use crate::sys;

pub(crate) const CASES: &[Case] = &[
    Case { name: "orphan::daemon", scenario: daemon, check: check_daemon },
    Case { name: "orphan::to_a_reaper_outside", scenario: outside, check: check_outside },
    Case { name: "orphan::adopted_twice", scenario: adopted_twice, check: check_adopted_twice },
    Case { name: "orphan::exec_after_the_adoption", scenario: exec_after, check: check_exec_after },
    Case { name: "orphan::exec_between_two_adoptions", scenario: exec_between, check: check_exec_between },
];

fn become_reaper(name: &str) -> Res<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
    say_task(name).map(drop)
}

/// A pipe of one byte: one end lets the other go on. Bytes, because forks hold copies of both ends.
fn let_go(mut end: &PipeWriter) -> Res<()> {
    Ok(end.write_all(b"!")?)
}

fn wait_for(mut end: &PipeReader) -> Res<()> {
    Ok(end.read_exact(&mut [0])?)
}

/// Fork, setsid, fork: how a daemon leaves its terminal.
fn daemon() -> Res<()> {
    become_reaper("reaper")?;
    let (release, hold) = std::io::pipe()?;
    let (ready, tell) = std::io::pipe()?;
    let first = sys::fork(|| {
        say_task("parent")?;
        setsid()?;
        sys::fork(|| {
            say_task("orphan")?;
            let_go(&tell)?;
            wait_for(&release)?;
            Ok(7)
        })?;
        wait_for(&ready)?;
        Ok(0)
    })?;
    equal("exit code of the parent", &sys::wait(first)?, &0)?;
    let_go(&hold)?;
    equal("exit code of the orphan", &sys::wait(Pid::from_raw(-1))?, &7)
}

/// All new parents of a task: event, before, after.
fn adoptions<'a>(seen: &'a Observed, orphan: &TaskTruth) -> Vec<(&'a Event, TaskRef, TaskRef)> {
    seen.all(|event| match &event.kind {
        EventKind::Reparent { task, from, to } if orphan.tgid == task.tgid => Some((event, *from, *to)),
        _ => None,
    })
}

fn check_daemon(seen: &Observed) -> Res<()> {
    let (reaper, parent, orphan) = (seen.task("reaper")?, seen.task("parent")?, seen.task("orphan")?);
    same_task(seen.birth(orphan)?.1, orphan, parent)?;
    same_task(seen.death(orphan)?.1, orphan, reaper)?;
    let [(event, from, to)] = adoptions(seen, orphan)[..] else { return Err("not one adoption".into()) };
    truth("from its parent to the reaper", parent.is(&from) && reaper.is(&to))?;
    truth("the daemon's own parent stayed", adoptions(seen, parent).is_empty())?;
    equal("wait status", &seen.death(orphan)?.2, &(7 << 8))?;
    in_order(&[seen.death(parent)?.0, event, seen.death(orphan)?.0, seen.reaped_by(orphan, reaper)?])
}

/// No reaper in the scope: the orphan goes to whatever is above, on most machines PID 1, and names it.
fn outside() -> Res<()> {
    let (release, hold) = std::io::pipe()?;
    let first = sys::fork(|| {
        say_task("parent")?;
        let (ready, tell) = std::io::pipe()?;
        sys::fork(|| {
            say_task("orphan")?;
            let_go(&tell)?;
            wait_for(&release)?;
            say_number("new parent", nix::unistd::getppid().as_raw())?;
            Ok(7)
        })?;
        wait_for(&ready)?;
        Ok(0)
    })?;
    equal("exit code of the parent", &sys::wait(first)?, &0)?;
    let_go(&hold)
}

fn check_outside(seen: &Observed) -> Res<()> {
    let (parent, orphan) = (seen.task("parent")?, seen.task("orphan")?);
    let new_parent = u32::try_from(seen.number("new parent")?)?;
    truth("another parent", parent.tgid != new_parent)?;
    let (end, view, status) = seen.death(orphan)?;
    equal("parent at the end", &view.parent.tgid, &new_parent)?;
    equal("wait status", &status, &(7 << 8))?;
    let [(event, from, to)] = adoptions(seen, orphan)[..] else { return Err("not one adoption".into()) };
    truth("from its parent", parent.is(&from))?;
    equal("to the one that it named", &to, &view.parent)?;
    in_order(&[seen.death(parent)?.0, event, end])
}

/// What an orphan does when it is adopted: with a pipe to tell that it is done, and one to wait on until its end.
type Between = fn(PipeWriter, PipeReader) -> Res<i32>;

fn nothing(done: PipeWriter, release: PipeReader) -> Res<i32> {
    let_go(&done)?;
    wait_for(&release)?;
    Ok(0)
}

fn become_held(done: PipeWriter, release: PipeReader) -> Res<i32> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["scenario", "held"]).stdin(Stdio::from(release)).stderr(Stdio::from(done));
    Err(command.exec().into())
}

/// Run as a program: says what it is, tells on its standard error, and waits for a byte on its standard input.
pub(crate) fn held() -> Res<()> {
    say_task("held")?;
    std::io::stderr().write_all(b"!")?;
    std::io::stdin().read_exact(&mut [0])?;
    Ok(())
}

/// "parent" ends before the orphan, which then does `between`.
fn orphaned(between: Between, release: PipeReader) -> Res<()> {
    let (ready, tell) = std::io::pipe()?;
    let (adopted, tell_adopted) = std::io::pipe()?;
    let (done, tell_done) = std::io::pipe()?;
    let parent = sys::fork(|| {
        say_task("parent")?;
        sys::fork(|| {
            say_task("orphan")?;
            let_go(&tell)?;
            wait_for(&adopted)?;
            between(tell_done, release)
        })?;
        wait_for(&ready)?;
        Ok(0)
    })?;
    equal("exit code of the parent", &sys::wait(parent)?, &0)?;
    let_go(&tell_adopted)?;
    wait_for(&done)
}

/// Adopted by "first".
fn one_reaper(between: Between) -> Res<()> {
    become_reaper("first")?;
    let (release, hold) = std::io::pipe()?;
    orphaned(between, release)?;
    let_go(&hold)?;
    equal("exit code of the orphan", &sys::wait(Pid::from_raw(-1))?, &0)
}

/// Adopted by "second", which ends, then by "first".
fn two_reapers(between: Between) -> Res<()> {
    become_reaper("first")?;
    let (release, hold) = std::io::pipe()?;
    let second = sys::fork(|| {
        become_reaper("second")?;
        orphaned(between, release)?;
        Ok(0)
    })?;
    equal("exit code of the second", &sys::wait(second)?, &0)?;
    let_go(&hold)?;
    equal("exit code of the orphan", &sys::wait(Pid::from_raw(-1))?, &0)
}

fn adopted_twice() -> Res<()> {
    two_reapers(nothing)
}

/// At its end the comparison is with the birth: the reaper in between does not show.
fn check_adopted_twice(seen: &Observed) -> Res<()> {
    let (first, second) = (seen.task("first")?, seen.task("second")?);
    let (parent, orphan) = (seen.task("parent")?, seen.task("orphan")?);
    same_task(seen.birth(orphan)?.1, orphan, parent)?;
    same_task(seen.death(orphan)?.1, orphan, first)?;
    let [(event, from, to)] = adoptions(seen, orphan)[..] else { return Err("not one adoption".into()) };
    truth("from its parent to the last reaper", parent.is(&from) && first.is(&to))?;
    let [(_, told, 1)] = seen.zombies(orphan)[..] else { return Err("not one zombie".into()) };
    truth("the last reaper was told", first.is(&told))?;
    in_order(&[seen.death(parent)?.0, seen.death(second)?.0, event, seen.death(orphan)?.0])?;
    seen.reaped_by(parent, second)?;
    seen.reaped_by(orphan, first).map(drop)
}

/// The exec of the orphan, with its parent there.
fn exec_of<'a>(seen: &'a Observed, orphan: &TaskTruth) -> Res<(&'a Event, TaskRef)> {
    seen.one("exec", |event| match &event.kind {
        EventKind::Exec { task, .. } if orphan.is(&task.task) => Some((event, task.parent)),
        _ => None,
    })
}

fn exec_after() -> Res<()> {
    one_reaper(become_held)
}

fn check_exec_after(seen: &Observed) -> Res<()> {
    let (first, parent, orphan) = (seen.task("first")?, seen.task("parent")?, seen.task("orphan")?);
    let (exec, parent_there) = exec_of(seen, orphan)?;
    truth("the reaper is the parent at the exec", first.is(&parent_there))?;
    truth("and at the end", first.is(&seen.death(orphan)?.1.parent))?;
    seen.reaped_by(orphan, first)?;
    let [(event, from, to)] = adoptions(seen, orphan)[..] else { return Err("not one adoption".into()) };
    truth("from its parent to the reaper", parent.is(&from) && first.is(&to))?;
    in_order(&[seen.death(parent)?.0, event, exec, seen.death(orphan)?.0])
}

fn exec_between() -> Res<()> {
    two_reapers(become_held)
}

fn check_exec_between(seen: &Observed) -> Res<()> {
    let (first, second) = (seen.task("first")?, seen.task("second")?);
    let (parent, orphan) = (seen.task("parent")?, seen.task("orphan")?);
    let (exec, parent_there) = exec_of(seen, orphan)?;
    truth("the second is the parent at the exec", second.is(&parent_there))?;
    truth("and the first at the end", first.is(&seen.death(orphan)?.1.parent))?;
    seen.reaped_by(orphan, first)?;
    let [(event, from, to), (again, from_second, to_first)] = adoptions(seen, orphan)[..] else {
        return Err("not two adoptions".into());
    };
    truth("from its parent to the second", parent.is(&from) && second.is(&to))?;
    truth("from the second to the first", second.is(&from_second) && first.is(&to_first))?;
    let ends = [seen.death(parent)?.0, seen.death(second)?.0, seen.death(orphan)?.0];
    in_order(&[ends[0], event, exec, ends[1], again, ends[2]])
}
