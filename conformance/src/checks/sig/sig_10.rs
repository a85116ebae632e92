//! SIG-10: a grace period of 0 is a SIGKILL straight away.

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-10",
    name: "no_grace_is_a_kill_at_once",
    level: Level::Must,
    statement: "Grace 0 means SIGKILL straight away.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination-forced; CRI api.proto StopContainer timeout 0",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with a grace period of 30 s, whose program catches all signals, is stopped with a grace period of 0.",
    inside: "The program catches nothing, and stop takes less than 15 s.",
    kernel: "The first signal that is generated for the program is SIGKILL (signal_generate).",
    defects: &[("sig-10-means-default", "a grace period of 0 is taken for none given")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// Far below the grace period of the manifest.
const AT_ONCE_MS: u64 = 15_000;
const SIGKILL: u64 = 9;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let manifest = Manifest::of_witnesses("pod", &["a"]);
    let mut pod = cell.start_pod(&manifest.with("/spec/terminationGracePeriodSeconds", 30))?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;

    let link = a.witness()?;
    let words = ["stop", "--time", "0", &pod.name];
    let (call, caught) = cell.call_pod_during(&words, cell.deadline(60.0), |_witnesses| {
        let caught = pods::caught(link, 1, 20_000)?;
        if caught.is_some() {
            link.tell(podproof_witness::Command::Exit { code: 0 })?;
        }
        Ok(caught)
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    pods::told_caught(&mut evidence, "a", caught);
    pods::told_signals(&mut evidence, &trace, a);
    let took = pods::ms(call.ended_ns.saturating_sub(call.started_ns));
    evidence.inside("stop.ms", took, "suite: how long the call of stop took");
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (caught, took) = (side.numbers("caught.a")?, side.number("stop.ms")?);
    Ok(Finding::new(
        caught.is_empty() && took < AT_ONCE_MS,
        format!("nothing is caught, and stop takes less than {AT_ONCE_MS} ms"),
        format!("the program caught {caught:?}, stop took {took} ms"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let sent = side.numbers("signals.a")?;
    let Some(first) = sent.first() else { return Err(Gap("any signal to a".to_owned())) };
    Ok(Finding::new(*first == SIGKILL, "SIGKILL comes first", format!("the signals were {sent:?}")))
}
