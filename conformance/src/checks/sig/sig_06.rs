//! SIG-06: a process that ends in time is not killed.

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-06",
    name: "an_end_within_the_grace_is_no_kill",
    level: Level::Must,
    statement: "If the process ends within the grace period no SIGKILL is sent and stop returns promptly.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod whose program catches SIGTERM and then exits with 7 is stopped with a grace period of 30 s.",
    inside: "The program catches SIGTERM; stop returns within half of the grace period; the pod layer reports the exit code 7.",
    kernel: "No SIGKILL is generated for the program before its end (signal_generate), it exits with 7 (sched_process_exit), and stop \
             returns soon after.",
    defects: &[("sig-06-full-grace", "stop always takes the whole grace period")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

const GRACE_SECONDS: &str = "30";
/// What counts as promptly: half of the grace period.
const PROMPT_MS: u64 = 15_000;
const CODE: i32 = 7;
const SIGTERM: u64 = 15;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &["a"]))?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;
    let link = a.witness()?;
    let words = ["stop", "--time", GRACE_SECONDS, &pod.name];
    let (call, caught) = cell.call_pod_during(&words, cell.deadline(90.0), |_witnesses| {
        let caught = pods::caught(link, 1, 20_000)?;
        if caught.is_some() {
            link.tell(podproof_witness::Command::Exit { code: CODE })?;
        }
        Ok(caught)
    })?;
    let document = cell.document(&pod.name)?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    pods::told_caught(&mut evidence, "a", caught);
    let took = pods::ms(call.ended_ns.saturating_sub(call.started_ns));
    evidence.inside("stop.ms", took, "suite: how long the call of stop took");
    if let Some(code) = document.termination("a").and_then(|end| end.exit_code) {
        evidence.inside("reported", code, "podrt pod inspect: exitCode");
    }
    pods::told_signals(&mut evidence, &trace, a);
    if let Some(end) = trace.end_of(a.outer_pid()) {
        evidence.kernel("status", end.status, "tp_btf/sched_process_exit: wait status");
        let after = pods::ms(call.ended_ns.saturating_sub(end.event.time_ns));
        evidence.kernel("returned_after_ms", after, "tp_btf/sched_process_exit, to the return of stop");
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (caught, took, code) = (side.numbers("caught.a")?, side.number("stop.ms")?, side.signed("reported")?);
    let holds = caught == [SIGTERM] && took < PROMPT_MS && code == i64::from(CODE);
    Ok(Finding::new(
        holds,
        format!("SIGTERM is caught, stop takes less than {PROMPT_MS} ms, and {CODE} is reported"),
        format!("caught {caught:?}, stop took {took} ms, {code} is reported"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let sent = side.numbers("signals.a")?;
    let (status, after) = (side.number("status")?, side.number("returned_after_ms")?);
    let expected =
        format!("SIGTERM alone, an exit with {CODE}, and less than {PROMPT_MS} ms to the return of stop");
    let holds = sent == [SIGTERM] && status == u64::from(CODE.unsigned_abs()) << 8 && after < PROMPT_MS;
    Ok(Finding::new(
        holds,
        expected,
        format!("signals {sent:?}, wait status {status:#x}, stop returned {after} ms later"),
    ))
}
