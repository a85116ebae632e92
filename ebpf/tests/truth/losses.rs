//! What is lost, and by whom; and the fence.

use std::time::Duration;

use libtest_mimic::Completion;
use nix::mount::{MsFlags, mount};
use podproof_ebpf::event::{Event, EventKind};
use podproof_ebpf::{TraceError, TraceOptions, Tracer};

use crate::Res;
use crate::observe::{Case, PATIENCE, equal, finish, go, start, truth};
use crate::report::say_task;
use crate::scopes::{Echo, Run, SIGWINCH, births, said_tasks, signals};
use crate::sys;

pub(crate) const DIRECT: [(&str, Run); 4] = [
    ("loss::too_deep_for_a_record", too_deep),
    ("loss::only_the_flooding_scope_loses", loss),
    ("fence::everything_before_it_is_there", fence),
    ("fence::ends_with_the_tracer", fence_without_tracer),
];

pub(crate) const SCENES: &[Case] = &[
    Case { name: "scene::nest", scenario: || nest(1), check: |_| Ok(()) },
    Case { name: "scene::flood", scenario: flood, check: |_| Ok(()) },
];

/// Levels that a record can describe, the initial namespace included.
const LEVELS: usize = 8;

/// PID 1 in PID 1 in PID 1.
fn nest(level: usize) -> Res<()> {
    let child = sys::clone3(0x2000_0000, libc::SIGCHLD, None, || {
        say_task("nested")?;
        if level < LEVELS {
            nest(level + 1)?;
        }
        Ok(0)
    })?;
    equal("exit code", &sys::wait(child)?, &0)
}

fn too_deep(tracer: &Tracer) -> Res<Completion> {
    let scope = tracer.open_scope()?;
    let mut child = start("scene::nest")?;
    scope.add_thread_group(child.id())?;
    go(&mut child)?;
    let lines = finish(child)?;
    scope.fence(PATIENCE)?;
    let said = said_tasks(&lines);
    equal("levels", &said.len(), &LEVELS)?;
    let (too_deep, fitting) = said.split_last().ok_or("nobody")?;
    equal("numbers of the last", &too_deep.ns_pids.len(), &(LEVELS + 1))?;
    let events = scope.events();
    equal("births", &births(&events), &fitting.iter().map(|task| task.tid).collect())?;
    for task in fitting {
        let same = |event: &Event| {
            matches!(&event.kind, EventKind::NewTask { child, .. }
                if task.is(&child.task) && child.ns_pids == task.ns_pids && child.ns == task.ns)
        };
        truth(&format!("{task:?} was seen as it is"), events.iter().any(same))?;
    }
    // Its birth and its end at least.
    truth(&format!("{} records are lost", scope.lost()), scope.lost() >= 2)?;
    Ok(Completion::Completed)
}

/// Calls of the flood, each of which is one record.
const FLOOD: u64 = 5000;

fn flood() -> Res<()> {
    for _ in 0..FLOOD {
        let refused = mount(None::<&str>, "/nowhere/at/all", None::<&str>, MsFlags::empty(), None::<&str>);
        truth("nothing can be mounted nowhere", refused.is_err())?;
    }
    Ok(())
}

/// With a ring of one page: the flood must lose, and what it lost and what was seen must add up; a scope that is active
/// afterwards must lose nothing.
fn loss(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&TraceOptions { ring_bytes: 4096, ..TraceOptions::default() })?;
    let (flooding, calm) = (tracer.open_scope()?, tracer.open_scope()?);
    let mut child = start("scene::flood")?;
    flooding.add_thread_group(child.id())?;
    go(&mut child)?;
    finish(child)?;
    flooding.fence(PATIENCE)?;

    let mut child = start("scene::killer")?;
    let launcher = child.id();
    calm.add_thread_group(launcher)?;
    drop(child.stdin.take());
    child.wait()?;
    calm.fence(PATIENCE)?;
    let is_end =
        |event: &Event| matches!(&event.kind, EventKind::Exit { task, .. } if task.task.tgid == launcher);
    truth("the calm scope saw an end", calm.events().iter().any(is_end))?;
    equal("lost by the calm scope", &calm.lost(), &0)?;

    let seen = flooding.events().iter().filter(|event| matches!(event.kind, EventKind::Mount { .. })).count();
    let (seen, lost) = (seen as u64, flooding.lost());
    truth(&format!("{lost} of {FLOOD} were lost"), lost > 2)?;
    // The end of the scene is a handful of records more, which may be lost too.
    truth(
        &format!("seen {seen} and lost {lost} add up to {FLOOD} and a few"),
        (FLOOD..FLOOD + 10).contains(&(seen + lost)),
    )?;
    equal("lost by all", &tracer.events_lost(), &lost)?;
    drop(flooding);
    equal("lost by all, after closing", &tracer.events_lost(), &lost)?;
    Ok(Completion::Completed)
}

fn fence(tracer: &Tracer) -> Res<Completion> {
    let scope = tracer.open_scope()?;
    let mut echo = Echo::start()?;
    scope.add_thread_group(echo.tgid())?;
    for round in 1..=100 {
        echo.round()?;
        scope.fence(PATIENCE)?;
        equal("signals", &signals(&scope.events(), SIGWINCH).len(), &round)?;
    }
    echo.end()?;
    equal("lost", &scope.lost(), &0)?;
    let nothing = scope.wait_for(Duration::from_millis(5), |_| false);
    truth("waiting for nothing ends", nothing.is_none())?;
    Ok(Completion::Completed)
}

fn fence_without_tracer(_tracer: &Tracer) -> Res<Completion> {
    let tracer =
        Tracer::start(&TraceOptions { syscalls: false, ring_bytes: 1 << 16, ..TraceOptions::default() })?;
    truth("without system calls, no probe of tier 2", tracer.probes().iter().all(|probe| probe.tier != 2))?;
    let scope = tracer.open_scope()?;
    drop(tracer);
    let refused = scope.fence(PATIENCE);
    truth(&format!("{refused:?} is Stopped"), matches!(refused, Err(TraceError::Stopped { .. })))?;
    truth("no event will come", scope.wait_for(PATIENCE, |_| true).is_none())?;
    Ok(Completion::Completed)
}
