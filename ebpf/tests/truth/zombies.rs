//! How long a zombie stays, and in which role it is taken.

use std::time::Duration;

use nix::unistd::Pid;
use podproof_ebpf::event::{Event, EventKind, Reaper};

use crate::Res;
use crate::observe::{Case, Observed, equal, truth};
use crate::report::{TaskTruth, say_task, say_text};
use crate::sys;
use crate::sys::timing::{boottime_ns, wait_for_timer};

pub(crate) const CASES: &[Case] = &[
    Case { name: "zombie::ages", scenario: ages, check: |seen| check_ages(seen, &["1", "2", "3"]) },
    Case { name: "zombie::taken_at_once", scenario: at_once, check: |seen| check_ages(seen, &["1"]) },
    Case { name: "zombie::age_goes_on_with_a_new_parent", scenario: handed_on, check: check_handed_on },
    Case { name: "zombie::age_in_a_pid_namespace", scenario: inside, check: |seen| check_ages(seen, &["1"]) },
    Case { name: "zombie::taken_by_its_parent", scenario: handed_on, check: check_roles },
];

/// What the scenario measured of one zombie: times of `CLOCK_BOOTTIME`.
#[derive(Debug, Clone, Copy)]
struct Age {
    before_fork: u64,
    /// A wait that takes nothing has shown it.
    seen_dead: u64,
    before_reap: u64,
    after_reap: u64,
}

const STEP: Duration = Duration::from_millis(150);

/// A child that ends at once, and is then a zombie.
fn make_zombie(name: &str) -> Res<(Pid, u64, u64)> {
    let before_fork = boottime_ns()?;
    let child = sys::fork(|| say_task(&format!("zombie {name}")).map(|_| 0))?;
    sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
    Ok((child, before_fork, boottime_ns()?))
}

fn take(name: &str, (child, before_fork, seen_dead): (Pid, u64, u64)) -> Res<()> {
    let before_reap = boottime_ns()?;
    equal("exit code", &sys::wait(child)?, &0)?;
    let times = [before_fork, seen_dead, before_reap, boottime_ns()?];
    say_text(&format!("age {name}"), &serde_json::to_string(&times)?)
}

/// Three, taken youngest first.
fn ages() -> Res<()> {
    say_task("parent")?;
    let mut zombies = vec![];
    for name in ["1", "2", "3"] {
        zombies.push((name, make_zombie(name)?));
        wait_for_timer(STEP)?;
    }
    for (name, zombie) in zombies.into_iter().rev() {
        take(name, zombie)?;
        wait_for_timer(STEP)?;
    }
    Ok(())
}

fn at_once() -> Res<()> {
    say_task("parent")?;
    take("1", make_zombie("1")?)
}

fn inside() -> Res<()> {
    let init = sys::clone3(0x2000_0000, libc::SIGCHLD, None, || {
        say_task("parent")?;
        let zombie = make_zombie("1")?;
        wait_for_timer(STEP)?;
        take("1", zombie)?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(init)?, &0)
}

fn age(seen: &Observed, name: &str) -> Res<Age> {
    let [before_fork, seen_dead, before_reap, after_reap] =
        serde_json::from_str(seen.text(&format!("age {name}"))?)?;
    Ok(Age { before_fork, seen_dead, before_reap, after_reap })
}

/// Compares a reap with the events of the zombie's start and with the scenario's clock.
fn check_age(zombie: &Event, reap: &Event, age: Age) -> Res<()> {
    truth(
        &format!("the zombie began at {} within {age:?}", zombie.time_ns),
        (age.before_fork..=age.seen_dead).contains(&zombie.time_ns),
    )?;
    truth(
        &format!("it was taken at {} within {age:?}", reap.time_ns),
        (age.before_reap..=age.after_reap).contains(&reap.time_ns),
    )?;
    let EventKind::Reap { zombie_ns, .. } = reap.kind else { return Err("not a reap".into()) };
    let seen = zombie_ns.ok_or("the reap does not tell how long the zombie stayed")?;
    let (least, most) = (age.before_reap - age.seen_dead, age.after_reap - age.before_fork);
    truth(&format!("{least} <= {seen} <= {most}"), (least..=most).contains(&seen))?;
    equal("from start to reap", &seen, &(reap.time_ns - zombie.time_ns))
}

fn check_ages(seen: &Observed, names: &[&str]) -> Res<()> {
    let parent = seen.task("parent")?;
    for name in names {
        let zombie = seen.task(&format!("zombie {name}"))?;
        let [(start, told, 1)] = seen.zombies(zombie)[..] else { return Err("not one zombie".into()) };
        truth("the parent was told", parent.is(&told))?;
        check_age(start, seen.reaped_by(zombie, parent)?, age(seen, name)?)?;
    }
    Ok(())
}

/// The zombie's parent leaves it for the subreaper, which takes it later.
fn handed_on() -> Res<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
    say_task("reaper")?;
    let before_fork = boottime_ns()?;
    let middle = sys::fork(|| {
        say_task("parent")?;
        let (child, _, seen_dead) = make_zombie("1")?;
        say_text("seen", &serde_json::to_string(&(child.as_raw(), seen_dead))?)?;
        wait_for_timer(STEP)?;
        Ok(4)
    })?;
    equal("exit code of the parent", &sys::wait(middle)?, &4)?;
    wait_for_timer(STEP)?;
    let before_reap = boottime_ns()?;
    equal("exit code of the zombie", &sys::wait(Pid::from_raw(-1))?, &0)?;
    say_text("reap", &serde_json::to_string(&[before_fork, before_reap, boottime_ns()?])?)
}

/// The age counts from its end as a process, not from the adoption.
fn check_handed_on(seen: &Observed) -> Res<()> {
    let (reaper, zombie) = (seen.task("reaper")?, seen.task("zombie 1")?);
    let (_, seen_dead): (i32, u64) = serde_json::from_str(seen.text("seen")?)?;
    let [before_fork, before_reap, after_reap] = serde_json::from_str(seen.text("reap")?)?;
    let [(start, ..), (again, told, 1)] = seen.zombies(zombie)[..] else {
        return Err("not told twice".into());
    };
    truth("the reaper was told at last", reaper.is(&told) && again.seq > start.seq)?;
    let age = Age { before_fork, seen_dead, before_reap, after_reap };
    check_age(start, seen.reaped_by(zombie, reaper)?, age)
}

/// Checks that the one reap of a task was in this role.
pub(crate) fn reaped_as(seen: &Observed, task: &TaskTruth, role: Reaper) -> Res<()> {
    let found = seen.one(&format!("reap of {}", task.tid), |event| match &event.kind {
        EventKind::Reap { task: gone, reaper, .. } if task.is(gone) => Some(*reaper),
        _ => None,
    })?;
    equal(&format!("role of the reaper of {}", task.tid), &found, &role)
}

/// By birth, and by adoption.
fn check_roles(seen: &Observed) -> Res<()> {
    reaped_as(seen, seen.task("parent")?, Reaper::Parent)?;
    reaped_as(seen, seen.task("zombie 1")?, Reaper::Parent)
}
