//! PID-19: with the node's PID namespace nobody but the runtime ends what a container leaves.

use std::collections::BTreeSet;
use std::path::PathBuf;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::{Trace, is};

/// Processes beside the main one.
const MEMBERS: u32 = 3;
/// They end by themselves after this many seconds, should nothing else end them.
const LIFE_SECONDS: f64 = 60.0;
const SIGKILL: u32 = 9;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-19",
    name: "leftovers_end_with_a_container_in_the_nodes_pid_namespace",
    level: Level::Must,
    statement: "With the node's PID namespace, processes left over by a container are ended when the container ends.",
    source: "runtime-spec runtime.md#delete; CRI NamespaceMode NODE",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    // Between kill and delete they may go on: the specification speaks of the container process there.
    scenario: "A container without a PID namespace of its own, whose program starts three processes that do not \
               depend on it, each in its own session. The runtime is asked to kill the container, and when its \
               program has ended, to delete it.",
    inside: "Both calls succeed, and none of the three is left on the node.",
    kernel: "Each of the three is sent SIGKILL (signal_generate) and ends by it, by the time that delete returns or \
             shortly after.",
    defects: &[("pid-19-main-only", "kill and delete end the main process only")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut container = cell.container(&Bundle::witness("a").namespace("pid", NsSource::Inherited))?;
    let for_ms = millis(cell.deadline(LIFE_SECONDS));
    let timeout = cell.deadline(10.0);
    container.witness()?.ask(Command::ForkStaying { count: MEMBERS, for_ms }, timeout)?;
    let pid = container.outer_pid();
    let children = process::children(pid).map_err(|source| Obstacle::Node {
        op: "list",
        path: PathBuf::from("/proc"),
        source,
    })?;
    let kill = cell.kill(&container.id, "KILL")?;
    let ended = cell.wait(container.pid, timeout)?.is_some();
    let delete = cell.delete(&container.id)?;
    let awaited = children.iter().map(|pid| pid.cast_unsigned()).collect();
    cell.await_ends(&awaited, cell.deadline(2.0))?;
    let is_left = |pid: &&i32| process::state(**pid).is_some_and(|state| !matches!(state, 'Z' | 'X'));
    let left = children.iter().filter(is_left).count();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("there", children.len(), format!("node: processes with PPid {pid}, before kill"));
    evidence.inside("main.ended", ended, format!("node: waitid(2) for {} by the suite", container.pid));
    for (name, call) in [("kill", &kill), ("delete", &delete)] {
        let source = format!("runtime: `{}` {}", call.line, call.end());
        evidence.inside(&format!("accepted.{name}"), call.ok(), source);
    }
    evidence.inside("left", left, "node: State in /proc/PID/status, after delete");
    kernel_facts(&mut evidence, &trace, pid, kill.started_ns);
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::SignalGenerate { signal, .. } => *signal == SIGKILL,
        EventKind::CgroupWrite { file, .. } => file == "cgroup.kill",
        EventKind::Exit { .. } => true,
        _ => false,
    });
    Ok(evidence)
}

fn kernel_facts(evidence: &mut Evidence, trace: &Trace, pid: i32, kill_ns: u64) {
    let members: BTreeSet<u32> = trace
        .births()
        .filter(|birth| is(birth.child.parent, pid) && birth.child.task.tid == birth.child.task.tgid)
        .map(|birth| birth.child.task.tgid)
        .collect();
    let killed: BTreeSet<u32> = trace
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::SignalGenerate { signal: SIGKILL, target, .. } if event.time_ns >= kill_ns => {
                Some(target.tgid)
            }
            _ => None,
        })
        .collect();
    let ended = trace
        .exits()
        .filter(|exit| exit.group_dead && members.contains(&exit.task.task.tgid))
        .filter(|exit| exit.status & 0x7f == SIGKILL)
        .count();
    evidence.kernel("members", members.len(), "tp_btf/task_newtask: processes that the program created");
    let source = "tp_btf/signal_generate: SIGKILL, from the call of kill up to the fence";
    evidence.kernel("killed", members.intersection(&killed).count(), source);
    evidence.kernel("ended", ended, "tp_btf/sched_process_exit: by signal 9, up to the fence");
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (there, left) = (side.number("there")?, side.number("left")?);
    if there != u64::from(MEMBERS) || !side.flag("main.ended")? {
        return Err(Gap(format!("the end of a program that leaves {MEMBERS} processes (it left {there})")));
    }
    let (kill, delete) = (side.flag("accepted.kill")?, side.flag("accepted.delete")?);
    let said =
        |name: &str, accepted: bool| format!("{name} {}", if accepted { "succeeded" } else { "failed" });
    Ok(Finding::new(
        left == 0 && kill && delete,
        "kill and delete succeed and none of the processes is left",
        format!("{}, {}, {left} of {there} are left", said("kill", kill), said("delete", delete)),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (members, killed, ended) = (side.number("members")?, side.number("killed")?, side.number("ended")?);
    if members != u64::from(MEMBERS) {
        return Err(Gap(format!("{MEMBERS} processes created by the program (there are {members})")));
    }
    Ok(Finding::new(
        killed == members && ended == members,
        "every process that is left over is killed",
        format!("{killed} of {members} were sent SIGKILL, {ended} ended by it"),
    ))
}
