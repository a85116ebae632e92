//! SIG-18: the end of a container without a PID namespace of its own is the end of all its processes, and of no other.

use std::collections::BTreeSet;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::{CLONE_THREAD, Trace, is};

/// Processes of each container beside its main one.
const WORKERS: u32 = 5;
/// They end by themselves after this many seconds, should nothing else end them.
const LIFE_SECONDS: f64 = 60.0;
/// How long the last of them may take to end when `delete` has returned.
const PATIENCE_SECONDS: f64 = 2.0;

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-18",
    name: "the_end_of_a_container_ends_its_processes_only",
    level: Level::Must,
    statement: "Ending a container without its own PID namespace (kill KILL and delete, or the engine's stop and \
                remove) ends all processes of that container and none of a sibling's.",
    source: "runtime-spec runtime.md#delete (resources); pid_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and two containers that join its PID namespace; the program of each starts five processes \
               that do not depend on it, each in its own session. The first container is killed with SIGKILL and, \
               when its main process has ended, deleted.",
    inside: "None of the first container's processes is left on the node, all of the second one's live and its \
             program answers.",
    kernel: "The five processes of the first container end by signal 9, and none of the second one's is sent a \
             SIGKILL or ends (signal_generate, sched_process_exit). Whether the kill alone did it is recorded.",
    defects: &[
        ("sig-18-main-only", "kill and delete end only the main process"),
        ("sig-18-kills-the-siblings", "kill KILL ends every process of the pod but the sandbox's"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a", "b"])?;
    let [a, b] = exactly(&mut pod.members)?;
    let of_a = workers(cell, a)?;
    let of_b = workers(cell, b)?;
    succeeded(&cell.kill(&a.id, "KILL")?)?;
    let main_ended = cell.wait(a.pid, cell.deadline(5.0))?.is_some();
    // Processes of a cgroup that is killed end in no order.
    cell.await_ends(&of_a, cell.deadline(0.5))?;
    let after_kill = living(&cell.trace()?, &of_a);
    let deleted = cell.delete(&a.id)?;
    cell.await_ends(&of_a, cell.deadline(PATIENCE_SECONDS))?;
    let left = |pids: &BTreeSet<u32>| pids.iter().filter(|pid| lives(**pid)).count();
    let (left_a, left_b) = (left(&of_a), left(&of_b));
    let answers = b.witness()?.ask(Command::Ping, cell.deadline(5.0)).is_ok();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    facts::told(&mut evidence, "delete", deleted.end(), "runtime: delete, after the main process had ended");
    evidence.inside("main.ended", main_ended, format!("node: waitid(2) for {} by the suite", a.pid));
    evidence.inside("a.left", left_a, "node: /proc of the first container's five processes");
    evidence.inside("b.left", left_b, "node: /proc of the second container's five processes");
    evidence.inside("b.answers", answers, "witness b: its answer after the delete");
    let exits = "tp_btf/sched_process_exit, up to the fence";
    evidence.kernel("a.workers", of_a.len(), "tp_btf/task_newtask");
    evidence.kernel("b.workers", of_b.len(), "tp_btf/task_newtask");
    evidence.kernel("a.after_kill", after_kill, format!("{exits}: those that lived before the delete"));
    evidence.kernel("a.killed", killed(&trace, &of_a), format!("{exits}: by signal 9"));
    evidence.kernel("b.ended", of_b.len() - living(&trace, &of_b), exits);
    let mut whole_b = of_b.clone();
    whole_b.extend(u32::try_from(b.outer_pid()));
    let hit = trace.events.iter().filter(|event| is_kill_of(&event.kind, &whole_b)).count();
    evidence.kernel("b.hit", hit, "tp_btf/signal_generate: SIGKILL");
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { signal: 9, .. } | EventKind::CgroupWrite { .. } => true,
        EventKind::Exit { task, .. } => of_a.contains(&task.task.tgid) || whole_b.contains(&task.task.tgid),
        _ => false,
    });
    Ok(evidence)
}

/// Has the program start its processes; their numbers on the node.
fn workers(cell: &Cell<'_>, container: &mut Container) -> Result<BTreeSet<u32>, Obstacle> {
    let for_ms = millis(cell.deadline(LIFE_SECONDS));
    let command = Command::ForkStaying { count: WORKERS, for_ms };
    let made: Vec<u32> = container.witness()?.ask_as(command, cell.deadline(10.0))?;
    let trace = cell.trace()?;
    let found: BTreeSet<u32> = trace
        .births()
        .filter(|birth| is(birth.child.parent, container.outer_pid()) && birth.flags & CLONE_THREAD == 0)
        .filter(|birth| birth.child.ns_pid().is_some_and(|number| made.contains(&number)))
        .map(|birth| birth.child.task.tgid)
        .collect();
    if found.len() == made.len() {
        Ok(found)
    } else {
        Err(Obstacle::Trace(format!("it lacks the birth of a process of {}", container.name)))
    }
}

fn lives(tgid: u32) -> bool {
    i32::try_from(tgid).ok().and_then(process::state).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn living(trace: &Trace, pids: &BTreeSet<u32>) -> usize {
    let ended = trace.exits().filter(|exit| exit.group_dead && pids.contains(&exit.task.task.tgid)).count();
    pids.len().saturating_sub(ended)
}

fn killed(trace: &Trace, pids: &BTreeSet<u32>) -> usize {
    trace
        .exits()
        .filter(|exit| exit.group_dead && pids.contains(&exit.task.task.tgid) && exit.status & 0x7f == 9)
        .count()
}

fn is_kill_of(kind: &EventKind, pids: &BTreeSet<u32>) -> bool {
    matches!(kind, EventKind::SignalGenerate { signal: 9, target, .. } if pids.contains(&target.tgid))
}

const EXPECTED: &str = "all processes of the container end, and none of its sibling's";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (left_a, left_b) = (side.number("a.left")?, side.number("b.left")?);
    let (main_ended, answers) = (side.flag("main.ended")?, side.flag("b.answers")?);
    let delete = side.text("delete")?;
    let sibling = if answers { "answers" } else { "does not answer" };
    Ok(Finding::new(
        main_ended && left_a == 0 && left_b == u64::from(WORKERS) && answers,
        EXPECTED,
        format!(
            "delete {delete}; {left_a} of the container's processes are left, {left_b} of its sibling's, which \
             {sibling}"
        ),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let workers = u64::from(WORKERS);
    if side.number("a.workers")? != workers || side.number("b.workers")? != workers {
        return Err(Gap(format!("{WORKERS} processes of each container")));
    }
    let (killed, after_kill) = (side.number("a.killed")?, side.number("a.after_kill")?);
    let (ended, hit) = (side.number("b.ended")?, side.number("b.hit")?);
    Ok(Finding::new(
        killed == workers && ended == 0 && hit == 0,
        EXPECTED,
        format!(
            "{killed} of {workers} end by SIGKILL ({after_kill} lived until the delete); {hit} SIGKILL for its \
             sibling, {ended} ends there"
        ),
    ))
}
