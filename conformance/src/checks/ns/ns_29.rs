//! NS-29: a container's cgroup namespace is its own, and begins at its cgroup.

use podproof_ebpf::event::NsKind;

use super::{cgroup_roots, matrix};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;

/// Where containers see their cgroups.
const MOUNT: &str = "/sys/fs/cgroup";
const NAMES: [&str; 2] = ["a", "b"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-29",
    name: "a_container_has_its_own_cgroup_namespace",
    level: Level::Should,
    statement: "On cgroup v2 an ordinary container has a private cgroup namespace rooted at its own cgroup.",
    source: "cgroup_namespaces(7); containerd's CRI plugin (unified mode, not privileged)",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with the containers a and b, which are not privileged, on a node with cgroup v2.",
    inside: "Each witness has a cgroup namespace that neither the node nor the other has, its /proc/self/cgroup is 0::/, and \
             the root of its mount /sys/fs/cgroup is / in its mountinfo.",
    kernel: "The cgroup namespaces that the programs were executed in differ (sched_process_exec), and the maker of each was \
             at that moment (task_newtask, cgroup_attach_task, unshare) in the cgroup that the pod layer names for the \
             container.",
    defects: &[("ns-29-the-nodes", "no cgroup namespace is made: containers have the node's")],
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
        let name = &member.name;
        cgroup_roots::view(&mut evidence, member);
        cgroup_roots::made_in(&mut evidence, &trace, member);
        if let Some(root) = mounted_root(member) {
            let source = format!("witness {name}: /proc/self/mountinfo, root of {MOUNT}");
            evidence.inside(&format!("root.{name}"), root, source);
        }
        let source = format!("inode of {}, which the pod layer names for {name}", member.cgroup);
        evidence.kernel_if(&format!("own.{name}"), member.v2().id().ok(), source);
    }
    cgroup_roots::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

/// What part of the hierarchy a container sees.
fn mounted_root(container: &Container) -> Option<String> {
    let mountinfo = container.link.as_ref()?.hello.birth.mountinfo.as_deref()?;
    let mounts = process::mounts(mountinfo).into_iter();
    mounts.rev().find(|mount| mount.target == MOUNT && mount.fstype == "cgroup2").map(|mount| mount.root)
}

fn own(side: &Side<'_>) -> Result<Finding, Gap> {
    facts::all_differ(side, "cgroup namespace", &["cgroup.node", "cgroup.pause", "cgroup.a", "cgroup.b"])
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let rooted = matrix::each(NAMES, |name| {
        let root = side.text(&format!("root.{name}"))?;
        let expected = format!("the root of {MOUNT} is / for {name}");
        let mounted =
            Finding::new(root == "/", expected, format!("the root of {MOUNT} is {root} for {name}"));
        Ok(cgroup_roots::is_root(side, name)?.and(mounted))
    })?;
    Ok(own(side)?.and(rooted))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let own = own(side)?;
    if !own.holds {
        return Ok(own);
    }
    let rooted = matrix::each(NAMES, |name| {
        let keys = ["made_in", "executed_in", "own"].map(|fact| format!("{fact}.{name}"));
        facts::all_equal(side, "cgroup", &keys.each_ref().map(String::as_str))
    })?;
    Ok(own.and(rooted))
}
