//! NS-39: what exec starts is where the container's main process is.

use podproof_ebpf::event::NsKind;

use super::{matrix, times, users};
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const KINDS: [NsKind; 8] = [
    NsKind::Mnt,
    NsKind::Net,
    NsKind::Ipc,
    NsKind::Uts,
    NsKind::Pid,
    NsKind::Cgroup,
    NsKind::User,
    NsKind::Time,
];
/// A main process and what is executed in its container.
const EXECUTED: [(&str, &str); 3] = [("a", "x"), ("a", "y"), ("b", "z")];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-39",
    name: "exec_enters_the_containers_namespaces",
    level: Level::Must,
    statement: "A process started by exec is in the same eight namespaces as the container's main process.",
    source: "runtime-spec glossary.md#container-namespace; setns(2)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "In a container a of a pod the witness x is executed and, while x runs, y. In a container b with a new user \
               namespace and, where the runtime knows of them, a new time namespace, the witness z is executed. Needs user \
               namespaces.",
    inside: "Each witness reads the eight links of its /proc/self/ns.",
    kernel: "The namespaces that each program was executed in (sched_process_exec).",
    defects: &[
        (
            "ns-39-own-cgroup",
            "exec forgets the cgroup namespace of the container: the process has another one",
        ),
        (
            "ns-39-only-the-first",
            "exec forgets the IPC namespace while an earlier process of an exec still runs",
        ),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    users::need()?;
    let mut containers = cell.pod(false, &["a"])?.members;
    let mut b = users::mapped(Bundle::witness("b"), NsSource::New);
    if times::known(cell).is_ok() {
        let offset = serde_json::json!({ "secs": 100, "nanosecs": 0 });
        b = times::versioned(b).namespace("time", NsSource::New).with("/linux/timeOffsets/monotonic", offset);
    }
    containers.push(cell.container(&b)?);
    let mut executed = Vec::new();
    for (main, name) in EXECUTED {
        let main = containers.iter().find(|container| container.name == main);
        let main = main.ok_or_else(|| Obstacle::Runtime("a container is missing".to_owned()))?;
        executed.push(execute(cell, main, name)?);
    }
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for container in containers.iter().chain(&executed) {
        matrix::container(&mut evidence, &trace, container, &KINDS);
    }
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

/// A witness that was executed in a container.
fn execute(cell: &mut Cell<'_>, main: &Container, name: &str) -> Result<Container, Obstacle> {
    let pid_file = cell.dir().join("bundles").join(format!("{name}.pid"));
    let (call, link) = cell.exec_witness(main, name, &["--pid-file", &pid_file.display().to_string()])?;
    succeeded(&call)?;
    let link = link.ok_or_else(|| Obstacle::Runtime(format!("{name} did not call after `{}`", call.line)))?;
    Ok(Container {
        id: main.id.clone(),
        name: name.to_owned(),
        pid: link.outer_pid,
        link: Some(link),
        cgroup: main.cgroup.clone(),
        program: main.program.clone(),
    })
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(EXECUTED, |(main, name)| {
        matrix::each(KINDS, |kind| matrix::shared(side, kind, &[main, name]))
    })
}
