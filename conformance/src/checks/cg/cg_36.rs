//! CG-36: delete removes the container's cgroup with all its sub-groups.

use std::collections::BTreeSet;
use std::fs;

use podproof_ebpf::event::EventKind;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::Trace;

const REQUIREMENT: Requirement = Requirement {
    id: "CG-36",
    name: "delete_removes_all_cgroups",
    level: Level::Must,
    statement: "After delete no cgroup of the container remains, including sub-groups made below it (from inside where \
                writable, else from the node).",
    source: "runtime-spec runtime.md#delete",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "While a container runs, the suite makes a sub-group and another one in that below the container's \
               cgroup, on the node, with no process in them. The container is killed; when its process has ended, it \
               is deleted.",
    inside: "A scan of the cgroup file system finds no directory of the container.",
    kernel: "For each cgroup made at or below the container's (cgroup_mkdir) its removal follows (cgroup_rmdir).",
    defects: &[("cg-36-subgroups-left", "only the top directory is removed, and the error ignored")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Limits,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let container = cell.container(&Bundle::witness("a"))?;
    let deepest = container.v2().dir().join("sub/deeper");
    fs::create_dir_all(&deepest).map_err(|source| Obstacle::Node {
        op: "make the cgroup",
        path: deepest.clone(),
        source,
    })?;
    succeeded(&cell.kill(&container.id, "KILL")?)?;
    // Not what is judged here: a cgroup is busy as long as a process in it is dying.
    if cell.wait(container.pid, cell.deadline(5.0))?.is_none() {
        return Err(Obstacle::Runtime("the container's process did not end after kill".to_owned()));
    }
    let delete = cell.delete(&container.id)?;
    let left = cell.run.layout.existing(&container.cgroup);
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let left: Vec<String> = left.into_iter().map(|path| path.display().to_string()).collect();
    evidence.inside("directories.left", left, "cgroup file system, scanned on the node after delete");
    let (made, removed) = changes(&trace, &container.cgroup);
    evidence.kernel("made", made, "tp_btf/cgroup_mkdir, ids at or below the container's cgroup");
    evidence.kernel("removed", removed, "tp_btf/cgroup_rmdir, up to the fence");
    facts::told(&mut evidence, "delete.succeeded", delete.ok(), "runtime: delete exits with 0");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::CgroupMkdir { .. } | EventKind::CgroupRmdir { .. })
    });
    Ok(evidence)
}

/// Ids of the cgroups that were made and removed at or below a path of the v2 hierarchy.
fn changes(trace: &Trace, path: &str) -> (Vec<u64>, Vec<u64>) {
    let below = |hierarchy: u32, at: &str| {
        hierarchy == 0 && at.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let (mut made, mut removed) = (BTreeSet::new(), BTreeSet::new());
    for event in &trace.events {
        match &event.kind {
            EventKind::CgroupMkdir { id, hierarchy, path } if below(*hierarchy, path) => made.insert(*id),
            EventKind::CgroupRmdir { id, hierarchy, path } if below(*hierarchy, path) => removed.insert(*id),
            _ => false,
        };
    }
    (made.into_iter().collect(), removed.into_iter().collect())
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (left, succeeded) = (side.texts("directories.left")?, side.flag("delete.succeeded")?);
    let observed = match left.as_slice() {
        [] => format!("no directory is left, delete succeeded: {succeeded}"),
        left => format!("left behind: {}", left.join(", ")),
    };
    Ok(Finding::new(left.is_empty() && succeeded, "delete succeeds and no directory is left", observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (made, removed) = (side.set("made")?, side.set("removed")?);
    let succeeded = side.flag("delete.succeeded")?;
    // The container's, and the two of the suite.
    if made.len() < 3 {
        return Err(Gap("the creation of the container's cgroup and of the two below it".to_owned()));
    }
    let left: Vec<&u64> = made.difference(&removed).collect();
    let observed =
        format!("{} made, {} of them not removed, delete succeeded: {succeeded}", made.len(), left.len());
    Ok(Finding::new(left.is_empty() && succeeded, "a removal for each cgroup made", observed))
}
