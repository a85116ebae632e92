//! Pid namespaces in one another, and numbers that come back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::Pid;
use podproof_ebpf::event::{Event, EventKind, TaskRef};

use crate::Res;
use crate::observe::{Case, Observed, equal, in_order, same_task, truth};
use crate::report::{TaskTruth, namespaces, say_number, say_skip, say_task, say_text};
use crate::sys;
use crate::sys::timing::{boottime_ns, wait_for_timer};
use crate::waits::wait_for_end;

pub(crate) const CASES: &[Case] = &[
    Case { name: "pidns::four_deep", scenario: four_deep, check: check_four_deep },
    Case { name: "pidns::joined_from_outside", scenario: joined, check: check_joined },
    Case { name: "reuse::in_a_new_pid_namespace", scenario: reuse_inside, check: check_reuse },
    Case { name: "reuse::in_the_initial_pid_namespace", scenario: reuse_outside, check: check_reuse },
    Case { name: "reuse::at_once", scenario: reuse_at_once, check: check_reuse_at_once },
    Case { name: "reuse::zombies_at_once", scenario: reuse_at_once, check: check_ages_at_once },
    Case { name: "reuse::zombies_of_all_lives", scenario: reuse_outside, check: check_reuse_ages },
];

const CLONE_NEWPID: u64 = 0x2000_0000;
const LEVELS: usize = 4;

/// "init 1" to "init 4", each PID 1 of a namespace in the one before; each with a child of its own, which it waits for.
fn nest(level: usize) -> Res<()> {
    let init = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
        say_task(&format!("init {level}"))?;
        if level < LEVELS {
            nest(level + 1)?;
        }
        let code = i32::try_from(level)?;
        let child = sys::fork(|| say_task(&format!("child {level}")).map(|_| code))?;
        equal("exit code", &sys::wait(child)?, &code)?;
        Ok(10 + code)
    })?;
    equal("exit code", &sys::wait(init)?, &(10 + i32::try_from(level)?))
}

fn four_deep() -> Res<()> {
    say_task("init 0")?;
    nest(1)
}

fn check_four_deep(seen: &Observed) -> Res<()> {
    for level in 1..=LEVELS {
        let (outer, init) =
            (seen.task(&format!("init {}", level - 1))?, seen.task(&format!("init {level}"))?);
        let child = seen.task(&format!("child {level}"))?;
        for (task, parent, code) in [(init, outer, 10 + level), (child, init, level)] {
            equal("levels", &task.ns_pids.len(), &(level + 1))?;
            equal("outermost number", &task.ns_pids[0], &task.tid)?;
            let (born, view, ..) = seen.birth(task)?;
            same_task(view, task, parent)?;
            let (died, view, status) = seen.death(task)?;
            same_task(view, task, parent)?;
            equal("wait status", &status, &(u32::try_from(code)? << 8))?;
            let [(zombie, told, 1)] = seen.zombies(task)[..] else { return Err("not one zombie".into()) };
            truth("the parent was told", parent.is(&told))?;
            in_order(&[born, died, zombie, seen.reaped_by(task, parent)?])?;
        }
        equal("it is PID 1", &init.ns_pids.last(), &Some(&1))?;
        truth("another namespace at each level", init.ns.pid != outer.ns.pid)?;
        equal("that of its child", &child.ns.pid, &init.ns.pid)?;
        let told = seen.all(|event| match &event.kind {
            EventKind::SignalGenerate { signal: 17, target, target_ns_pids, .. }
                if outer.is(target) && init.is(&event.current) =>
            {
                Some(target_ns_pids)
            }
            _ => None,
        });
        equal("numbers of whom the end was told", &told, &vec![&outer.ns_pids])?;
    }
    Ok(())
}

/// Three levels; the scenario, outside of all of them, puts a child into the second.
fn joined() -> Res<()> {
    say_task("outer")?;
    let (release, hold) = std::io::pipe()?;
    let (mut ready, tell) = std::io::pipe()?;
    let first = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
        nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(&hold))?;
        say_task("first")?;
        let second = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
            let me = say_task("second")?;
            let third = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
                say_task("third")?;
                (&tell).write_all(&me.tid.to_ne_bytes())?;
                wait_for_end(release.try_clone()?)?;
                Ok(0)
            })?;
            equal("exit code", &sys::wait(third)?, &0)?;
            Ok(0)
        })?;
        equal("exit code", &sys::wait(second)?, &0)?;
        Ok(0)
    })?;
    let mut second = [0; 4];
    ready.read_exact(&mut second)?;
    let second = u32::from_ne_bytes(second);
    let file = File::open(format!("/proc/{second}/ns/pid"))?;
    setns(file.as_fd(), CloneFlags::CLONE_NEWPID)?;
    say_number("for children", namespaces()?.pid_for_children.ok_or("no pid namespace for children")?)?;
    let child = sys::fork(|| {
        nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(&hold))?;
        say_task("child")?;
        let grandchild = sys::fork(|| say_task("grandchild").map(|_| 2))?;
        equal("exit code", &sys::wait(grandchild)?, &2)?;
        Ok(3)
    })?;
    equal("exit code of the child", &sys::wait(child)?, &3)?;
    drop(hold);
    equal("exit code", &sys::wait(first)?, &0)
}

fn check_joined(seen: &Observed) -> Res<()> {
    let (outer, second, third) = (seen.task("outer")?, seen.task("second")?, seen.task("third")?);
    let (child, grandchild) = (seen.task("child")?, seen.task("grandchild")?);
    equal("levels of the third", &third.ns_pids.len(), &4)?;
    equal("namespace of the child", &child.ns.pid, &second.ns.pid)?;
    equal("namespace for children", &i64::from(child.ns.pid.unwrap_or(0)), &seen.number("for children")?)?;
    equal("levels of the child", &child.ns_pids.len(), &3)?;
    same_task(seen.birth(child)?.1, child, outer)?;
    same_task(seen.birth(grandchild)?.1, grandchild, child)?;
    truth("the parent is in the initial namespace", outer.ns.pid != child.ns.pid)?;
    seen.reaped_by(grandchild, child)?;
    seen.reaped_by(child, outer)?;
    seen.reaped_by(third, second).map(drop)
}

/// Lives of one number.
const ROUNDS: i32 = 4;
/// More than two ticks of /proc, so that the start times differ there too.
const APART: Duration = Duration::from_millis(50);

/// One life after the other, of the number that the kernel chose for the first: the outer one alone, or with the one in the
/// caller's own namespace.
fn live_again(inner: bool) -> Res<()> {
    say_task("parent")?;
    let mut tids: Vec<i32> = vec![];
    for round in 0..ROUNDS {
        let before_fork = boottime_ns()?;
        let (mut said, mut tell) = std::io::pipe()?;
        let life = || {
            let me = say_task(&format!("life {round}"))?;
            tell.write_all(&me.tid.to_ne_bytes())?;
            Ok(round)
        };
        let child = match sys::clone3_with_tids(0, &tids, life) {
            Err(Errno::EEXIST) => return say_skip("another process took the number in between"),
            made => made?,
        };
        let mut outer = [0; 4];
        said.read_exact(&mut outer)?;
        let outer = i32::from_ne_bytes(outer);
        if round == 0 {
            // Innermost first.
            tids = if inner { vec![child.as_raw(), outer] } else { vec![outer] };
        }
        sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
        let seen_dead = boottime_ns()?;
        wait_for_timer(APART)?;
        let before_reap = boottime_ns()?;
        equal("exit code", &sys::wait(child)?, &round)?;
        let times = [before_fork, seen_dead, before_reap, boottime_ns()?];
        say_text(&format!("times {round}"), &serde_json::to_string(&times)?)?;
    }
    Ok(())
}

fn reuse_outside() -> Res<()> {
    live_again(false)
}

fn reuse_inside() -> Res<()> {
    let init = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || live_again(true).map(|()| 0))?;
    equal("exit code", &sys::wait(init)?, &0)
}

fn check_reuse(seen: &Observed) -> Res<()> {
    let parent = seen.task("parent")?;
    let lives: Vec<&TaskTruth> =
        (0..ROUNDS).map(|round| seen.task(&format!("life {round}"))).collect::<Res<_>>()?;
    let mut last: Option<&Event> = None;
    for (round, life) in lives.iter().enumerate() {
        equal("number", &(life.tid, &life.ns_pids), &(lives[0].tid, &lives[0].ns_pids))?;
        let (born, view, ..) = seen.birth(life)?;
        same_task(view, life, parent)?;
        let (died, view, status) = seen.death(life)?;
        same_task(view, life, parent)?;
        equal("wait status", &status, &(u32::try_from(round)? << 8))?;
        let [(zombie, told, 1)] = seen.zombies(life)[..] else { return Err("not one zombie".into()) };
        truth("the parent was told", parent.is(&told))?;
        let reap = seen.reaped_by(life, parent)?;
        in_order(&[born, died, zombie, reap])?;
        if let Some(last) = last {
            in_order(&[last, born])?;
        }
        seen.not_freed_before(life, reap)?;
        last = Some(reap);
    }
    Ok(())
}

fn check_reuse_ages(seen: &Observed) -> Res<()> {
    for round in 0..ROUNDS {
        let life = seen.task(&format!("life {round}"))?;
        let [before_fork, seen_dead, before_reap, after_reap]: [u64; 4] =
            serde_json::from_str(seen.text(&format!("times {round}"))?)?;
        let stayed = seen.one("reap", |event| match event.kind {
            EventKind::Reap { task, zombie_ns, .. } if life.is(&task) => Some(zombie_ns),
            _ => None,
        })?;
        let stayed = stayed.ok_or("the reap does not tell how long the zombie stayed")?;
        let (least, most) = (before_reap - seen_dead, after_reap - before_fork);
        truth(&format!("{least} <= {stayed} <= {most}"), (least..=most).contains(&stayed))?;
    }
    Ok(())
}

const AT_ONCE: u32 = 30;

/// The next life begins when the one before is reaped, long before the kernel has freed it.
fn reuse_at_once() -> Res<()> {
    say_task("parent")?;
    let mut tids: Vec<i32> = vec![];
    for round in 0..AT_ONCE {
        let code = round.cast_signed();
        let child = match sys::clone3_with_tids(0, &tids, || Ok(code)) {
            Err(Errno::EEXIST) => return say_skip("another process took the number in between"),
            made => made?,
        };
        tids = vec![child.as_raw()];
        equal("exit code", &sys::wait(child)?, &code)?;
        if round == 0 {
            say_number("number", child.as_raw())?;
        }
    }
    let gone = nix::sys::wait::waitpid(Pid::from_raw(-1), None).err();
    equal("no child is left", &gone, &Some(Errno::ECHILD))
}

fn check_reuse_at_once(seen: &Observed) -> Res<()> {
    let number = u32::try_from(seen.number("number")?)?;
    let own = |task: &TaskRef| task.tgid == number;
    let births = seen.all(|event| match &event.kind {
        EventKind::NewTask { child, .. } if own(&child.task) => Some(child.task),
        _ => None,
    });
    equal("births", &births.len(), &(AT_ONCE as usize))?;
    truth(
        "each starts after the one before",
        births.windows(2).all(|two| two[0].start_ns < two[1].start_ns),
    )?;
    let ends = seen.all(|event| match &event.kind {
        EventKind::Exit { task, status, group_dead: true, .. } if own(&task.task) => {
            Some((task.task, *status))
        }
        _ => None,
    });
    equal("ends", &ends, &births.iter().copied().zip((0..AT_ONCE).map(|code| code << 8)).collect())?;
    let zombies = seen.all(|event| match &event.kind {
        EventKind::ZombieStart { task, .. } if own(task) => Some(*task),
        _ => None,
    });
    equal("zombies", &zombies, &births)?;
    let reaps = seen.all(|event| match &event.kind {
        EventKind::Reap { task, .. } if own(task) => Some(*task),
        _ => None,
    });
    equal("reaps", &reaps, &births)?;
    // What was freed is a life that had been reaped by then.
    for (at, event) in seen.events.iter().enumerate() {
        if let EventKind::Free { task } = &event.kind
            && own(task)
        {
            let reaped =
                |event: &Event| matches!(&event.kind, EventKind::Reap { task: gone, .. } if gone == task);
            truth("freed after its reap", seen.events[..at].iter().any(reaped))?;
        }
    }
    Ok(())
}

/// The age of each zombie counts from its own start.
fn check_ages_at_once(seen: &Observed) -> Res<()> {
    let number = u32::try_from(seen.number("number")?)?;
    let mut starts = BTreeMap::new();
    let mut reaps = 0;
    for event in &seen.events {
        match event.kind {
            EventKind::ZombieStart { task, .. } if task.tgid == number => {
                starts.insert(task, event.time_ns);
            }
            EventKind::Reap { task, zombie_ns, .. } if task.tgid == number => {
                let start = starts.get(&task).ok_or("a reap before the start of the zombie")?;
                equal("age of the zombie", &zombie_ns, &Some(event.time_ns - start))?;
                reaps += 1;
            }
            _ => {}
        }
    }
    equal("reaps", &reaps, &AT_ONCE)
}
