//! NS-35: no user namespace of its own together with a namespace of the node.

use std::time::Duration;

use podproof_ebpf::event::EventKind;
use podproof_witness::WITNESS_PATH;

use super::{matrix, unsupported, users};
use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, PAUSE_PATH, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// What is asked for besides, and the pod and its container that ask for it.
const PODS: [(&str, &str); 3] = [("hostNetwork", "net"), ("hostPID", "pid"), ("hostIPC", "ipc")];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-35",
    name: "own_users_with_a_namespace_of_the_node_are_refused",
    level: Level::Must,
    statement: "A pod that asks for its own user namespace together with host net, IPC or PID is refused.",
    source: "Kubernetes concepts/workloads/pods/user-namespaces#limitations",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with hostUsers false runs and is removed; three that ask for hostNetwork, hostPID or hostIPC as well are \
               to be run. Skipped where the pod layer refuses hostUsers alone.",
    inside: "Each time run returns an error, the pod layer does not know the pod after that, and no witness calls.",
    kernel: "run returns an error; neither the program nor the sandbox's is executed, and every process that was made has \
             ended (sched_process_exec, sched_process_fork, sched_process_exit).",
    defects: &[(
        "ns-35-one-dropped",
        "a pod that asks for its own user namespace and for one of the node is accepted, and gets the latter only",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    users::need()?;
    // Nothing else is wrong with the others, or their refusal would prove nothing.
    let good = Manifest::of_witnesses("good", &["good"]).with("/spec/hostUsers", false);
    unsupported::run(cell, &good, "hostUsers")?;
    let name = cell.pod_name("good");
    drop(cell.member(&name, "good")?);
    succeeded(&cell.call_pod(&["rm", "--force", &name])?)?;
    let mut evidence = Evidence::default();
    for (field, name) in PODS {
        let manifest = Manifest::of_witnesses(name, &[name])
            .with("/spec/hostUsers", false)
            .with(&format!("/spec/{field}"), true);
        refuse(cell, &manifest, &mut evidence)?;
    }
    facts::keep_trace(&mut evidence, &cell.trace()?, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::Exit { .. } | EventKind::Unshare { .. })
    });
    Ok(evidence)
}

/// Runs a pod that is to be refused; should it be accepted, what becomes of it shows that.
fn refuse(cell: &mut Cell<'_>, manifest: &Manifest, evidence: &mut Evidence) -> Result<(), Obstacle> {
    let (name, pod) = (&manifest.name, cell.pod_name(&manifest.name));
    let run = cell.try_pod("run", manifest)?;
    // The end of a failed run's processes may follow its answer, and its program may have called by then.
    let patience = if run.ok() { Duration::ZERO } else { cell.deadline(3.0) };
    cell.settled(patience)?;
    let patience = if run.ok() { cell.deadline(10.0) } else { Duration::ZERO };
    // It lives as long as its connection.
    let link = cell.hello(name, patience);
    let known = cell.call_pod(&["inspect", &pod])?;
    let trace = cell.trace()?;

    facts::told(evidence, &format!("run.failed.{name}"), run.refused(), &run.summary());
    evidence.inside(&format!("known.{name}"), known.ok(), known.summary());
    evidence.inside(&format!("witness.called.{name}"), link.is_some(), format!("witness {name}: its hello"));
    let since = |time_ns: u64| time_ns >= run.started_ns;
    let programs = [WITNESS_PATH, PAUSE_PATH];
    let execs = trace.execs().filter(|exec| programs.contains(&exec.filename) && since(exec.event.time_ns));
    let execs = execs.count();
    evidence.kernel(&format!("program.execs.{name}"), execs, "tp_btf/sched_process_exec, up to the fence");
    let living = trace.living().iter().filter(|birth| since(birth.event.time_ns)).count();
    let source = "tp_btf/sched_process_fork and _exit, up to the fence";
    evidence.kernel(&format!("processes.left.{name}"), living, source);
    if run.ok() {
        // The next one is looked at alone.
        cell.call_pod(&["rm", "--force", &pod])?;
    }
    Ok(())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(PODS, |(field, name)| {
        let [failed, known, called] =
            ["run.failed", "known", "witness.called"].map(|fact| side.flag(&format!("{fact}.{name}")));
        let (failed, known, called) = (failed?, known?, called?);
        Ok(Finding::new(
            failed && !known && !called,
            format!("with {field} run fails, the pod is not known, and no program calls"),
            format!(
                "with {field} run failed: {failed}, the pod is known: {known}, a program called: {called}"
            ),
        ))
    })
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(PODS, |(field, name)| {
        let failed = side.flag(&format!("run.failed.{name}"))?;
        let [execs, living] =
            ["program.execs", "processes.left"].map(|fact| side.number(&format!("{fact}.{name}")));
        let (execs, living) = (execs?, living?);
        Ok(Finding::new(
            failed && execs == 0 && living == 0,
            format!("with {field} run fails, no program is executed, and no process is left"),
            format!(
                "with {field} run failed: {failed}, programs executed: {execs}, processes left: {living}"
            ),
        ))
    })
}
