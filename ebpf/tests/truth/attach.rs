//! Processes that had begun to end, or had ended, when their scope was given to them; and a tracer that starts in the
//! middle of a storm of forks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::process::Child;
use std::sync::{Arc, Barrier};

use libtest_mimic::Completion;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::{Event, EventKind, ReapSource, TaskRef};
use podproof_ebpf::{Scope, TraceOptions, Tracer};

use crate::Res;
use crate::observe::{Case, PATIENCE, equal, finish, go, start, truth};
use crate::report::{Line, say_number, say_task};
use crate::scopes::Run;
use crate::sys;
use crate::sys::timing::is_readable;

pub(crate) const DIRECT: [(&str, Run); 5] = [
    ("attach::zombie_from_before_the_scope", zombie_before),
    ("attach::scope_of_a_zombie", scope_of_zombie),
    ("attach::killed_at_the_same_time", killed_meanwhile),
    ("attach::ends_at_the_same_time", ends_meanwhile),
    ("attach::tracer_in_a_storm_of_forks", storm),
];

pub(crate) const SCENES: &[Case] = &[
    Case { name: "scene::zombie_maker", scenario: zombie_maker, check: |_| Ok(()) },
    Case { name: "scene::threads", scenario: idle_threads, check: |_| Ok(()) },
    Case { name: "scene::storm", scenario: fork_storm, check: |_| Ok(()) },
];

/// Makes a zombie, says its number, and takes it when told.
fn zombie_maker() -> Res<()> {
    let child = sys::fork(|| Ok(3))?;
    sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
    say_number("zombie", child.as_raw())?;
    std::io::stdin().read_exact(&mut [0])?;
    equal("exit code", &sys::wait(child)?, &3)
}

/// The next line of a scene, without reading further.
fn line(child: &mut Child) -> Res<Line> {
    let mut text = vec![];
    let mut byte = [0];
    let out = child.stdout.as_mut().ok_or("no standard output")?;
    while byte != *b"\n" {
        out.read_exact(&mut byte)?;
        text.extend(byte);
    }
    Ok(serde_json::from_slice(&text)?)
}

/// What a scope saw of one process.
#[derive(Debug, Default, PartialEq)]
struct Life {
    births: usize,
    /// Thread id, status and `group_dead` of each.
    ends: Vec<(u32, u32, bool)>,
    zombies: usize,
    reaps: Vec<Reaped>,
    frees: usize,
}

/// Who was reaped by whom, and how long it had been a zombie.
#[derive(Debug, PartialEq)]
struct Reaped {
    task: TaskRef,
    by: ReapSource,
    reaper: u32,
    zombie_ns: Option<u64>,
}

fn life(scope: &Scope, tgid: u32) -> Life {
    let mut life = Life::default();
    for event in scope.events() {
        match event.kind {
            EventKind::NewTask { child, .. } if child.task.tid == tgid => life.births += 1,
            EventKind::Exit { task, status, group_dead, .. } if task.task.tgid == tgid => {
                life.ends.push((task.task.tid, status, group_dead));
            }
            EventKind::ZombieStart { task, .. } if task.tgid == tgid => life.zombies += 1,
            EventKind::Reap { task, by, zombie_ns, .. } if task.tgid == tgid => {
                life.reaps.push(Reaped { task, by, reaper: event.current.tgid, zombie_ns });
            }
            EventKind::Free { task } if task.tgid == tgid => life.frees += 1,
            _ => {}
        }
    }
    life
}

/// The zombie's parent joins the scope: of the zombie, only its reap is seen, by its number.
fn zombie_before(tracer: &Tracer) -> Res<Completion> {
    let mut maker = start("scene::zombie_maker")?;
    go(&mut maker)?;
    let Line::Number(_, zombie) = line(&mut maker)? else { return Err("not the zombie's number".into()) };
    let zombie = u32::try_from(zombie)?;
    let scope = tracer.open_scope()?;
    scope.add_thread_group(maker.id())?;
    let launcher = maker.id();
    go(&mut maker)?;
    finish(maker)?;
    scope.fence(PATIENCE)?;
    let seen = life(&scope, zombie);
    let [reap] = seen.reaps.as_slice() else { return Err(format!("not one reap: {seen:?}").into()) };
    equal("thread group and reaper", &(reap.task.tgid, reap.reaper), &(zombie, launcher))?;
    equal(
        "its start is known from its release only",
        &(reap.task.start_ns == 0),
        &(reap.by == ReapSource::Wait),
    )?;
    equal("its start as a zombie is not known", &reap.zombie_ns, &None)?;
    equal("nothing else", &(seen.births, seen.ends.len(), seen.zombies), &(0, 0, 0))?;
    equal("lost", &scope.lost(), &0)?;
    Ok(Completion::Completed)
}

/// The zombie itself is the scope.
fn scope_of_zombie(tracer: &Tracer) -> Res<Completion> {
    let mut maker = start("scene::zombie_maker")?;
    go(&mut maker)?;
    let Line::Number(_, zombie) = line(&mut maker)? else { return Err("not the zombie's number".into()) };
    let zombie = u32::try_from(zombie)?;
    let scope = tracer.open_scope()?;
    scope.add_thread_group(zombie)?;
    let launcher = maker.id();
    go(&mut maker)?;
    finish(maker)?;
    scope.fence(PATIENCE)?;
    let seen = life(&scope, zombie);
    let [reap] = seen.reaps.as_slice() else { return Err(format!("not one reap: {seen:?}").into()) };
    equal("thread group and reaper", &(reap.task.tgid, reap.reaper), &(zombie, launcher))?;
    equal("nothing else", &(seen.births, seen.ends.len(), seen.zombies), &(0, 0, 0))?;
    let of_launcher = life(&scope, launcher);
    equal("the maker is not in it", &of_launcher, &Life::default())?;
    equal("lost", &scope.lost(), &0)?;
    Ok(Completion::Completed)
}

const THREADS: usize = 6;

/// A process of several threads, so that its end takes a while.
fn idle_threads() -> Res<()> {
    let all = Arc::new(Barrier::new(THREADS + 1));
    for _ in 0..THREADS {
        let all = Arc::clone(&all);
        std::thread::spawn(move || {
            all.wait();
            loop {
                nix::unistd::pause();
            }
        });
    }
    all.wait();
    say_task("leader")?;
    // It is killed, or ends when nobody can tell it anything.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

const ROUNDS: usize = 30;

/// Ends a process by `end` at the very time at which it is given to a scope.
fn rounds(tracer: &Tracer, end: fn(&mut Child) -> Res<()>, said_status: u32) -> Res<Completion> {
    for round in 0..ROUNDS {
        let scope = tracer.open_scope()?;
        let mut child = start("scene::threads")?;
        go(&mut child)?;
        line(&mut child)?;
        let tgid = child.id();
        let both = Barrier::new(2);
        std::thread::scope(|threads| -> Res<()> {
            let ending = threads.spawn(|| {
                both.wait();
                end(&mut child).map_err(|error| error.to_string())
            });
            both.wait();
            // Later rounds give the end a lead.
            for _ in 0..round * 200 {
                std::hint::spin_loop();
            }
            let added = scope.add_thread_group(tgid);
            ending.join().map_err(|_panic| "the ending thread panicked")??;
            Ok(added?)
        })?;
        child.wait()?;
        scope.fence(PATIENCE)?;
        let seen = life(&scope, tgid);
        let what = |what: &str| format!("{what} of {tgid} in round {round}: {seen:?}");
        // It is a zombie at least until it is waited for, so its tag came before its reap.
        truth(&what("one reap"), seen.reaps.len() == 1 && seen.reaps[0].reaper == std::process::id())?;
        truth(&what("no birth"), seen.births == 0)?;
        truth(
            &what("all ends with its status"),
            seen.ends.iter().all(|(_, status, _)| *status == said_status),
        )?;
        let dead = seen.ends.iter().filter(|(.., dead)| *dead).count();
        let ended: BTreeSet<u32> = seen.ends.iter().map(|(tid, ..)| *tid).collect();
        truth(
            &what("one end of each thread at most"),
            ended.len() == seen.ends.len() && ended.len() <= THREADS + 1,
        )?;
        truth(&what("one end of the process at most"), dead <= 1)?;
        truth(&what("one zombie at most"), seen.zombies <= 1)?;
        truth(&what("an end of the process is followed by its zombie"), dead <= seen.zombies)?;
        truth(&what("one free at most"), seen.frees <= 1)?;
        equal("lost", &scope.lost(), &0)?;
    }
    Ok(Completion::Completed)
}

fn killed_meanwhile(tracer: &Tracer) -> Res<Completion> {
    let kill_it = |child: &mut Child| -> Res<()> {
        Ok(kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL)?)
    };
    rounds(tracer, kill_it, 9)
}

fn ends_meanwhile(tracer: &Tracer) -> Res<Completion> {
    rounds(
        tracer,
        |child| {
            drop(child.stdin.take());
            Ok(())
        },
        0,
    )
}

/// Forks until its standard input is closed, two children at a time.
fn fork_storm() -> Res<()> {
    say_task("storm")?;
    let mut n = 0;
    while !is_readable(std::io::stdin())? {
        let pair = [sys::fork(|| Ok(1))?, sys::fork(|| Ok(2))?];
        for (child, code) in pair.into_iter().zip([1, 2]) {
            equal("exit code", &sys::wait(child)?, &code)?;
        }
        n += 2;
    }
    say_number("children", n)
}

/// Children that the storm must have had in the scope before it ends.
const ENOUGH: usize = 200;

fn storm(_tracer: &Tracer) -> Res<Completion> {
    let mut child = start("scene::storm")?;
    let launcher = child.id();
    go(&mut child)?;
    line(&mut child)?;
    let tracer = Tracer::start(&TraceOptions::default())?;
    let scope = tracer.open_scope()?;
    scope.add_thread_group(launcher)?;
    let mut reaps = 0;
    let enough = scope.wait_for(PATIENCE, |event| {
        reaps += usize::from(matches!(event.kind, EventKind::Reap { .. }));
        reaps >= ENOUGH
    });
    truth(&format!("{reaps} children were reaped"), enough.is_some())?;
    drop(child.stdin.take());
    finish(child)?;
    scope.fence(PATIENCE)?;
    equal("lost", &scope.lost(), &0)?;
    check_storm(&scope.events(), launcher)?;
    Ok(Completion::Completed)
}

/// Whose birth was seen was seen to end, as a zombie, and to be reaped, once each; and nobody else but the storm itself and
/// the two children that it may have had when the scope began.
fn check_storm(events: &[Event], launcher: u32) -> Res<()> {
    let mut births = BTreeSet::new();
    let mut counts: BTreeMap<TaskRef, [usize; 3]> = BTreeMap::new();
    let mut count = |task: TaskRef, what: usize| counts.entry(task).or_default()[what] += 1;
    for event in events {
        match event.kind {
            EventKind::NewTask { ref child, .. } => {
                truth(&format!("{:?} is born once", child.task), births.insert(child.task))?;
            }
            EventKind::Exit { ref task, group_dead, .. } if task.task.tgid != launcher => {
                truth("a process of one thread", group_dead)?;
                count(task.task, 0);
            }
            EventKind::ZombieStart { task, .. } if task.tgid != launcher => count(task, 1),
            EventKind::Reap { task, .. } if task.tgid != launcher => count(task, 2),
            _ => {}
        }
    }
    // Nobody tagged these, so only what their tagged parent did and was told is seen; and a wait does not tell their start.
    let mut strangers: BTreeMap<u32, [usize; 3]> = BTreeMap::new();
    for (task, [ends, zombies, reaps]) in counts.extract_if(.., |task, _| !births.contains(task)) {
        let sum = strangers.entry(task.tgid).or_default();
        *sum = [sum[0] + ends, sum[1] + zombies, sum[2] + reaps];
    }
    truth(&format!("{strangers:?} are from before the scope"), strangers.len() <= 2)?;
    for (tgid, [ends, zombies, reaps]) in strangers {
        equal(&format!("ends and reaps of {tgid}"), &(ends, reaps), &(0, 1))?;
        truth(&format!("{tgid} became a zombie once at most"), zombies <= 1)?;
    }
    equal("tasks", &counts.len(), &births.len())?;
    for (task, seen) in counts {
        equal(&format!("ends, zombies and reaps of {task:?}"), &seen, &[1, 1, 1])?;
    }
    Ok(())
}
