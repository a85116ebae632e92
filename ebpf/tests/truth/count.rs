//! Many of each: every birth, exec, end and reap exactly once, matched one to one with what the scenario knows.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};

use nix::unistd::Pid;
use podproof_ebpf::event::{EventKind, TaskRef};

use crate::Res;
use crate::observe::{Case, Observed, equal, truth};
use crate::report::{say_number, say_task, say_text};
use crate::sys;
use crate::sys::program::{end_process, end_thread, send, set_default, vfork_and_exit, wait_to_be_killed};
use crate::sys::waiting::wait_status;

pub(crate) const CASES: &[Case] = &[
    Case { name: "count::forks", scenario: forks, check: |seen| check_lives(seen, FORK_FLAGS) },
    Case { name: "count::vforks", scenario: vforks, check: |seen| check_lives(seen, CLONE_VM | CLONE_VFORK) },
    Case { name: "count::threads", scenario: threads, check: check_threads },
    Case { name: "count::execs", scenario: execs, check: check_execs },
    Case { name: "count::exit_codes", scenario: exit_codes, check: |seen| check_lives(seen, FORK_FLAGS) },
    Case {
        name: "count::fatal_signals",
        scenario: fatal_signals,
        check: |seen| check_lives(seen, FORK_FLAGS),
    },
    Case { name: "count::ends_of_a_process", scenario: ends_together, check: check_ends_together },
    Case { name: "count::ends_of_threads", scenario: threads_end_together, check: check_ends_together },
];

const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_THREAD: u64 = 0x1_0000;
/// What the C library's fork passes: CLONE_CHILD_CLEARTID and CLONE_CHILD_SETTID.
const FORK_FLAGS: u64 = 0x0120_0000;

const FORKS: u8 = 50;
const VFORKS: u8 = 20;
const THREADS: usize = 20;

/// Reaps a child and says its number and its wait status.
fn take(child: Pid) -> Res<u32> {
    let status = wait_status(child)?;
    say_text("life", &serde_json::to_string(&(child.as_raw(), status))?)?;
    Ok(status)
}

/// All are alive or zombies at once.
fn forks() -> Res<()> {
    say_task("parent")?;
    let children: Vec<Pid> = (0..FORKS).map(|n| sys::fork(|| Ok(i32::from(n % 10)))).collect::<Res<_>>()?;
    for (n, child) in children.into_iter().enumerate() {
        equal("wait status", &take(child)?, &(u32::try_from(n % 10)? << 8))?;
    }
    say_number("lives", FORKS)
}

fn vforks() -> Res<()> {
    say_task("parent")?;
    for code in 0..VFORKS {
        equal("wait status", &take(vfork_and_exit(code)?)?, &(u32::from(code) << 8))?;
    }
    say_number("lives", VFORKS)
}

fn exit_codes() -> Res<()> {
    say_task("parent")?;
    for code in 0..=255 {
        equal("wait status", &take(sys::fork(|| Ok(code))?)?, &(code.cast_unsigned() << 8))?;
    }
    say_number("lives", 256)
}

/// Signals that end a process by default; those from 34 on are realtime ones.
const FATAL: [i32; 13] = [1, 2, 3, 4, 6, 8, 9, 10, 11, 13, 15, 34, 64];

fn fatal_signals() -> Res<()> {
    say_task("parent")?;
    for signal in FATAL {
        let (ready, tell) = std::io::pipe()?;
        let child = sys::fork(move || {
            // No core: some of them would leave one.
            sys::prctl(libc::PR_SET_DUMPABLE, [0, 0])?;
            if signal != libc::SIGKILL {
                set_default(signal)?;
            }
            drop(tell);
            wait_to_be_killed()
        })?;
        crate::waits::wait_for_end(ready)?;
        send(child, signal)?;
        equal("wait status", &take(child)?, &signal.cast_unsigned())?;
    }
    say_number("lives", i64::try_from(FATAL.len())?)
}

/// Children of "parent": born with these flags, one birth, end, zombie and reap each, of the same task, with the status
/// that its wait brought; and nobody else in the scope but the parent.
fn check_lives(seen: &Observed, wanted: u64) -> Res<()> {
    let parent = seen.task("parent")?;
    let said: BTreeMap<u32, u32> =
        seen.texts("life").into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?;
    equal("lives", &i64::try_from(said.len())?, &seen.number("lives")?)?;

    let born: BTreeMap<u32, TaskRef> = once(seen, "birth", |kind| match kind {
        EventKind::NewTask { child, .. } => Some((child.task.tid, child.task)),
        _ => None,
    })?;
    equal("births", &born.keys().collect::<Vec<_>>(), &said.keys().collect())?;
    for event in &seen.events {
        if let EventKind::NewTask { child, flags, exit_signal } = &event.kind {
            equal("flags and exit signal", &(*flags, *exit_signal), &(wanted, libc::SIGCHLD))?;
            truth("the parent called clone", parent.is(&event.current) && parent.is(&child.parent))?;
            equal("numbers", &child.ns_pids, &vec![child.task.tid])?;
        }
    }
    let ends = once(seen, "end", |kind| match kind {
        EventKind::Exit { task, status, group_dead: true, .. } if !parent.is(&task.task) => {
            Some((task.task.tid, (task.task, *status)))
        }
        _ => None,
    })?;
    let said_ends = born.iter().map(|(tid, task)| (*tid, (*task, said[tid]))).collect();
    equal("ends", &ends, &said_ends)?;
    let zombies = once(seen, "start of the zombie", |kind| match kind {
        EventKind::ZombieStart { task, parent: told, si_code } if !parent.is(task) => {
            Some((task.tid, (*task, parent.is(told), *si_code)))
        }
        _ => None,
    })?;
    let how = |status: u32| if status & 0x7f == 0 { 1 } else { 2 };
    let said_zombies = born.iter().map(|(tid, task)| (*tid, (*task, true, how(said[tid])))).collect();
    equal("zombies", &zombies, &said_zombies)?;
    let reaps = once(seen, "reap", |kind| match kind {
        EventKind::Reap { task, ns_pids, .. } if !parent.is(task) => {
            Some((task.tid, (*task, ns_pids.clone())))
        }
        _ => None,
    })?;
    equal("reaps", &reaps, &born.iter().map(|(tid, task)| (*tid, (*task, vec![*tid]))).collect())
}

/// Facts by number; two with one number are an error.
fn once<T>(
    seen: &Observed,
    what: &str,
    pick: impl Fn(&EventKind) -> Option<(u32, T)>,
) -> Res<BTreeMap<u32, T>> {
    let mut found = BTreeMap::new();
    for (tid, fact) in seen.events.iter().filter_map(|event| pick(&event.kind)) {
        if found.insert(tid, fact).is_some() {
            return Err(format!("more than one {what} of {tid}").into());
        }
    }
    Ok(found)
}

fn threads() -> Res<()> {
    say_task("leader")?;
    let all = Arc::new(Barrier::new(THREADS));
    let start = |_| {
        let all = Arc::clone(&all);
        std::thread::spawn(move || {
            let said = say_task("thread").map(drop).map_err(|error| error.to_string());
            all.wait();
            said
        })
    };
    let threads: Vec<_> = (0..THREADS).map(start).collect();
    for thread in threads {
        thread.join().map_err(|_panic| "a thread panicked")??;
    }
    Ok(())
}

fn check_threads(seen: &Observed) -> Res<()> {
    let (leader, threads) = (seen.task("leader")?, seen.tasks("thread"));
    equal("threads", &threads.len(), &THREADS)?;
    let tids: BTreeSet<u32> = threads.iter().map(|thread| thread.tid).collect();
    let born = once(seen, "birth", |kind| match kind {
        EventKind::NewTask { child, flags, .. } => Some((child.task.tid, *flags)),
        _ => None,
    })?;
    equal("births", &born.keys().copied().collect(), &tids)?;
    truth("all are threads", born.values().all(|flags| flags & CLONE_THREAD != 0))?;
    for thread in threads {
        let (_, view, _, exit_signal) = seen.birth(thread)?;
        equal("exit signal", &exit_signal, &0)?;
        equal("numbers", &view.ns_pids, &thread.ns_pids)?;
        equal("group", &view.task.tgid, &leader.tgid)?;
    }
    let ends = once(seen, "end", |kind| match kind {
        EventKind::Exit { task, group_dead, .. } => Some((task.task.tid, *group_dead)),
        _ => None,
    })?;
    let with_leader = tids.iter().copied().chain([leader.tid]).collect();
    equal("ends", &ends.keys().copied().collect::<BTreeSet<_>>(), &with_leader)?;
    equal("ends of the process", &ends.values().filter(|dead| **dead).count(), &1)?;
    let gone = seen.all(|event| match event.kind {
        EventKind::Reap { task, .. } => Some(task.tid),
        _ => None,
    });
    equal("only the process is reaped", &gone, &vec![leader.tid])
}

const EXECS: usize = 20;

/// Half of them from a thread that is not the leader.
fn execs() -> Res<()> {
    say_task("parent")?;
    let exe = std::env::current_exe()?;
    let run = move || -> Res<i32> {
        say_task("caller")?;
        Err(Command::new(&exe).args(["scenario", "noop"]).stdin(Stdio::null()).exec().into())
    };
    for n in 0..EXECS {
        let run = run.clone();
        let child = sys::fork(move || {
            if n % 2 == 0 {
                return run();
            }
            let thread = std::thread::spawn(move || run().map_err(|error| error.to_string()));
            Ok(thread.join().map_err(|_panic| "the thread panicked")??)
        })?;
        equal("exit code", &sys::wait(child)?, &0)?;
    }
    Ok(())
}

fn check_execs(seen: &Observed) -> Res<()> {
    let (callers, programs) = (seen.tasks("caller"), seen.tasks("noop"));
    equal("callers and programs", &(callers.len(), programs.len()), &(EXECS, EXECS))?;
    let execs = once(seen, "exec", |kind| match kind {
        EventKind::Exec { task, old_tid, .. } => Some((task.task.tid, (*old_tid, task.task))),
        _ => None,
    })?;
    equal("execs", &execs.len(), &EXECS)?;
    let mut by_thread = 0;
    for (caller, program) in callers.into_iter().zip(programs) {
        equal("the program has the number of the process", &program.tid, &caller.tgid)?;
        let (old_tid, task) = execs.get(&program.tid).ok_or("an exec is missing")?;
        equal("thread id before", old_tid, &caller.tid)?;
        truth("the task is the program", program.is(task))?;
        by_thread += usize::from(caller.tid != caller.tgid);
        // The leader's own end, when another thread took its place, is not that of the process.
        let ends = seen.all(|event| match &event.kind {
            EventKind::Exit { task, group_dead, .. } if task.task.tgid == program.tgid => Some(*group_dead),
            _ => None,
        });
        let said = if caller.tid == caller.tgid { vec![true] } else { vec![false, true] };
        equal("ends", &ends, &said)?;
        equal("reaps", &seen.reaps(program).len(), &1)?;
    }
    equal("execs from a thread", &by_thread, &(EXECS / 2))
}

const ROUNDS: usize = 30;
const TOGETHER: usize = 8;

/// A process whose threads all wait for each other, and then do this.
fn all_at_once(then: fn() -> i32) -> Res<Pid> {
    sys::fork(move || {
        let all = Arc::new(Barrier::new(TOGETHER + 1));
        for _ in 0..TOGETHER {
            let all = Arc::clone(&all);
            std::thread::spawn(move || {
                all.wait();
                then()
            });
        }
        all.wait();
        Ok(then())
    })
}

fn rounds(then: fn() -> i32) -> Res<()> {
    say_task("parent")?;
    for _ in 0..ROUNDS {
        equal("wait status", &take(all_at_once(then)?)?, &(6 << 8))?;
    }
    Ok(())
}

/// All threads call exit_group(2); the first one kills the others.
fn ends_together() -> Res<()> {
    rounds(|| end_process(6))
}

/// Every thread ends alone, the leader too.
fn threads_end_together() -> Res<()> {
    rounds(|| end_thread(6))
}

fn check_ends_together(seen: &Observed) -> Res<()> {
    let lives: Vec<(u32, u32)> =
        seen.texts("life").into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?;
    equal("processes", &lives.len(), &ROUNDS)?;
    for (tgid, status) in lives {
        let ends = seen.all(|event| match &event.kind {
            EventKind::Exit { task, group_dead, status, .. } if task.task.tgid == tgid => {
                Some((task.task.tid, *group_dead, *status))
            }
            _ => None,
        });
        let tids: BTreeSet<u32> = ends.iter().map(|(tid, ..)| *tid).collect();
        equal("threads that ended", &tids.len(), &(TOGETHER + 1))?;
        equal("ends", &ends.len(), &(TOGETHER + 1))?;
        equal("ends of the process", &ends.iter().filter(|(_, dead, _)| *dead).count(), &1)?;
        truth("all with the status of the wait", ends.iter().all(|(.., of_end)| *of_end == status))?;
        let of_process = |task: &TaskRef| task.tgid == tgid;
        let zombies = seen.all(|event| match &event.kind {
            EventKind::ZombieStart { task, .. } if of_process(task) => Some(event.seq),
            _ => None,
        });
        let reaps = seen.all(|event| match &event.kind {
            EventKind::Reap { task, .. } if of_process(task) => Some(event.seq),
            _ => None,
        });
        equal("zombies and reaps", &(zombies.len(), reaps.len()), &(1, 1))?;
    }
    Ok(())
}
