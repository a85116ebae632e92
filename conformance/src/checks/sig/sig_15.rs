//! SIG-15: the applications of a pod end before its sandbox.

use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-15",
    name: "applications_end_before_the_sandbox",
    level: Level::Must,
    statement: "Pod stop ends all application containers before the sandbox.",
    source: "CRI api.proto StopPodSandbox; Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination-flow",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod that shares its PIDs, with two containers that exit with 3 and 4 at SIGTERM, is stopped.",
    inside: "Both programs catch SIGTERM, and the pod layer reports the exit codes 3 and 4.",
    kernel: "Both programs exit before the sandbox does (sched_process_exit), and before any signal to it (signal_generate).",
    defects: &[("sig-15-sandbox-first", "the sandbox is killed first")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

const NAMES: [(&str, i32); 2] = [("a", 3), ("b", 4)];
const SIGCHLD: u32 = 17;
const SIGTERM: u64 = 15;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.pod(true, &NAMES.map(|(name, _)| name))?;
    for member in &mut pod.members {
        pods::catch_all(cell, member)?;
    }
    let words = ["stop", "--time", "20", &pod.name];
    let members = &mut pod.members;
    let (_call, caught) = cell.call_pod_during(&words, cell.deadline(60.0), |_witnesses| {
        let mut all = Vec::new();
        for (member, (_, code)) in members.iter_mut().zip(NAMES) {
            let link = member.witness()?;
            let caught = pods::caught(link, 1, 20_000)?;
            if caught.is_some() {
                link.tell(podproof_witness::Command::Exit { code })?;
            }
            all.push(caught);
        }
        Ok(all)
    })?;
    let document = cell.document(&pod.name)?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for ((name, _), caught) in NAMES.into_iter().zip(caught) {
        pods::told_caught(&mut evidence, name, caught);
        if let Some(code) = document.termination(name).and_then(|end| end.exit_code) {
            evidence.inside(&format!("reported.{name}"), code, "podrt pod inspect: exitCode");
        }
    }
    let source = "tp_btf/sched_process_exit, place in the order of all events";
    for member in pod.members.iter().chain([&pod.sandbox]) {
        let end = trace.end_of(member.outer_pid()).map(|end| end.event.seq);
        evidence.kernel_if(&format!("ended.{}", member.name), end, source);
    }
    let mut to_pause = trace.signals_to(pod.sandbox.pid).filter(|sent| sent.signal != SIGCHLD);
    let first = to_pause.next().map(|sent| sent.event.seq);
    evidence.kernel_if("signalled.pause", first, "tp_btf/signal_generate, place in the order of all events");
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (mut holds, mut observed) = (true, Vec::new());
    for (name, code) in NAMES {
        let caught = side.numbers(&format!("caught.{name}"))?;
        let reported = side.signed(&format!("reported.{name}"))?;
        holds &= caught == [SIGTERM] && reported == i64::from(code);
        observed.push(format!("{name} caught {caught:?} and {reported} is reported"));
    }
    Ok(Finding::new(holds, "both catch SIGTERM and exit by themselves", observed.join("; ")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (a, b, pause) = (side.number("ended.a")?, side.number("ended.b")?, side.number("ended.pause")?);
    // A sandbox that ends by itself is sent nothing.
    let signalled = side.number("signalled.pause").unwrap_or(pause);
    let last = a.max(b);
    Ok(Finding::new(
        last < pause && last < signalled,
        "both applications end before the sandbox ends and before it is signalled",
        format!("ends at {a} and {b}, the sandbox is signalled at {signalled} and ends at {pause}"),
    ))
}
