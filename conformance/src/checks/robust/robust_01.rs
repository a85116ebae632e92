//! ROBUST-01: what a killed `create` leaves, a forced delete removes.

use std::fs;

use podproof_ebpf::event::EventKind;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::Trace;
use crate::sweep::{Leak, Row};

const REQUIREMENT: Requirement = Requirement {
    id: "ROBUST-01",
    name: "a_killed_create_can_be_cleaned_up",
    level: Level::Must,
    statement: "Killing the runtime at any step of create leaves nothing that a following forced delete does not remove.",
    source: "runtime-spec runtime.md#errors; CRI api.proto (idempotence of removal)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container comes up and is deleted. Then `create` is killed (SIGKILL) as its N-th system call returns, for \
               24 of its calls, first those that change something; after each, `delete --force` is called (and `gc`, where \
               the runtime has it), and every process of the runtime is waited for.",
    inside: "Each cut was reached, and a comparison of the node with what it was before (processes, cgroups, mounts, \
             namespaces, interfaces, files) shows nothing more and nothing less.",
    kernel: "So many processes were killed in their calls (signal_generate); containers had been made by then \
             (task_newtask); no process had to be killed and no cgroup of the container removed by the suite \
             (signal_generate, cgroup_rmdir), and none is alive (sched_process_exit).",
    defects: &[
        (
            "robust-01-unfinished-unknown",
            "a forced delete takes a container whose create did not end for one that was never there",
        ),
        (
            "robust-01-waits-for-ever",
            "a process of create waits on a fifo for a word from the runtime, however long",
        ),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    // It compares the whole node before and after each cut.
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

/// Cut points, and how many of them have to be reached.
const CUTS: &str = "24";
const ENOUGH: u64 = 20;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    // What does nothing leaves nothing: it has to be able to make a container.
    let container = cell.container(&Bundle::witness("a"))?;
    cell.call(&["delete", "--force", &container.id])?;
    let document = cell.dir().join("sweep.json");
    let (runtime, json) = (cell.run.runtime.path.display().to_string(), document.display().to_string());
    let programs =
        [&cell.run.programs.witness, &cell.run.programs.pause].map(|path| path.display().to_string());
    let factor = cell.run.deadline_factor.to_string();
    let [witness, pause] = &programs;
    let arguments = [
        "sweep",
        &runtime,
        "--command",
        "create",
        "--sample",
        CUTS,
        "--json",
        &json,
        "--witness",
        witness,
        "--pause",
        pause,
        "--deadline-factor",
        &factor,
    ];
    let swept = cell.own(&arguments, cell.deadline(300.0))?;
    let text = fs::read(&document)
        .map_err(|_none| Obstacle::Runtime(format!("create could not be swept: {}", swept.said)))?;
    let nonsense = |what: String| Obstacle::Runtime(format!("the sweep of create: {what}"));
    let document: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| nonsense(error.to_string()))?;
    let run = &document["runs"][0];
    if let Some(reason) = run["unplayed"][0]["reason"].as_str() {
        return Err(nonsense(reason.to_owned()));
    }
    let row: Row =
        serde_json::from_value(run["rows"][0].clone()).map_err(|error| nonsense(error.to_string()))?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let source = "podproof sweep: create, killed at calls of its own";
    evidence.inside("cut_points", row.cut_points, source);
    evidence.inside("reached", row.killed, source);
    let leaks: Vec<String> = row.leaks.iter().filter_map(leak).collect();
    evidence.inside(
        "leaks",
        leaks,
        "podproof sweep: snapshots of the node before the cut and after the forced delete",
    );
    kernel_facts(&mut evidence, &trace, swept.pid);
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::SignalGenerate { signal: 9, .. } | EventKind::CgroupRmdir { .. })
    });
    Ok(evidence)
}

/// What was left, in words; nothing where the runtime only had something to say.
fn leak(leak: &Leak) -> Option<String> {
    let gone = leak.gone.iter().map(|object| format!("{object} is gone"));
    let objects: Vec<String> = leak.left.iter().cloned().chain(gone).collect();
    (!objects.is_empty())
        .then(|| format!("killed at call {} ({}): {}", leak.call, leak.name, objects.join(", ")))
}

fn kernel_facts(evidence: &mut Evidence, trace: &Trace, sweep: i32) {
    let own = process::namespaces(std::process::id().cast_signed()).get("pid").map(|id| id.ino);
    let sweep = u32::try_from(sweep).unwrap_or(0);
    let (mut cuts, mut killed, mut removed) = (0_u64, 0_u64, Vec::new());
    for event in &trace.events {
        match &event.kind {
            EventKind::SignalGenerate { signal: 9, target, .. } => {
                cuts += u64::from(event.current.tgid == target.tgid);
                killed += u64::from(event.current.tgid == sweep && target.tgid != sweep);
            }
            // The parent of the container's own cgroup is part of the arrangement.
            EventKind::CgroupRmdir { path, .. }
                if event.current.tgid == sweep && path.ends_with("-pod/swept") =>
            {
                removed.push(path.clone());
            }
            _ => {}
        }
    }
    let is_init = |inner: Option<u32>| inner == Some(1);
    let made = trace
        .births()
        .filter(|birth| is_init(birth.child.ns_pid()))
        .filter(|birth| birth.child.ns.get(podproof_ebpf::event::NsKind::Pid).map(u64::from) != own)
        .count();
    let living = trace.living().iter().filter(|birth| is_init(birth.child.ns_pid())).count();
    evidence.kernel("cuts", cuts, "tp_btf/signal_generate: SIGKILL in a call of the killed process itself");
    evidence.kernel("containers.made", made, "tp_btf/task_newtask: first processes of new pid namespaces");
    evidence.kernel("killed_by_suite", killed, "tp_btf/signal_generate: SIGKILL by the sweep");
    evidence.kernel("removed_by_suite", removed, "tp_btf/cgroup_rmdir by the sweep");
    evidence.kernel("living", living, "tp_btf/sched_process_exit, up to the fence");
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (reached, leaks) = (side.number("reached")?, side.texts("leaks")?);
    if reached < ENOUGH && leaks.is_empty() {
        return Err(Gap(format!("{ENOUGH} cuts that were reached ({reached})")));
    }
    let observed = match leaks.as_slice() {
        [] => format!("nothing is left after {reached} cuts"),
        [first, ..] => format!("something is left after {} of {reached} cuts; {first}", leaks.len()),
    };
    Ok(Finding::new(leaks.is_empty(), "nothing is left after any cut", observed))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (cuts, made) = (side.number("cuts")?, side.number("containers.made")?);
    let (killed, living) = (side.number("killed_by_suite")?, side.number("living")?);
    let removed = side.texts("removed_by_suite")?;
    let holds = killed == 0 && living == 0 && removed.is_empty();
    if holds && (cuts < ENOUGH || made < 2) {
        return Err(Gap(format!("{ENOUGH} kills and some containers ({cuts} and {made} were seen)")));
    }
    let observed = format!(
        "{cuts} kills; the suite had to kill {killed} processes and to remove {} cgroups; {living} live",
        removed.len()
    );
    Ok(Finding::new(holds, "no process and no cgroup is left for the suite to remove", observed))
}
