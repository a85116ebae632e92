//! CG-03: a memory kill is told from another SIGKILL.

use nix::sys::signal::Signal;
use podproof_ebpf::event::EventKind;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

/// The memory limit of both containers.
const LIMIT: &str = "48Mi";
/// Twice that, bytes.
const TOUCHED: &str = "100663296";
const SIGKILL: u64 = 9;

const REQUIREMENT: Requirement = Requirement {
    id: "CG-03",
    name: "a_memory_kill_is_reported_as_one",
    level: Level::Must,
    statement: "A memory kill of the main process gives exit code 137 and reason OOMKilled; a plain SIGKILL gives 137 \
                without that reason.",
    source: "CRI api.proto ContainerStatus.reason; Kubernetes tasks/configure-pod-container/assign-memory-resource",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with two containers of one memory limit. The program of oom touches twice as much; that of killed is \
               sent SIGKILL from the node.",
    inside: "The exit codes and reasons that the pod layer reports.",
    kernel: "The OOM killer's victims (mark_victim) and the wait statuses (sched_process_exit) of both programs, against \
             what is reported.",
    defects: &[("cg-03-any-137", "any exit code 137 is reported as OOMKilled")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

const NAMES: [&str; 2] = ["oom", "killed"];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let manifest = Manifest::new("pod")
        .container("oom", &["touch", TOUCHED, "exit", "0"])
        .witness("killed")
        .with("/spec/containers/0/resources/limits/memory", LIMIT)
        .with("/spec/containers/1/resources/limits/memory", LIMIT);
    // It may say by its status that a container has failed already.
    cell.try_pod("run", &manifest)?;
    let name = cell.pod_name("pod");
    let killed = cell.member(&name, "killed")?;
    pods::signal(&killed, Signal::SIGKILL)?;
    let document = cell.await_document(&name, cell.deadline(10.0), |document| {
        document.containers.iter().all(|container| container.state.terminated.is_some())
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for name in NAMES {
        if let Some(end) = document.termination(name) {
            facts::told(&mut evidence, &format!("code.{name}"), end.exit_code, "podrt pod inspect: exitCode");
            let reason = end.reason.clone();
            facts::told(&mut evidence, &format!("reason.{name}"), reason, "podrt pod inspect: reason");
        }
        let lives = pods::lives(&trace, &document.cgroup_of(name));
        let Some(life) = lives.first() else { continue };
        if let Some(end) = life.end {
            let source = "tp_btf/sched_process_exit: wait status";
            evidence.kernel(&format!("signal.{name}"), end.status & 0x7f, source);
        }
        let victim = trace.events.iter().any(|event| match &event.kind {
            EventKind::OomVictim { task, .. } => is(*task, life.tgid),
            _ => false,
        });
        evidence.kernel(&format!("victim.{name}"), victim, "tp_btf/mark_victim, up to the fence");
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected = "oom: 137 and OOMKilled; killed: 137 and another reason";
    let (oom, killed) = (side.signed("code.oom")?, side.signed("code.killed")?);
    let (of_oom, of_killed) = (side.text("reason.oom")?, side.text("reason.killed")?);
    let holds = oom == 137 && killed == 137 && of_oom == "OOMKilled" && of_killed != "OOMKilled";
    Ok(Finding::new(holds, expected, format!("oom: {oom} and {of_oom}; killed: {killed} and {of_killed}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.number("signal.oom")? != SIGKILL || side.number("signal.killed")? != SIGKILL {
        return Err(Gap("the end of both programs by SIGKILL".to_owned()));
    }
    if !side.flag("victim.oom")? || side.flag("victim.killed")? {
        return Err(Gap("a victim of the OOM killer in oom, and none in killed".to_owned()));
    }
    inside(side)
}
