//! SIG-16: sidecars are stopped after the others, the last one first.

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-16",
    name: "sidecars_stop_last_in_reverse_order",
    level: Level::Must,
    statement: "Sidecars get the stop signal only after the last main container ended, in reverse order of definition.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#termination-with-sidecars",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with the sidecars one and two and the container a is stopped. Each program exits a moment after it caught SIGTERM.",
    inside: "While a program that has caught SIGTERM goes on, those that come after it in the order have caught nothing.",
    kernel: "The order of the signals and of the exits (signal_generate, sched_process_exit): a, two, one.",
    defects: &[("sig-16-all-at-once", "all containers are sent the stop signal at once")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// In the order in which they are to be stopped.
const ORDER: [&str; 3] = ["a", "two", "one"];
const SIGTERM: u32 = 15;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::new("pod").sidecar("one").sidecar("two").witness("a"))?;
    for name in ["two", "one"] {
        let sidecar = cell.member(&pod.name, name)?;
        pod.members.push(sidecar);
    }
    for member in &mut pod.members {
        pods::catch_all(cell, member)?;
    }
    let words = ["stop", "--time", "30", &pod.name];
    let members = &mut pod.members;
    let (_call, (early, caught)) = cell.call_pod_during(&words, cell.deadline(80.0), |_witnesses| {
        let (mut early, mut all) = (0_usize, Vec::new());
        for at in 0..members.len() {
            let (turn, later) = members.split_at_mut(at + 1);
            let Some(member) = turn.last_mut() else { break };
            let caught = pods::caught(member.witness()?, 1, 10_000)?;
            for waiting in later {
                early += pods::caught(waiting.witness()?, 1, 150)?.map_or(0, |list| list.len());
            }
            if caught.is_some() {
                pods::exit(member, 0)?;
            }
            all.push(caught);
        }
        Ok((early, all))
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for (name, caught) in ORDER.into_iter().zip(caught) {
        pods::told_caught(&mut evidence, name, caught);
    }
    evidence.inside("early", early, "witnesses: signals caught while one before them still ran");
    for member in &pod.members {
        let pid = member.outer_pid();
        let term = trace.signals_to(pid).find(|sent| sent.signal == SIGTERM).map(|sent| sent.event.seq);
        let end = trace.end_of(pid).map(|end| end.event.seq);
        let name = &member.name;
        evidence.kernel_if(
            &format!("signalled.{name}"),
            term,
            "tp_btf/signal_generate, place in the order of all events",
        );
        evidence.kernel_if(
            &format!("ended.{name}"),
            end,
            "tp_btf/sched_process_exit, place in the order of all events",
        );
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let early = side.number("early")?;
    let expected = "each catches SIGTERM when its turn has come";
    if early > 0 {
        return Ok(Finding::new(false, expected, format!("{early} signals came before their turn")));
    }
    let caught: Vec<Vec<u64>> =
        ORDER.iter().map(|name| side.numbers(&format!("caught.{name}"))).collect::<Result<_, _>>()?;
    let holds = caught.iter().all(|list| list == &[u64::from(SIGTERM)]);
    Ok(Finding::new(holds, expected, format!("a, two and one caught {caught:?}")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut order = Vec::new();
    for name in ORDER {
        order.push(side.number(&format!("signalled.{name}"))?);
        order.push(side.number(&format!("ended.{name}"))?);
    }
    let expected = "signal and end of a, then of two, then of one";
    Ok(Finding::new(order.is_sorted(), expected, format!("signals and ends of a, two, one at {order:?}")))
}
