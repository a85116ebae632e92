//! Zombies as they are listed, and orphans as they are counted: handed on, many at once, and while others come and go.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::Child;

use libtest_mimic::Completion;
use nix::unistd::Pid;
use podproof_ebpf::Tracer;
use podproof_ebpf::counters::{Counter, ZombieParent, ZombieView};

use crate::Res;
use crate::cgroups::Cgroup;
use crate::counters::{Run, is_attached, options};
use crate::observe::{Case, equal, finish, go, start, truth};
use crate::report::{Line, TaskTruth, say_task};
use crate::sys;

/// Tests that start a tracer of their own.
pub(crate) const DIRECT: [(&str, Run); 3] = [
    ("counter::a_zombie_that_is_handed_on_has_the_new_parent", handed_on),
    ("counter::zombies_are_listed_once_while_others_come_and_go", listed_once),
    ("counter::every_child_of_a_large_family_is_an_orphan", large_family),
];

/// Scenarios of the tests above.
pub(crate) const SCENES: &[Case] = &[
    Case { name: "scene::handed_on", scenario: handed_on_scene, check: |_| Ok(()) },
    Case { name: "scene::kept_zombies", scenario: kept_zombies, check: |_| Ok(()) },
    Case { name: "scene::large_family", scenario: large_family_scene, check: |_| Ok(()) },
];

const CLONE_NEWPID: u64 = 0x2000_0000;

/// Until the test lets it go on.
fn wait_for_byte() -> Res<()> {
    Ok(std::io::stdin().read_exact(&mut [0])?)
}

/// The task that the scenario says next.
fn next_task(child: &mut Child) -> Res<TaskTruth> {
    let stdout = child.stdout.as_mut().ok_or("no standard output")?;
    let (mut text, mut byte) = (vec![], [0]);
    loop {
        stdout.read_exact(&mut byte)?;
        if byte == *b"\n" {
            break;
        }
        text.extend(byte);
    }
    match serde_json::from_slice(&text)? {
        Line::Task(_, task) => Ok(task),
        other => Err(format!("no task: {other:?}").into()),
    }
}

/// So many children that nobody waits for; they have ended.
fn leave_zombies(n: usize) -> Res<Vec<Pid>> {
    let mut all = vec![];
    for _ in 0..n {
        let child = sys::fork(|| Ok(0))?;
        sys::waitid(child, libc::WEXITED | libc::WNOWAIT)?;
        all.push(child);
    }
    Ok(all)
}

fn of_cgroup(tracer: &Tracer, cgroup: &Cgroup) -> Res<Vec<ZombieView>> {
    let mut zombies = tracer.zombies()?;
    zombies.retain(|zombie| zombie.cgroup_id == cgroup.id);
    Ok(zombies)
}

const HANDED_ON: usize = 3;

/// A worker leaves its zombies to PID 1 of its namespace, which takes the worker only.
fn handed_on_scene() -> Res<()> {
    let init = sys::clone3(CLONE_NEWPID, libc::SIGCHLD, None, || {
        let worker = sys::fork(|| {
            leave_zombies(HANDED_ON)?;
            say_task("worker")?;
            wait_for_byte()?;
            Ok(3)
        })?;
        equal("exit code of the worker", &sys::wait(worker)?, &3)?;
        say_task("init")?;
        wait_for_byte()?;
        Ok(0)
    })?;
    equal("exit code", &sys::wait(init)?, &0)
}

fn handed_on(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    if !is_attached(&tracer, "release_task") || !is_attached(&tracer, "do_notify_parent") {
        return Ok(Completion::ignored_with("release_task and do_notify_parent are not attached"));
    }
    let cgroup = match Cgroup::make("handed-on") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let mut child = start("scene::handed_on")?;
    cgroup.add(child.id())?;
    go(&mut child)?;
    let worker = next_task(&mut child)?.tgid;
    let before = of_cgroup(&tracer, &cgroup)?;
    equal("zombies of the worker", &before.len(), &HANDED_ON)?;
    let is_workers =
        |zombie: &ZombieView| (zombie.parent_tgid, zombie.parent) == (worker, ZombieParent::Other);
    truth(&format!("the worker {worker} is the parent of {before:?}"), before.iter().all(is_workers))?;
    go(&mut child)?;
    let init = next_task(&mut child)?.tgid;
    let (parent_tgid, parent) = (init, ZombieParent::Init);
    let expected: Vec<ZombieView> =
        before.iter().map(|zombie| ZombieView { parent_tgid, parent, ..*zombie }).collect();
    equal("zombies of PID 1", &of_cgroup(&tracer, &cgroup)?, &expected)?;
    go(&mut child)?;
    finish(child)?;
    equal("zombies in the end", &of_cgroup(&tracer, &cgroup)?, &vec![])?;
    Ok(Completion::Completed)
}

const KEPT: usize = 200;

fn kept_zombies() -> Res<()> {
    let kept = leave_zombies(KEPT)?;
    say_task("keeper")?;
    wait_for_byte()?;
    for child in kept {
        equal("exit code", &sys::wait(child)?, &0)?;
    }
    Ok(())
}

fn are_running(children: &mut [Child]) -> Res<bool> {
    for child in children {
        if child.try_wait()?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where an entry is taken out between two looks the kernel begins its list again.
fn listed_once(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    if !is_attached(&tracer, "release_task") {
        return Ok(Completion::ignored_with("release_task is not attached"));
    }
    let cgroup = match Cgroup::make("kept") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let mut keeper = start("scene::kept_zombies")?;
    cgroup.add(keeper.id())?;
    go(&mut keeper)?;
    next_task(&mut keeper)?;
    let mut storms = [start("scene::fork_storm")?, start("scene::fork_storm")?];
    for storm in &mut storms {
        go(storm)?;
    }
    let mut n_lists = 0;
    while are_running(&mut storms)? {
        let zombies = tracer.zombies()?;
        let distinct: BTreeSet<u32> = zombies.iter().map(|zombie| zombie.tgid).collect();
        equal(&format!("entries of list {n_lists}"), &zombies.len(), &distinct.len())?;
        let kept = zombies.iter().filter(|zombie| zombie.cgroup_id == cgroup.id).count();
        equal(&format!("those that stay, in list {n_lists}"), &kept, &KEPT)?;
        n_lists += 1;
    }
    truth(&format!("{n_lists} lists"), n_lists > 10)?;
    for storm in storms {
        finish(storm)?;
    }
    go(&mut keeper)?;
    finish(keeper)?;
    Ok(Completion::Completed)
}

/// Children that one process leaves behind.
const FAMILY: usize = 1000;

fn large_family_scene() -> Res<()> {
    sys::prctl(libc::PR_SET_CHILD_SUBREAPER, [1, 0])?;
    let (mut hold, mut release) = std::io::pipe()?;
    let parent = sys::fork(|| {
        for _ in 0..FAMILY {
            sys::fork(|| Ok(i32::from(hold.read(&mut [0])? != 1)))?;
        }
        Ok(0)
    })?;
    equal("exit code of the parent", &sys::wait(parent)?, &0)?;
    release.write_all(&[b'!'; FAMILY])?;
    for _ in 0..FAMILY {
        equal("exit code of an orphan", &sys::wait(Pid::from_raw(-1))?, &0)?;
    }
    Ok(())
}

fn large_family(_tracer: &Tracer) -> Res<Completion> {
    let tracer = Tracer::start(&options())?;
    let cgroup = match Cgroup::make("large-family") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let mut child = start("scene::large_family")?;
    cgroup.add(child.id())?;
    go(&mut child)?;
    finish(child)?;
    let snapshot = tracer.counters()?;
    let counts = snapshot.cgroups.get(&cgroup.id).ok_or("the cgroup is not counted")?;
    equal("orphans", &counts.get(Counter::OrphansSubreaper), &Some(u64::try_from(FAMILY)?))?;
    let refused: Vec<_> = tracer
        .refusals()?
        .into_iter()
        .filter(|refused| refused.map == "orphans" && refused.count > 0)
        .collect();
    equal("refused orphans", &refused, &vec![])?;
    Ok(Completion::Completed)
}
