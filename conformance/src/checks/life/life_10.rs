//! LIFE-10: a deleted container is unknown, and its id is free.

use podproof_ebpf::event::EventKind;

use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::{Exec, Trace, is};

const REQUIREMENT: Requirement = Requirement {
    id: "LIFE-10",
    name: "a_deleted_id_is_free",
    level: Level::Must,
    statement: "After delete the container is unknown and its id can be used again at once.",
    source: "runtime-spec runtime.md#delete",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container is killed and deleted; `state` is asked, and then a second container with the same id is \
               created and started at once.",
    inside: "`state` fails, `create` succeeds, and the witness of the second container calls.",
    kernel: "Every process of the first container has ended, its cgroup directories and mounts are gone before the \
             second create, and the program is executed a second time (sched_process_exec).",
    defects: &[
        ("life-10-state-left", "delete leaves the container's state behind"),
        ("life-10-deleted-later", "delete answers at once, and the work is done after the next question"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let bundle = Bundle::witness("a");
    let first = cell.container(&bundle)?;
    succeeded(&cell.kill(&first.id, "KILL")?)?;
    cell.wait(first.pid, cell.deadline(5.0))?;
    succeeded(&cell.delete(&first.id)?)?;
    let known = cell.call(&["state", &first.id])?.ok();
    let (cgroups, mounts) = (cgroups(cell, &first), process::mounts_below(cell.dir()));
    // Refusing it is what this check looks for, so it is a fact and no obstacle.
    let (mut second, create) = cell.try_create(&bundle, &Caller::default())?;
    let runs = create.ok() && cell.call(&["start", &second.id])?.ok() && cell.greet(&mut second).is_ok();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("second.runs", runs, "witness a: hello of the second container");
    evidence.kernel_if(
        "processes.left",
        left(&trace, &first, create.started_ns),
        "tp_btf/sched_process_exit",
    );
    evidence.kernel("cgroups.left", cgroups, "cgroup file systems, before the second create");
    evidence.kernel("mounts.left", mounts, "/proc/self/mountinfo of the node, before the second create");
    let again = trace
        .execs()
        .any(|exec| exec.filename == second.program && create.ok() && exec.event.time_ns > create.started_ns);
    evidence.kernel("second.executed", again, "tp_btf/sched_process_exec, up to the fence");
    facts::told(&mut evidence, "known", known, "runtime: state after delete exits with 0");
    facts::told(&mut evidence, "created_again", create.ok(), "runtime: create with the same id exits with 0");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(
            kind,
            EventKind::Exec { .. }
                | EventKind::Exit { group_dead: true, .. }
                | EventKind::CgroupMkdir { .. }
                | EventKind::CgroupRmdir { .. }
        )
    });
    Ok(evidence)
}

/// Processes born into the first container's pid namespace that had not ended at this time.
fn left(trace: &Trace, first: &Container, at_ns: u64) -> Option<Vec<u32>> {
    let is_first = |exec: &Exec<'_>| is(exec.task.task, first.pid) && exec.event.time_ns <= at_ns;
    let exec = trace.execs().find(|exec| exec.filename == first.program && is_first(exec))?;
    let pid_ns = exec.task.ns.pid?;
    let ended = |tgid: u32| {
        trace
            .exits()
            .any(|exit| exit.group_dead && exit.task.task.tgid == tgid && exit.event.time_ns <= at_ns)
    };
    let mut born: Vec<u32> = trace
        .births()
        .filter(|birth| birth.event.time_ns <= at_ns && birth.child.ns.pid == Some(pid_ns))
        .map(|birth| birth.child.task.tgid)
        .filter(|tgid| !ended(*tgid))
        .collect();
    born.dedup();
    Some(born)
}

fn cgroups(cell: &Cell<'_>, container: &Container) -> Vec<String> {
    let left = cell.run.layout.existing(&container.cgroup);
    left.into_iter().map(|path| path.display().to_string()).collect()
}

const EXPECTED: &str = "state does not know the id, and a second container with it is created and runs";

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (known, created, runs) =
        (side.flag("known")?, side.flag("created_again")?, side.flag("second.runs")?);
    let observed = format!("known after delete: {known}; created again: {created}; runs: {runs}");
    Ok(Finding::new(!known && created && runs, EXPECTED, observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (known, created, executed) =
        (side.flag("known")?, side.flag("created_again")?, side.flag("second.executed")?);
    let (processes, cgroups, mounts) =
        (side.numbers("processes.left")?, side.texts("cgroups.left")?, side.texts("mounts.left")?);
    let clean = processes.is_empty() && cgroups.is_empty() && mounts.is_empty();
    let observed = format!(
        "known after delete: {known}; created again: {created}; executed: {executed}; left: processes {processes:?}, \
         cgroups {cgroups:?}, mounts {mounts:?}"
    );
    Ok(Finding::new(!known && created && executed && clean, EXPECTED, observed))
}
