//! SIG-08: a stop signal in the pod spec wins over the image's.

use podproof_witness::Command;
use serde_json::json;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-08",
    name: "the_stop_signal_of_the_spec_wins_over_that_of_the_image",
    level: Level::Must,
    statement: "A stop signal in the pod spec wins over the image's.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#defining-custom-stop-signals",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with two containers of one OCI image, whose stop signal is SIGUSR2, is stopped. For the first container \
               the pod spec has the stop signal SIGUSR1, for the second none. Their programs catch all signals and exit at \
               the first.",
    inside: "The first program catches SIGUSR1 and nothing else; the second one SIGUSR2, so the image's signal counts at all.",
    kernel: "SIGUSR1 is generated for the first program and SIGUSR2 for the second, and nothing else (signal_generate).",
    defects: &[("sig-08-image-wins", "the stop signal of the image wins over that of the pod spec")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// That of the pod spec.
const SIGUSR1: u64 = 10;
/// That of the image.
const SIGUSR2: u64 = 12;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let image = cell.image("image", &json!({ "StopSignal": "SIGUSR2" }))?;
    let manifest = Manifest::of_witnesses("pod", &["spec", "image"])
        .with("/spec/os/name", "linux")
        .with("/spec/containers/0/lifecycle/stopSignal", "SIGUSR1")
        .with("/spec/containers/0/image", image.as_str())
        .with("/spec/containers/1/image", image.as_str());
    let mut pod = cell.start_pod(&manifest)?;
    for member in &mut pod.members {
        pods::catch_all(cell, member)?;
    }
    let members = &mut pod.members;
    let words = ["stop", "--time", "20", &pod.name];
    let (_call, caught) = cell.call_pod_during(&words, cell.deadline(60.0), |_witnesses| {
        let mut all = Vec::new();
        for member in members {
            let link = member.witness()?;
            let caught = pods::caught(link, 1, 20_000)?;
            if caught.is_some() {
                link.tell(Command::Exit { code: 0 })?;
            }
            all.push(caught);
        }
        Ok(all)
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for (member, caught) in pod.members.iter().zip(caught) {
        pods::told_caught(&mut evidence, &member.name, caught);
        pods::told_signals(&mut evidence, &trace, member);
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    // A pod that is removed leaves its image to the next one.
    cell.remove_pod(&pod.name)?;
    cell.call_pod(&["gc"])?;
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    judged(&side.numbers("caught.spec")?, &side.numbers("caught.image")?)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    judged(&side.numbers("signals.spec")?, &side.numbers("signals.image")?)
}

/// The signals of the container with a stop signal in the pod spec, and of the one without.
fn judged(spec: &[u64], image: &[u64]) -> Result<Finding, Gap> {
    let holds = spec == [SIGUSR1];
    if holds && image != [SIGUSR2] {
        // There is nothing to win over.
        return Err(Gap("a stop signal of the image that counts".to_owned()));
    }
    Ok(Finding::new(
        holds,
        "SIGUSR1 where the pod spec has it, SIGUSR2 where only the image has one",
        format!("{spec:?} where the pod spec has it, {image:?} where only the image has one"),
    ))
}
