//! ROBUST-06: fifty pods that are created at the same time all come up, each with its own things.

use podproof_ebpf::event::{EventKind, NsKind};
use podproof_witness::WITNESS_PATH;

use crate::adapter::oci::Call;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::inode;

const REQUIREMENT: Requirement = Requirement {
    id: "ROBUST-06",
    name: "fifty_pods_at_once_come_up",
    level: Level::Must,
    // The catalog's row names addresses too: those are given by the network plugin, not by an OCI runtime.
    statement: "Fifty pods created in parallel all come up, with disjoint namespaces and cgroups.",
    source: "CRI api.proto RunPodSandbox; Kubernetes concepts/workloads/pods",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "Fifty sandboxes, each a container with new namespaces and a cgroup of its own, are created by fifty calls at \
               the same time, and then started the same way. A witness runs in each.",
    inside: "No call fails, every witness calls, and no two of them have a namespace in common.",
    kernel: "No call fails, and the fifty programs were executed in fifty namespaces of each kind and in fifty cgroups \
             (sched_process_exec).",
    defects: &[
        (
            "robust-06-fixed-file",
            "create keeps what it was asked for in a file whose name is always the same",
        ),
        ("robust-06-pool-empty", "from the thirty-third on, pods get no IPC namespace of their own"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Pod,
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

const PODS: u64 = 50;
/// Kinds of namespaces that each pod has for itself.
const KINDS: [NsKind; 5] = [NsKind::Net, NsKind::Ipc, NsKind::Uts, NsKind::Pid, NsKind::Mnt];
/// How many failures a report names.
const NAMED: usize = 3;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let bundles: Vec<Bundle> = (0..PODS).map(|nth| Bundle::witness(&format!("p{nth:02}"))).collect();
    let created = cell.create_all(&bundles)?;
    let mut failed: Vec<String> = summaries(created.iter().map(|(_, call)| call));
    let mut containers: Vec<Container> =
        created.into_iter().filter(|(_, call)| call.ok()).map(|(container, _)| container).collect();
    let starts: Vec<Vec<String>> =
        containers.iter().map(|container| vec!["start".to_owned(), container.id.clone()]).collect();
    let started = cell.call_all(&starts)?;
    failed.extend(summaries(&started));
    for (container, call) in containers.iter_mut().zip(&started) {
        // One that does not come is missed once; the others have come meanwhile.
        let patience = if failed.is_empty() { cell.deadline(20.0) } else { cell.deadline(1.0) };
        if call.ok() {
            container.link = cell.hello(&container.name, patience);
            if container.link.is_none() {
                failed.push(format!("{} runs no witness", container.id));
            }
        }
    }
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let n_failed = failed.len();
    failed.truncate(NAMED);
    facts::told(
        &mut evidence,
        "failures",
        n_failed,
        "runtime: exit statuses of create and start, and what came of them",
    );
    facts::told(&mut evidence, "failures.first", failed, "runtime: the first of them");
    let births: Vec<_> = containers.iter().filter_map(|container| container.link.as_ref()).collect();
    for kind in KINDS {
        let of = |link: &&crate::observe::witness::Link| {
            link.hello.birth.ns.get(kind.to_string().as_str()).map(|id| id.ino)
        };
        let inodes: Vec<u64> = births.iter().filter_map(of).collect();
        evidence.inside(&format!("born.{kind}"), inodes, format!("witnesses: stat /proc/self/ns/{kind}"));
    }
    let execs: Vec<_> = trace.execs().filter(|exec| exec.filename == WITNESS_PATH).collect();
    for kind in KINDS {
        let inodes: Vec<_> = execs.iter().filter_map(|exec| inode(exec.task.ns.get(kind))).collect();
        evidence.kernel(&format!("executed.{kind}"), inodes, "tp_btf/sched_process_exec");
    }
    let cgroups: Vec<u64> = execs.iter().map(|exec| exec.task.cgroup_id).collect();
    evidence.kernel("executed.cgroup", cgroups, "tp_btf/sched_process_exec");
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exec { .. }));
    Ok(evidence)
}

fn summaries<'c>(calls: impl IntoIterator<Item = &'c Call>) -> Vec<String> {
    calls.into_iter().filter(|call| !call.ok()).map(Call::summary).collect()
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let keys: Vec<String> = KINDS.iter().map(|kind| format!("born.{kind}")).collect();
    finding(side, &keys)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut keys: Vec<String> = KINDS.iter().map(|kind| format!("executed.{kind}")).collect();
    keys.push("executed.cgroup".to_owned());
    finding(side, &keys)
}

fn finding(side: &Side<'_>, keys: &[String]) -> Result<Finding, Gap> {
    let (failures, first) = (side.number("failures")?, side.texts("failures.first")?);
    let observed = if failures == 0 {
        "no call failed".to_owned()
    } else {
        format!("{failures} failures: {}", first.join("; "))
    };
    let mut all = Finding::new(failures == 0, "no call fails, and every program runs", observed);
    for key in keys {
        let (values, distinct) = (side.numbers(key)?, side.set(key)?);
        let holds = u64::try_from(values.len()) == Ok(PODS) && values.len() == distinct.len();
        let observed = format!("{key}: {} of {} differ", distinct.len(), values.len());
        all = all.and(Finding::new(holds, format!("{key}: {PODS} of {PODS} differ"), observed));
    }
    Ok(all)
}
