//! NS-16: the namespaces of a pod outlive its application containers.

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::Command;

use super::removal;
use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, Pod, joining};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::Trace;

/// Left in the IPC namespace by a container that ends.
const TEXT: &str = "left by a";
/// What a pod shares, by its names below `/proc/PID/ns`.
const KINDS: [NsKind; 3] = [NsKind::Net, NsKind::Ipc, NsKind::Uts];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-16",
    name: "namespaces_outlive_the_applications",
    level: Level::Must,
    statement: "Killing all application containers leaves the pod's net, IPC and UTS namespaces alive with \
                unchanged identity.",
    source: "Kubernetes build/pause (the pause program holds the namespaces of a pod)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A sandbox and the containers a and b; the witness in a leaves a shared memory segment. Both are \
               killed and deleted, the suite keeps no descriptor, and a container c joins the sandbox's \
               namespaces by their paths.",
    inside: "c reads the same inodes for net, ipc and uts and the same network cookie as a and b did, and it \
             reads the text in a's segment.",
    kernel: "No end of the sandbox's process up to the fence (sched_process_exit), and the namespaces that each \
             program was executed in (sched_process_exec).",
    defects: &[(
        "ns-16-dies-with-the-last",
        "the sandbox is removed together with the last application container",
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
    let mut pod = cell.pod(false, &["a", "b"])?;
    let key = facts::shm_key(16);
    let timeout = cell.deadline(5.0);
    let mut evidence = Evidence::default();
    for member in &mut pod.members {
        born_into(&mut evidence, member);
        if member.name == "a" {
            member.witness()?.ask(Command::ShmCreate { key, text: TEXT.to_owned() }, timeout)?;
        }
    }
    end_all(cell, &mut pod)?;

    let (mut c, call) =
        cell.try_create(&joining(Bundle::witness("c"), pod.sandbox.pid, false), &Caller::default())?;
    let mut joined = call.ok();
    if joined {
        joined = cell.start(&c).is_ok() && cell.greet(&mut c).is_ok();
    }
    evidence.inside("c.joined", joined, call.summary());
    if joined {
        born_into(&mut evidence, &c);
        let read = c.witness()?.ask(Command::ShmRead { key }, timeout)?;
        let text = read["text"].as_str().unwrap_or_default();
        evidence.inside("segment.text", text, format!("witness c: shmat(2) of key {key:#x}"));
        if read["errno"] == 0 {
            c.witness()?.ask(Command::ShmRemove { key }, timeout)?;
        }
    }
    let trace = cell.trace()?;
    kernel_side(&mut evidence, &trace, &pod, &c);
    Ok(evidence)
}

/// Kills and deletes the application containers, and lets go of everything that holds their namespaces.
fn end_all(cell: &mut Cell<'_>, pod: &mut Pod) -> Result<(), Obstacle> {
    pod.members.iter_mut().try_for_each(|member| removal::end(cell, member).map(drop))
}

fn born_into(evidence: &mut Evidence, container: &Container) {
    for kind in KINDS {
        facts::inside_ns(evidence, container, kind.proc_name());
    }
    if let Some(cookie) = container.link.as_ref().and_then(|link| link.hello.birth.net_cookie) {
        let name = &container.name;
        evidence.inside(&format!("cookie.{name}"), cookie, format!("witness {name}: SO_NETNS_COOKIE"));
    }
}

fn kernel_side(evidence: &mut Evidence, trace: &Trace, pod: &Pod, c: &Container) {
    let source = "tp_btf/sched_process_exit, up to the fence";
    evidence.kernel("pause.ended", trace.end_of(pod.sandbox.pid).is_some(), source);
    let ended = pod.members.iter().filter(|member| trace.end_of(member.pid).is_some()).count();
    evidence.kernel("applications.ended", ended, source);
    let executed = trace.exec_of(c.pid, &c.program).is_some();
    evidence.kernel("c.executed", executed, "tp_btf/sched_process_exec, up to the fence");
    for container in pod.members.iter().chain([&pod.sandbox, c]) {
        for kind in KINDS {
            facts::kernel_ns(evidence, trace, container, kind);
        }
    }
    facts::keep_trace(evidence, trace, |kind| {
        matches!(kind, EventKind::Exec { .. } | EventKind::Exit { .. } | EventKind::Shmget { .. })
    });
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    if !side.flag("c.joined")? {
        return Ok(Finding::new(
            false,
            "a third container can join",
            "it cannot join the sandbox's namespaces",
        ));
    }
    let text = side.text("segment.text")?;
    let left = Finding::new(
        text == TEXT,
        format!("a's segment still says `{TEXT}`"),
        format!("the segment of a's key says `{text}`"),
    );
    let cookies = facts::all_equal(side, "network cookie", &["cookie.a", "cookie.b", "cookie.c"])?;
    KINDS
        .into_iter()
        .try_fold(left.and(cookies), |found, kind| Ok(found.and(unchanged(side, kind, &["a", "b", "c"])?)))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (ended, applications, executed) =
        (side.flag("pause.ended")?, side.number("applications.ended")?, side.flag("c.executed")?);
    if applications != 2 {
        return Err(Gap("the end of both applications".to_owned()));
    }
    let kept = Finding::new(
        !ended && executed,
        "the sandbox outlives both applications and c's program is executed",
        format!("the sandbox ended: {ended}, c's program was executed: {executed}"),
    );
    if !kept.holds {
        return Ok(kept);
    }
    KINDS
        .into_iter()
        .try_fold(kept, |found, kind| Ok(found.and(unchanged(side, kind, &["pause", "a", "b", "c"])?)))
}

fn unchanged(side: &Side<'_>, kind: NsKind, names: &[&str]) -> Result<Finding, Gap> {
    let keys: Vec<String> = names.iter().map(|name| format!("{kind}.{name}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    facts::all_equal(side, &format!("{kind} namespace"), &keys)
}
