//! NS-30: the cgroup namespace begins at the final cgroup.

use podproof_ebpf::event::NsKind;

use super::{cgroup_roots, matrix};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const NAMES: [&str; 2] = ["a", "b"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-30",
    name: "the_cgroup_namespace_comes_last",
    level: Level::Must,
    statement: "The cgroup namespace is created after the process is in its final cgroup, so no /.. component and no host \
                path shows.",
    source: "cgroup_namespaces(7)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, each with a new cgroup namespace.",
    inside: "Each witness's /proc/self/cgroup is 0::/, and no more.",
    kernel: "The cgroup that the maker of each cgroup namespace was in at that moment (task_newtask, cgroup_attach_task, \
             unshare) is the one that the program was executed in (sched_process_exec).",
    defects: &[(
        "ns-30-unshared-first",
        "the cgroup namespace is made before the process is moved to its cgroup",
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
    cell.need_cgroup_v2()?;
    let pod = cell.pod(false, &NAMES)?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    matrix::node(&mut evidence, &[NsKind::Cgroup]);
    matrix::pod(&mut evidence, &trace, &pod, &[NsKind::Cgroup]);
    for member in &pod.members {
        cgroup_roots::view(&mut evidence, member);
        cgroup_roots::made_in(&mut evidence, &trace, member);
    }
    cgroup_roots::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(NAMES, |name| cgroup_roots::is_root(side, name))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(NAMES, |name| {
        let (made, executed) = (format!("made_in.{name}"), format!("executed_in.{name}"));
        let own = facts::all_differ(side, "cgroup namespace", &["cgroup.node", &format!("cgroup.{name}")])?;
        Ok(own.and(facts::all_equal(side, "cgroup", &[&made, &executed])?))
    })
}
