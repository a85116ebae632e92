//! NS-03: the containers of a pod share one UTS namespace, so that a host name set in one is the name of all.

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::{Birth, Command};

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly, joining};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::Trace;

/// The name that a sets.
const NAME: &str = "named-by-a";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-03",
    name: "containers_share_the_uts_namespace",
    level: Level::Must,
    statement: "All containers of a pod share one UTS namespace: a host name set by a privileged member is read \
                back by every other member.",
    source: "podman-pod-create(1) --share (ipc,net,uts by default)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and the containers a and b, which list its UTS namespace by path. The witness in a sets a \
               host name; then a container c joins in the same way.",
    inside: "Each witness reads its /proc/self/ns/uts; b and c read the name that a set.",
    kernel: "The UTS namespace that each program was executed in (sched_process_exec), and the last name that was \
             set in that of a (sethostname(2)).",
    defects: &[
        ("ns-03-copied-name", "a joining container gets a new UTS namespace with a copy of the name"),
        ("ns-03-named-again", "a joining container has its own name set in the pod's UTS namespace"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(false, &["a", "b"])?;
    let timeout = cell.deadline(5.0);
    let [a, _] = exactly(&mut pod.members)?;
    a.witness()?.ask(Command::SetHostname { name: NAME.to_owned() }, timeout)?;
    // After that: joining must not change what is shared.
    pod.members.push(cell.container(&joining(Bundle::witness("c"), pod.sandbox.pid, false))?);
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    facts::node_ns(&mut evidence, "node", std::process::id().cast_signed(), "uts");
    facts::node_ns(&mut evidence, "pause", pod.sandbox.pid, "uts");
    facts::kernel_node_ns(&mut evidence, "uts");
    facts::kernel_ns(&mut evidence, &trace, &pod.sandbox, NsKind::Uts);
    for member in &mut pod.members {
        facts::inside_ns(&mut evidence, member, "uts");
        facts::kernel_ns(&mut evidence, &trace, member, NsKind::Uts);
        let report: Birth = member.witness()?.ask_as(Command::Report, timeout)?;
        let name = &member.name;
        evidence.inside(&format!("hostname.{name}"), report.hostname, format!("witness {name}: uname(2)"));
    }
    last_name(&mut evidence, &trace, &pod.members);
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Hostname { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

/// The last name that anybody set in the UTS namespace that a's program was executed in.
fn last_name(evidence: &mut Evidence, trace: &Trace, members: &[Container]) {
    let a = members.first().and_then(|a| trace.exec_of(a.outer_pid(), &a.program));
    let Some(uts) = a.and_then(|exec| exec.task.ns.uts) else { return };
    let set = trace.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Hostname { name, domain: false, ret: 0, uts_ns } if *uts_ns == Some(uts) => {
            Some((name, format!("{}: sethostname(2) by {}", event.source, event.current.tgid)))
        }
        _ => None,
    });
    if let Some((name, source)) = set {
        evidence.kernel("hostname.last", name.clone(), source);
    }
}

fn shared(side: &Side<'_>) -> Result<Finding, Gap> {
    let shared = facts::all_equal(side, "UTS namespace", &["uts.pause", "uts.a", "uts.b", "uts.c"])?;
    Ok(shared.and(facts::all_differ(side, "UTS namespace", &["uts.node", "uts.pause"])?))
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let [a, b, c] = ["a", "b", "c"].map(|name| side.text(&format!("hostname.{name}")));
    let (a, b, c) = (a?, b?, c?);
    let one = Finding::new(
        [a, b, c] == [NAME; 3],
        format!("a, b and c have the name `{NAME}`"),
        format!("a has the name `{a}`, b `{b}`, c `{c}`"),
    );
    Ok(shared(side)?.and(one))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let last = side.text("hostname.last")?;
    let last = Finding::new(
        last == NAME,
        format!("the last name set in it is `{NAME}`"),
        format!("the last name set in it is `{last}`"),
    );
    Ok(shared(side)?.and(last))
}
