//! NS-32: the namespaces of a pod belong to the pod's user namespace.

use std::path::Path;

use podproof_ebpf::event::NsKind;
use podproof_witness::Command;

use super::{matrix, users};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

/// What a pod shares.
const KINDS: [NsKind; 3] = [NsKind::Net, NsKind::Ipc, NsKind::Uts];
/// A parameter of the network namespace, and a value that is not its default (1024).
const PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
const FIRST_PORT: &str = "81";

const REQUIREMENT: Requirement = Requirement {
    id: "NS-32",
    name: "the_pods_namespaces_belong_to_its_user_namespace",
    level: Level::Must,
    statement: "The pod's net, IPC and UTS namespaces are owned by the pod's user namespace.",
    source: "user_namespaces(7); ioctl_ns(2) NS_GET_USERNS",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox with a new user namespace and the container a, which joins it by its path together with the \
               others. Needs user namespaces.",
    inside: "The witness in a, which has CAP_NET_ADMIN there only, writes a parameter of the network namespace and reads it back.",
    kernel: "The user namespace that owns each of the sandbox's net, IPC and UTS namespaces (NS_GET_USERNS, from outside), \
             against the one that the sandbox's program was executed in (sched_process_exec).",
    defects: &[(
        "ns-32-net-first",
        "the network namespace is made before the user namespace, and is the node's",
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
    let mut pod = users::pod(cell, &["a"])?;
    let mut evidence = Evidence::default();
    let timeout = cell.deadline(5.0);
    for member in &mut pod.members {
        let write = Command::WriteFile { path: PORTS.to_owned(), text: FIRST_PORT.to_owned() };
        let errno = member.witness()?.ask(write, timeout)?;
        evidence.inside("write.errno", errno, format!("witness a: write {FIRST_PORT} to {PORTS}"));
        let text: String = member.witness()?.ask_as(Command::ReadFile { path: PORTS.to_owned() }, timeout)?;
        evidence.inside("parameter", text.trim_end(), format!("witness a: {PORTS}"));
    }
    for kind in KINDS {
        let path = format!("/proc/{}/ns/{kind}", pod.sandbox.pid);
        if let Ok(owner) = process::owner_of(Path::new(&path)) {
            evidence.kernel(&format!("owner.{kind}"), owner.ino, format!("NS_GET_USERNS of {path}"));
        }
    }
    let trace = cell.trace()?;
    matrix::node(&mut evidence, &[NsKind::User]);
    matrix::pod(&mut evidence, &trace, &pod, &[NsKind::User]);
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (errno, text) = (side.signed("write.errno")?, side.text("parameter")?);
    Ok(Finding::new(
        errno == 0 && text == FIRST_PORT,
        "an administrator of the pod can write a parameter of the pod's network",
        format!("it got errno {errno}, and the parameter is {text}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let own = facts::all_differ(side, "user namespace", &["user.node", "user.pause"])?;
    let owned = matrix::each(KINDS, |kind| {
        let owner = format!("owner.{kind}");
        facts::all_equal(side, &format!("user namespace behind {kind}"), &["user.pause", &owner])
    })?;
    Ok(own.and(owned))
}
