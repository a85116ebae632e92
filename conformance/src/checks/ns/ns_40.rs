//! NS-40: the main process is where its children will be.

use podproof_ebpf::event::NsKind;

use super::matrix;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

/// Where a process is, and where its children will be.
const PAIRS: [(NsKind, NsKind); 2] =
    [(NsKind::Pid, NsKind::PidForChildren), (NsKind::Time, NsKind::TimeForChildren)];
const NAMES: [&str; 2] = ["a", "b"];

const REQUIREMENT: Requirement = Requirement {
    id: "NS-40",
    name: "children_stay_in_the_main_processs_namespaces",
    level: Level::Should,
    statement: "pid_for_children and time_for_children of the main process equal its pid and time namespaces.",
    source: "namespaces(7) /proc/pid/ns",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and the containers a and b, which share its PID namespace.",
    inside: "Each witness reads the four links of its /proc/self/ns.",
    kernel: "The namespaces that each program was executed in, for itself and for its children (sched_process_exec).",
    defects: &[(
        "ns-40-half-unshared",
        "a joining container is left with an unshare(CLONE_NEWPID) that no fork has followed",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let pod = cell.pod(true, &NAMES)?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    for member in &pod.members {
        for (own, children) in PAIRS {
            matrix::container(&mut evidence, &trace, member, &[own, children]);
            link(&mut evidence, member, own, children);
        }
    }
    matrix::keep_trace(&mut evidence, &trace);
    Ok(evidence)
}

/// Whether the witness's link for its children leads anywhere. It does not where nobody has been born yet into a PID
/// namespace that was made for them (namespaces(7)).
fn link(evidence: &mut Evidence, container: &Container, own: NsKind, children: NsKind) {
    let Some(link) = &container.link else { return };
    let has = |kind: NsKind| link.hello.birth.ns.contains_key(kind.proc_name());
    if has(own) {
        let source = format!("witness {}: /proc/self/ns/{children}", container.name);
        evidence.inside(&format!("link.{children}.{}", container.name), has(children), source);
    }
}

fn equal(side: &Side<'_>, name: &str, own: NsKind, children: NsKind) -> Result<Finding, Gap> {
    let (key, of_children) = (format!("{own}.{name}"), format!("{children}.{name}"));
    facts::all_equal(side, &format!("{own} namespace"), &[&key, &of_children])
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(NAMES, |name| {
        matrix::each(PAIRS, |(own, children)| {
            if side.flag(&format!("link.{children}.{name}"))? {
                return equal(side, name, own, children);
            }
            let seen = format!("{children} of {name} leads nowhere: it is a namespace without a process");
            Ok(Finding::new(false, format!("{children} of {name} is its {own} namespace"), seen))
        })
    })
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    matrix::each(NAMES, |name| matrix::each(PAIRS, |(own, children)| equal(side, name, own, children)))
}
