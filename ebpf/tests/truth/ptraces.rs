//! Tracees (ptrace(2)): stopped, ended, and taken by a parent, by a tracer, or by nobody.

use std::io::{Read as _, Write as _};

use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use podproof_ebpf::event::{Event, EventKind, Reaper, TaskRef};

use crate::Res;
use crate::observe::{Case, Observed, equal, in_order, truth};
use crate::report::{TaskTruth, say_number, say_task};
use crate::sys;
use crate::sys::ptrace::{go_on, seize, trace_me};
use crate::sys::waiting::{wait_for_all, wait_status};
use crate::zombies::reaped_as;

pub(crate) const CASES: &[Case] = &[
    Case { name: "ptrace::by_the_parent", scenario: by_parent, check: check_by_parent },
    Case { name: "ptrace::by_another", scenario: by_another, check: check_by_another },
    Case { name: "ptrace::by_another_and_sigchld_ignored", scenario: ignored, check: check_ignored },
];

fn by_parent() -> Res<()> {
    say_task("parent")?;
    let child = sys::fork(|| {
        say_task("child")?;
        trace_me()?;
        raise(Signal::SIGSTOP)?;
        Ok(5)
    })?;
    // A tracer sees stops without asking for them.
    equal("stopped", &waitpid(child, None)?, &WaitStatus::Stopped(child, Signal::SIGSTOP))?;
    go_on(child)?;
    equal("exit code", &sys::wait(child)?, &5)
}

/// The end of a process, and who traced it.
fn tracer(seen: &Observed, child: &TaskTruth) -> Res<Option<TaskRef>> {
    seen.one(&format!("end of {}", child.tid), |event| match &event.kind {
        EventKind::Exit { task, tracer, group_dead: true, .. } if child.is(&task.task) => Some(*tracer),
        _ => None,
    })
}

fn check_by_parent(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let (died, view, status) = seen.death(child)?;
    equal("wait status", &status, &(5 << 8))?;
    truth("its parent", parent.is(&view.parent))?;
    let [(zombie, told, 1)] = seen.zombies(child)[..] else { return Err("not one zombie".into()) };
    truth("the parent was told", parent.is(&told))?;
    in_order(&[died, zombie, seen.reaped_by(child, parent)?])?;
    reaped_as(seen, child, Reaper::Parent)?;
    truth("the parent traced it", tracer(seen, child)?.is_some_and(|tracer| parent.is(&tracer)))?;
    equal("nobody traced the parent", &tracer(seen, parent)?, &None)
}

/// A child that ends when it is traced by a sibling; both children.
fn traced_by_sibling() -> Res<(Pid, Pid)> {
    let (mut release, mut hold) = std::io::pipe()?;
    let child = sys::fork(|| {
        say_task("child")?;
        release.read_exact(&mut [0])?;
        Ok(5)
    })?;
    let tracer = sys::fork(|| {
        say_task("tracer")?;
        seize(child)?;
        hold.write_all(b"!")?;
        say_number("status", wait_status(child)?)?;
        Ok(6)
    })?;
    Ok((child, tracer))
}

fn by_another() -> Res<()> {
    say_task("parent")?;
    let (child, tracer) = traced_by_sibling()?;
    equal("exit code of the tracer", &sys::wait(tracer)?, &6)?;
    equal("exit code", &sys::wait(child)?, &5)
}

fn check_traced(seen: &Observed) -> Res<()> {
    let (parent, child) = (seen.task("parent")?, seen.task("child")?);
    let (_, view, status) = seen.death(child)?;
    equal("wait status", &status, &(5 << 8))?;
    equal("the tracer took the status", &seen.number("status")?, &(5 << 8))?;
    truth("its parent stays", parent.is(&view.parent))?;
    equal("adoptions", &adoptions(seen).len(), &0)
}

fn adoptions(seen: &Observed) -> Vec<&Event> {
    seen.all(|event| matches!(event.kind, EventKind::Reparent { .. }).then_some(event))
}

fn check_by_another(seen: &Observed) -> Res<()> {
    check_traced(seen)?;
    let (parent, child, sibling) = (seen.task("parent")?, seen.task("child")?, seen.task("tracer")?);
    // First its tracer is told; and when that has taken the status, its parent.
    let [(first, told, 1), (second, told_next, 1)] = seen.zombies(child)[..] else {
        return Err("not told twice".into());
    };
    truth("first the tracer was told", sibling.is(&told))?;
    truth("then the parent", parent.is(&told_next))?;
    truth("by the tracer's wait", sibling.is(&second.current))?;
    truth("the sibling traced it", tracer(seen, child)?.is_some_and(|tracer| sibling.is(&tracer)))?;
    equal("nobody traced the tracer", &tracer(seen, sibling)?, &None)?;
    let reap = seen.reaped_by(child, parent)?;
    reaped_as(seen, child, Reaper::Parent)?;
    in_order(&[seen.death(child)?.0, first, second, seen.death(sibling)?.0, reap])
}

/// The parent takes nothing, so the tracer's wait is the last.
fn ignored() -> Res<()> {
    sys::set_sigchld(true, false)?;
    say_task("parent")?;
    traced_by_sibling()?;
    wait_for_all()
}

fn check_ignored(seen: &Observed) -> Res<()> {
    check_traced(seen)?;
    let (parent, child, sibling) = (seen.task("parent")?, seen.task("child")?, seen.task("tracer")?);
    let reaps = seen.reaps(child);
    truth("no reap by the parent", reaps.iter().all(|reap| !parent.is(&reap.current)))?;
    truth("one reap at most", reaps.len() <= 1)?;
    let told = seen.zombies(child);
    truth("the tracer was told", told.first().is_some_and(|(_, told, _)| sibling.is(told)))?;
    truth("the sibling traced it", tracer(seen, child)?.is_some_and(|tracer| sibling.is(&tracer)))?;
    if seen.has_release_task() {
        seen.reaped_by(child, sibling)?;
        reaped_as(seen, child, Reaper::Tracer)?;
    }
    seen.not_freed_before(child, seen.death(child)?.0)
}
