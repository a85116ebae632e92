//! Scopes: who belongs to one, and what joins two.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout};

use libtest_mimic::Completion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::{Event, EventKind};
use podproof_ebpf::{Scope, TraceError, Tracer};

use crate::Res;
use crate::cgroups::Cgroup;
use crate::observe::{Case, PATIENCE, equal, finish, go, start, start_with, truth};
use crate::report::{Line, TaskTruth, say_task};
use crate::sys;

pub(crate) type Run = fn(&Tracer) -> Res<Completion>;

/// Tests that are more than one scenario in one scope.
pub(crate) const DIRECT: [(&str, Run); 8] = [
    ("probe::all_of_tier_1_and_2_are_attached", probes),
    ("scope::two_at_once_do_not_mix", isolation),
    ("scope::a_signal_between_two_is_in_both", between),
    ("scope::signal_and_reap_from_outside", from_outside),
    ("scope::wait_from_outside", wait_from_outside),
    ("scope::by_cgroup_joined", by_cgroup_joined),
    ("scope::by_cgroup_born_into", by_cgroup_born_into),
    ("scope::closing_removes_its_tags", closing),
];

/// Scenarios of the tests above; never played alone.
pub(crate) const SCENES: &[Case] = &[
    Case { name: "scene::echo", scenario: echo, check: |_| Ok(()) },
    Case { name: "scene::killer", scenario: killer, check: |_| Ok(()) },
    Case { name: "scene::cgroup_below", scenario: cgroup_below, check: |_| Ok(()) },
    Case { name: "scene::clone_into", scenario: clone_into, check: |_| Ok(()) },
];

/// Environment variable that passes a pid or a directory to a scene.
const ARGUMENT: &str = "PODPROOF_TRUTH_ARGUMENT";

fn argument() -> Res<String> {
    Ok(std::env::var(ARGUMENT)?)
}

fn probes(tracer: &Tracer) -> Res<Completion> {
    let probes = tracer.probes();
    let missing: Vec<_> = probes.iter().filter(|probe| probe.tier < 3 && !probe.attached).collect();
    equal("probes that are not attached", &missing, &vec![])?;
    let names: BTreeSet<_> = probes.iter().map(|probe| probe.name.as_str()).collect();
    equal("probes", &names.len(), &20)?;
    Ok(Completion::Completed)
}

/// The tasks that a scenario named.
pub(crate) fn said_tasks(lines: &[Line]) -> Vec<&TaskTruth> {
    lines.iter().filter_map(|line| if let Line::Task(_, task) = line { Some(task) } else { None }).collect()
}

pub(crate) fn births(events: &[Event]) -> Vec<u32> {
    let born = |event: &Event| match &event.kind {
        EventKind::NewTask { child, .. } => Some(child.task.tid),
        _ => None,
    };
    events.iter().filter_map(born).collect()
}

fn isolation(tracer: &Tracer) -> Res<Completion> {
    let scopes = [tracer.open_scope()?, tracer.open_scope()?];
    let mut children = [start("task::fork_exit_zombie_reap")?, start("orphan::to_a_subreaper")?];
    for (scope, child) in scopes.iter().zip(&children) {
        scope.add_thread_group(child.id())?;
    }
    for child in &mut children {
        go(child)?;
    }
    for (scope, child) in scopes.iter().zip(children) {
        let launcher = child.id();
        let truth_lines = finish(child)?;
        scope.fence(PATIENCE)?;
        let said: BTreeSet<u32> = said_tasks(&truth_lines).iter().map(|task| task.tid).collect();
        let events = scope.events();
        let mut seen: BTreeSet<u32> = births(&events).into_iter().collect();
        seen.insert(launcher);
        equal("tasks", &seen, &said)?;
        let strangers: Vec<&Event> = events
            .iter()
            .filter(|event| event.scope != scope.id() || !(said.contains(&event.current.tgid)))
            // This test itself reaps the launcher; memory is freed by whoever is there.
            .filter(|event| event.current.tgid != std::process::id())
            .filter(|event| !matches!(event.kind, EventKind::Free { .. }))
            .collect();
        equal("events of strangers", &strangers, &vec![])?;
        equal("lost", &scope.lost(), &0)?;
    }
    Ok(Completion::Completed)
}

/// A scene that works in rounds: told by a byte, it signals itself (which it ignores) and answers with a line.
pub(crate) struct Echo {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Echo {
    pub(crate) fn start() -> Res<Self> {
        let mut child = start("scene::echo")?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut echo = Self { child, answers: BufReader::new(stdout) };
        // The byte that lets the scene begin.
        echo.round()?;
        Ok(echo)
    }

    pub(crate) fn round(&mut self) -> Res<()> {
        go(&mut self.child)?;
        let mut line = String::new();
        truth("the scene answers", self.answers.read_line(&mut line)? > 0)
    }

    pub(crate) fn tgid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn end(mut self) -> Res<()> {
        drop(self.child.stdin.take());
        truth("the scene succeeded", self.child.wait()?.success())
    }
}

fn echo() -> Res<()> {
    sys::handle(libc::SIGUSR1)?;
    say_task("ready")?;
    while std::io::stdin().read(&mut [0])? == 1 {
        kill(Pid::this(), Signal::SIGWINCH)?;
        say_task("round")?;
    }
    Ok(())
}

pub(crate) fn signals(events: &[Event], wanted: u32) -> Vec<Event> {
    let is_wanted =
        |event: &&Event| matches!(event.kind, EventKind::SignalGenerate { signal, .. } if signal == wanted);
    events.iter().filter(is_wanted).cloned().collect()
}

const SIGUSR1: u32 = 10;
pub(crate) const SIGWINCH: u32 = 28;

fn killer() -> Res<()> {
    say_task("killer")?;
    kill(Pid::from_raw(argument()?.parse()?), Signal::SIGUSR1)?;
    Ok(())
}

fn between(tracer: &Tracer) -> Res<Completion> {
    let (of_target, of_killer) = (tracer.open_scope()?, tracer.open_scope()?);
    let target = Echo::start()?;
    of_target.add_thread_group(target.tgid())?;
    let mut killer = start_with("scene::killer", &[(ARGUMENT, target.tgid().to_string())])?;
    of_killer.add_thread_group(killer.id())?;
    let killer_tgid = killer.id();
    go(&mut killer)?;
    finish(killer)?;
    let tgid = target.tgid();
    target.end()?;
    for scope in [&of_target, &of_killer] {
        scope.fence(PATIENCE)?;
        let seen = signals(&scope.events(), SIGUSR1);
        let [event] = seen.as_slice() else { return Err(format!("not one signal: {seen:?}").into()) };
        equal("sender", &event.current.tgid, &killer_tgid)?;
        equal("scope", &event.scope, &scope.id())?;
        truth(
            "target",
            matches!(event.kind, EventKind::SignalGenerate { target, .. } if target.tgid == tgid),
        )?;
    }
    Ok(Completion::Completed)
}

fn from_outside(tracer: &Tracer) -> Res<Completion> {
    let scope = tracer.open_scope()?;
    let target = Echo::start()?;
    let tgid = target.tgid();
    scope.add_thread_group(tgid)?;
    kill(Pid::from_raw(tgid.cast_signed()), Signal::SIGUSR1)?;
    target.end()?;
    scope.fence(PATIENCE)?;
    let seen = signals(&scope.events(), SIGUSR1);
    let [event] = seen.as_slice() else { return Err(format!("not one signal: {seen:?}").into()) };
    equal("sender", &event.current.tgid, &std::process::id())?;
    let reapers: Vec<u32> = scope
        .events()
        .iter()
        .filter(|event| matches!(&event.kind, EventKind::Reap { task, .. } if task.tgid == tgid))
        .map(|event| event.current.tgid)
        .collect();
    equal("reapers", &reapers, &vec![std::process::id()])?;
    Ok(Completion::Completed)
}

/// The call of a waiter that nobody tagged, because its child is in the scope.
fn wait_from_outside(tracer: &Tracer) -> Res<Completion> {
    let scope = tracer.open_scope()?;
    let target = Echo::start()?;
    let tgid = target.tgid();
    scope.add_thread_group(tgid)?;
    target.end()?;
    scope.fence(PATIENCE)?;
    let waits = |event: &Event| match event.kind {
        EventKind::Wait { child, status, ret, .. } => Some((event.current.tgid, child, status, ret)),
        _ => None,
    };
    let seen: Vec<_> = scope.events().iter().filter_map(waits).collect();
    equal("waits", &seen, &vec![(std::process::id(), Some(tgid), Some(0), tgid.into())])?;
    Ok(Completion::Completed)
}

/// Makes a cgroup below the own one, and a child in it.
fn cgroup_below() -> Res<()> {
    let cgroup = Cgroup::make_in(argument()?.as_ref(), "below")?;
    child_in(&cgroup.dir)
}

fn clone_into() -> Res<()> {
    child_in(argument()?.as_ref())
}

fn child_in(dir: &std::path::Path) -> Res<()> {
    let dir = std::fs::File::open(dir)?;
    let fd = std::os::fd::AsFd::as_fd(&dir);
    let child = sys::clone3(1 << 33, libc::SIGCHLD, Some(fd), || say_task("child").map(|_| 0))?;
    equal("exit code", &sys::wait(child)?, &0)
}

/// What the child of a cgroup scene must have left in the scope.
fn check_child(scope: &Scope, lines: &[Line]) -> Res<()> {
    scope.fence(PATIENCE)?;
    let events = scope.events();
    let said = said_tasks(lines);
    let child = said.first().ok_or("no child")?;
    truth("the child's birth is in the scope", births(&events).contains(&child.tid))?;
    let ended = |event: &Event| matches!(&event.kind, EventKind::Exit { task, .. } if child.is(&task.task));
    truth("and its end", events.iter().any(ended))?;
    let reaped = |event: &Event| matches!(&event.kind, EventKind::Reap { task, .. } if child.is(task));
    truth("and its reap", events.iter().any(reaped))?;
    equal("lost", &scope.lost(), &0)
}

/// A process that nobody tagged is moved into a tagged cgroup.
fn by_cgroup_joined(tracer: &Tracer) -> Res<Completion> {
    let cgroup = match Cgroup::make("scope-joined") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let scope = tracer.open_scope()?;
    scope.add_cgroup(cgroup.id)?;
    let dir = cgroup.dir.display().to_string();
    let mut child = start_with("scene::cgroup_below", &[(ARGUMENT, dir)])?;
    cgroup.add(child.id())?;
    go(&mut child)?;
    let lines = finish(child)?;
    check_child(&scope, &lines)?;
    let of_cgroups = |event: &Event| match &event.kind {
        EventKind::CgroupMkdir { path, .. } => Some(("mkdir", path.ends_with("/below"))),
        EventKind::CgroupAttach { id, .. } => Some(("attach", *id == cgroup.id)),
        EventKind::CgroupRmdir { path, .. } => Some(("rmdir", path.ends_with("/below"))),
        _ => None,
    };
    let seen: Vec<_> = scope.events().iter().filter_map(of_cgroups).collect();
    equal("cgroup events", &seen, &vec![("attach", true), ("mkdir", true), ("rmdir", true)])?;
    Ok(Completion::Completed)
}

/// A process that nobody tagged creates a child in a tagged cgroup: only the child belongs.
fn by_cgroup_born_into(tracer: &Tracer) -> Res<Completion> {
    let cgroup = match Cgroup::make("scope-born") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let scope = tracer.open_scope()?;
    scope.add_cgroup(cgroup.id)?;
    let dir = cgroup.dir.display().to_string();
    let mut child = start_with("scene::clone_into", &[(ARGUMENT, dir)])?;
    let launcher = child.id();
    go(&mut child)?;
    let lines = finish(child)?;
    check_child(&scope, &lines)?;
    let end_of_launcher =
        |event: &Event| matches!(&event.kind, EventKind::Exit { task, .. } if task.task.tgid == launcher);
    truth("the launcher's end is not in the scope", !scope.events().iter().any(end_of_launcher))?;
    Ok(Completion::Completed)
}

fn closing(tracer: &Tracer) -> Res<Completion> {
    let mut echo = Echo::start()?;
    let first = tracer.open_scope()?;
    first.add_thread_group(echo.tgid())?;
    echo.round()?;
    first.fence(PATIENCE)?;
    equal("signals in the first scope", &signals(&first.events(), SIGWINCH).len(), &1)?;
    drop(first);
    let second = tracer.open_scope()?;
    echo.round()?;
    second.fence(PATIENCE)?;
    equal("events without a tag", &second.events(), &vec![])?;
    second.add_thread_group(echo.tgid())?;
    echo.round()?;
    second.fence(PATIENCE)?;
    equal("signals in the second scope", &signals(&second.events(), SIGWINCH).len(), &1)?;
    let tgid = echo.tgid();
    echo.end()?;
    let gone = second.add_thread_group(tgid);
    truth(&format!("{gone:?} is NoProcess"), matches!(gone, Err(TraceError::NoProcess { .. })))?;
    Ok(Completion::Completed)
}
