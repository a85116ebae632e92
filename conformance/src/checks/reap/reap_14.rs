//! REAP-14: nothing that stays with containers leaves zombies on the node.

use std::collections::BTreeSet;

use podproof_ebpf::event::EventKind;
use podproof_witness::WITNESS_PATH;

use super::standstill::await_so;
use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly, succeeded};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::{CLONE_THREAD, Trace, released};

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-14",
    name: "monitors_leave_no_zombie_on_the_node",
    level: Level::Must,
    statement: "Monitors and shims leave no zombie on the node after container or exec end.",
    source: "wait(2)",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with two containers that are restarted always. 20 times the pod layer executes a program in one, which \
               exits, and the other one's program exits and is started again. What leaves a zombie each time shows as well \
               as it would after 200 times, in seconds on an emulated machine.",
    inside: "No process that was made by the supervisor or by a command is a zombie in the node's /proc.",
    kernel: "Every process that was born for the pod or for a command and has ended is released (release_task): the programs, \
             and whatever stood between them and their monitor.",
    defects: &[("reap-14-never-waits", "an exec has a monitor that never waits for the runtime's process")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// Ends of containers, and of programs that are executed in one.
const CYCLES: u64 = 20;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &["a", "b"]).restarted("Always"))?;
    let [a, b] = exactly(&mut pod.members)?;
    let exec = ["exec", "--container", "a", &pod.name, "--", WITNESS_PATH, "exit", "0"];
    let mut n_cycles = 0;
    while n_cycles < CYCLES {
        succeeded(&cell.call_pod(&exec)?)?;
        pods::exit(b, 0)?;
        cell.greet(b)?;
        n_cycles += 1;
    }
    let ended = ended(&cell.trace()?);
    cell.await_releases(&ended, cell.deadline(2.0))?;
    // The kernel's own record may come a moment after its event.
    await_so(cell, || cell.zombies().is_ok_and(|zombies| zombies.is_empty()));
    let zombies = cell.zombies()?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let source =
        "node: State of /proc/PID/status, for all that descends from the launcher of the cell by PPid";
    evidence.inside("zombies", zombies.len(), source);
    evidence.inside("execs", n_cycles, "podrt pod exec: calls that returned with 0");
    evidence.inside("restarts", n_cycles, "witness b: its first words after an end");
    for (name, container) in [("execs", &*a), ("restarts", &*b)] {
        let lives = pods::lives(&trace, &container.cgroup);
        let n_ended = lives.iter().filter(|life| life.end.is_some()).count();
        let source =
            format!("tp_btf/sched_process_exec and sched_process_exit, in the cgroup of {}", container.name);
        evidence.kernel(name, n_ended, source);
    }
    evidence.kernel(
        "ended",
        ended.len(),
        "tp_btf/sched_process_exit of processes that were born in the cell",
    );
    let released: BTreeSet<u32> = trace.events.iter().filter_map(released).collect();
    let source = "release_task of those, up to the fence";
    evidence.kernel("released", ended.intersection(&released).count(), source);
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Exit { .. } | EventKind::ZombieStart { .. } | EventKind::Reap { .. })
    });
    Ok(evidence)
}

/// Processes that were born in the cell and have ended, by their numbers on the node.
fn ended(trace: &Trace) -> BTreeSet<u32> {
    let ended: BTreeSet<u32> =
        trace.exits().filter(|exit| exit.group_dead).map(|exit| exit.task.task.tgid).collect();
    let born = trace.births().filter(|birth| birth.flags & CLONE_THREAD == 0);
    born.map(|birth| birth.child.task.tgid).filter(|tgid| ended.contains(tgid)).collect()
}

/// The ends that the scenario is about have come.
fn needs_ends(side: &Side<'_>) -> Result<(), Gap> {
    for (name, what) in [("execs", "executed programs"), ("restarts", "runs of a container")] {
        if side.number(name)? < CYCLES {
            return Err(Gap(format!("the ends of {CYCLES} {what}")));
        }
    }
    Ok(())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    needs_ends(side)?;
    let zombies = side.number("zombies")?;
    Ok(Finding::new(zombies == 0, "no zombie is left on the node", format!("{zombies} zombies are left")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    needs_ends(side)?;
    let (ended, released) = (side.number("ended")?, side.number("released")?);
    Ok(Finding::new(
        ended == released,
        "every process that has ended is released",
        format!("{released} of {ended} processes that have ended are released"),
    ))
}
