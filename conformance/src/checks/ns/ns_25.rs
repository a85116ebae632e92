//! NS-25: the IPC parameters of a pod are its own.

use podproof_ebpf::event::NsKind;
use podproof_witness::Command;

use super::matrix;
use super::node::Parameter;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// Parameters of an IPC namespace, their files, and two values that are no defaults: the one is asked for that the node
/// has not.
const PARAMETERS: [(&str, &str, [&str; 2]); 3] = [
    ("kernel.shmmni", "/proc/sys/kernel/shmmni", ["4001", "4002"]),
    ("kernel.msgmax", "/proc/sys/kernel/msgmax", ["8001", "8002"]),
    ("fs.mqueue.msg_max", "/proc/sys/fs/mqueue/msg_max", ["7", "8"]),
];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-25",
    name: "ipc_parameters_are_the_pods",
    level: Level::Must,
    statement: "IPC sysctls given for the pod (kernel.shm*, kernel.msg*, fs.mqueue.*) are seen by every member and do \
                not change the node.",
    source: "runtime-spec config-linux.md#sysctl; ipc_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox whose bundle sets one parameter each of shared memory, of System V message queues and of POSIX \
               message queues, and the containers a and b, which join its IPC namespace.",
    inside: "The witnesses in a and b read the three files of /proc/sys; so does the suite on the node, before and after.",
    kernel: "The IPC namespace that each program was executed in (sched_process_exec), and the same files read from \
             outside: by a process of the suite in the sandbox's IPC namespace, and on the node.",
    defects: &[
        ("ns-25-on-the-node", "the parameters are written before the IPC namespace is entered"),
        ("ns-25-mqueue-skipped", "of the IPC parameters only those of kernel.* are written"),
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
    let mut sandbox = Bundle::witness("pause");
    let mut node = Vec::new();
    let mut evidence = Evidence::default();
    for (name, path, values) in PARAMETERS {
        let parameter = Parameter::read(path)?;
        let wanted = values.into_iter().find(|value| *value != parameter.before).unwrap_or_default();
        sandbox = sandbox.with(&format!("/linux/sysctl/{name}"), wanted);
        facts::told(&mut evidence, &format!("{name}.wanted"), wanted, "the bundle of the sandbox");
        let source = format!("node: {path}, before");
        facts::told(&mut evidence, &format!("{name}.before"), parameter.before.as_str(), &source);
        node.push((name, parameter));
    }
    let pod = cell.pod_of(sandbox, false, &["a", "b"]);
    // Before anything else, as it puts back what was changed.
    for (name, parameter) in &node {
        let source = format!("node: {}, after", parameter.path);
        facts::told(&mut evidence, &format!("{name}.node"), parameter.after()?, &source);
    }
    let mut pod = pod?;
    let timeout = cell.deadline(5.0);
    for member in &mut pod.members {
        for (name, path, _) in PARAMETERS {
            let read = Command::ReadFile { path: path.to_owned() };
            let text: String = member.witness()?.ask_as(read, timeout)?;
            let source = format!("witness {}: {path}", member.name);
            evidence.inside(&format!("{name}.{}", member.name), text.trim_end(), source);
        }
    }
    let ipc = format!("/proc/{}/ns/ipc", pod.sandbox.pid);
    let texts = cell.peek(&ipc, &PARAMETERS.map(|(_, path, _)| path))?;
    for ((name, path, _), text) in PARAMETERS.into_iter().zip(texts) {
        evidence.kernel(&format!("{name}.pod"), text, format!("{path}, read in {ipc}"));
    }
    let trace = cell.trace()?;
    matrix::node(&mut evidence, &[NsKind::Ipc]);
    matrix::pod(&mut evidence, &trace, &pod, &[NsKind::Ipc]);
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

fn unchanged(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(PARAMETERS, |(name, ..)| {
        let (before, after) = (side.text(&format!("{name}.before"))?, side.text(&format!("{name}.node"))?);
        Ok(Finding::new(
            before == after,
            format!("{name} of the node stays {before}"),
            format!("{name} of the node is {after}, was {before}"),
        ))
    })
}

/// The reader with this name sees what the bundle asks for.
fn seen_by(side: &Side<'_>, reader: &str) -> Result<Finding, Gap> {
    matrix::each(PARAMETERS, |(name, ..)| {
        let wanted = side.text(&format!("{name}.wanted"))?;
        let seen = side.text(&format!("{name}.{reader}"))?;
        let expected = format!("{name} is {wanted} in {reader}");
        Ok(Finding::new(seen == wanted, expected, format!("{name} is {seen} in {reader}, not {wanted}")))
    })
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    Ok(unchanged(side)?.and(seen_by(side, "a")?).and(seen_by(side, "b")?))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let members = matrix::shared(side, NsKind::Ipc, &["pause", "a", "b"])?;
    Ok(unchanged(side)?.and(seen_by(side, "pod")?).and(members))
}
