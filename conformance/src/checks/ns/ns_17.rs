//! NS-17: a restarted container comes back into the namespaces of its pod.

use podproof_ebpf::event::NsKind;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::inode;

const REQUIREMENT: Requirement = Requirement {
    id: "NS-17",
    name: "a_restarted_container_finds_its_namespaces_again",
    level: Level::Must,
    statement: "A restarted application container comes back into the same shared namespaces.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#restart-policy, concepts/workloads/pods#pod-networking",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with restartPolicy OnFailure and the containers a and b. a exits with 1 three times.",
    inside: "The network, IPC and UTS namespaces that each run of a, and b, were born into.",
    kernel: "The same namespaces at the exec of each run (sched_process_exec).",
    defects: &[("ns-17-own-ipc-again", "a restarted container gets an IPC namespace of its own")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Restarts,
    turn: Turn::Any,
    observe,
    rules: Rules { inside: rule, kernel: rule },
};

const KINDS: [NsKind; 3] = [NsKind::Net, NsKind::Ipc, NsKind::Uts];
/// The runs of a, and b, as the facts call them.
const RUNS: [&str; 5] = ["a-0", "a-1", "a-2", "a-3", "b"];

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &["a", "b"]).restarted("OnFailure"))?;
    let b = pod.members.pop();
    let mut runs = pod.members;
    for _restart in 0..3 {
        if let Some(last) = runs.last_mut() {
            pods::exit(last, 1)?;
        }
        runs.push(cell.member(&pod.name, "a")?);
    }
    runs.extend(b);
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for (mut run, name) in runs.into_iter().zip(RUNS) {
        name.clone_into(&mut run.name);
        for kind in KINDS {
            facts::inside_ns(&mut evidence, &run, kind.proc_name());
            if let Some(exec) = trace.exec_of(run.outer_pid(), &run.program) {
                let key = format!("{kind}.{name}");
                evidence.kernel_if(&key, inode(exec.task.ns.get(kind)), exec.event.source.clone());
            }
        }
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn rule(side: &Side<'_>) -> Result<Finding, Gap> {
    let of = |kind: NsKind| {
        let keys: Vec<String> = RUNS.iter().map(|name| format!("{kind}.{name}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        facts::all_equal(side, &format!("{kind} namespace"), &keys)
    };
    Ok(of(KINDS[0])?.and(of(KINDS[1])?).and(of(KINDS[2])?))
}
