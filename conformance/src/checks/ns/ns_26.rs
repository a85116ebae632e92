//! NS-26: the host name and the NIS domain name of a pod are not the node's.

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::Command;

use super::matrix;
use super::node::Parameter;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::Trace;

/// Both names by their files.
const FILES: [(&str, &str); 2] =
    [("hostname", "/proc/sys/kernel/hostname"), ("domainname", "/proc/sys/kernel/domainname")];
/// What the bundle asks for.
const ASKED: &str = "of-the-pod";
/// What the witness in a sets later.
const SET: &str = "set-by-a";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-26",
    name: "names_of_a_pod_leave_the_node_alone",
    level: Level::Must,
    statement: "Hostname and NIS domain name set in a pod never change the node's.",
    source: "runtime-spec config.md#hostname; uts_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox with a host name and, by linux.sysctl, a domain name, and the containers a and b, which join its \
               UTS namespace. Then the witness in a sets both names anew.",
    inside: "a reads the names of the bundle, b those that a has set, and the suite reads on the node what it read there \
             before.",
    kernel: "The UTS namespaces of all calls of sethostname(2) and setdomainname(2), the one that each program was \
             executed in (sched_process_exec), and both names read from outside: by a process of the suite in the \
             sandbox's UTS namespace, and on the node.",
    defects: &[(
        "ns-26-before-unshare",
        "the host name is set before the UTS namespace is made, which copies it",
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
    let node = FILES.map(|(name, path)| (name, Parameter::read(path)));
    let sandbox =
        Bundle::witness("pause").with("/hostname", ASKED).with("/linux/sysctl/kernel.domainname", ASKED);
    let mut evidence = Evidence::default();
    let played = play(cell, &mut evidence, sandbox);
    // Before anything else, as it puts back what was changed.
    for (name, parameter) in node {
        let parameter = parameter?;
        let path = parameter.path;
        facts::told(
            &mut evidence,
            &format!("{name}.before"),
            parameter.before.as_str(),
            &format!("node: {path}, before"),
        );
        facts::told(
            &mut evidence,
            &format!("{name}.node"),
            parameter.after()?,
            &format!("node: {path}, after"),
        );
    }
    played?;
    Ok(evidence)
}

fn play(cell: &mut Cell<'_>, evidence: &mut Evidence, sandbox: Bundle) -> Result<(), Obstacle> {
    let mut pod = cell.pod_of(sandbox, false, &["a", "b"])?;
    let [a, b] = exactly(&mut pod.members)?;
    read_by(cell, evidence, a)?;
    for (name, path) in FILES {
        let set = Command::WriteFile { path: path.to_owned(), text: SET.to_owned() };
        let errno = a.witness()?.ask(set, cell.deadline(5.0))?;
        evidence.inside(&format!("{name}.errno"), errno, format!("witness a: write {SET} to {path}"));
    }
    read_by(cell, evidence, b)?;
    let uts = format!("/proc/{}/ns/uts", pod.sandbox.pid);
    let texts = cell.peek(&uts, &FILES.map(|(_, path)| path))?;
    for ((name, path), text) in FILES.into_iter().zip(texts) {
        evidence.kernel(&format!("{name}.pod"), text, format!("{path}, read in {uts}"));
    }
    let trace = cell.trace()?;
    matrix::node(evidence, &[NsKind::Uts]);
    matrix::pod(evidence, &trace, &pod, &[NsKind::Uts]);
    calls(evidence, &trace);
    facts::keep_trace(evidence, &trace, |kind| {
        matches!(kind, EventKind::Hostname { .. } | EventKind::Unshare { .. } | EventKind::Exec { .. })
    });
    Ok(())
}

/// Both names, as a witness reads them.
fn read_by(cell: &Cell<'_>, evidence: &mut Evidence, container: &mut Container) -> Result<(), Obstacle> {
    for (name, path) in FILES {
        let read = Command::ReadFile { path: path.to_owned() };
        let text: String = container.witness()?.ask_as(read, cell.deadline(5.0))?;
        let source = format!("witness {}: {path}", container.name);
        evidence.inside(&format!("{name}.{}", container.name), text.trim_end(), source);
    }
    Ok(())
}

/// How many calls set a name of the node, and how many one of another UTS namespace.
fn calls(evidence: &mut Evidence, trace: &Trace) {
    let node = process::namespaces(std::process::id().cast_signed()).get("uts").map(|id| id.ino);
    let of_node = |uts: Option<u32>| uts.map(u64::from) == node;
    let count = |on_node: bool| {
        let set = |kind: &EventKind| match kind {
            EventKind::Hostname { ret: 0, uts_ns, .. } => of_node(*uts_ns) == on_node,
            _ => false,
        };
        trace.events.iter().filter(|event| set(&event.kind)).count()
    };
    let source = "sethostname(2) and setdomainname(2) with result 0, up to the fence";
    evidence.kernel("calls.node", count(true), source);
    evidence.kernel("calls.pod", count(false), source);
}

fn unchanged(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(FILES, |(name, _)| {
        let (before, after) = (side.text(&format!("{name}.before"))?, side.text(&format!("{name}.node"))?);
        Ok(Finding::new(
            before == after,
            format!("the {name} of the node stays `{before}`"),
            format!("the {name} of the node is `{after}`, was `{before}`"),
        ))
    })
}

fn reads(side: &Side<'_>, reader: &str, wanted: &str) -> Result<Finding, Gap> {
    matrix::each(FILES, |(name, _)| {
        let seen = side.text(&format!("{name}.{reader}"))?;
        let expected = format!("the {name} in {reader} is `{wanted}`");
        Ok(Finding::new(seen == wanted, expected, format!("the {name} in {reader} is `{seen}`")))
    })
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    for (name, _) in FILES {
        let errno = side.signed(&format!("{name}.errno"))?;
        if errno != 0 {
            return Err(Gap(format!("a {name} that a could set (it was told errno {errno})")));
        }
    }
    Ok(unchanged(side)?.and(reads(side, "a", ASKED)?).and(reads(side, "b", SET)?))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (node, pod) = (side.number("calls.node")?, side.number("calls.pod")?);
    let apart = Finding::new(
        node == 0 && pod > 0,
        "names are set in the pod's UTS namespace only",
        format!("{node} calls set a name of the node, {pod} one of another UTS namespace"),
    );
    let own = facts::all_differ(side, "UTS namespace", &["uts.node", "uts.pause"])?;
    let members = matrix::shared(side, NsKind::Uts, &["pause", "a", "b"])?;
    Ok(apart.and(unchanged(side)?).and(own).and(members).and(reads(side, "pod", SET)?))
}
