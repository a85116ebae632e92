//! NS-11: a path to a namespace of another type is an error.

use std::fs;
use std::time::Duration;

use podproof_ebpf::event::EventKind;

use crate::adapter::oci::Caller;
use crate::bundle::{Bundle, NsSource};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "NS-11",
    name: "a_path_of_another_type_is_refused",
    level: Level::Must,
    statement: "A path that is a namespace of another type makes create fail and leaves no container.",
    source: "runtime-spec config-linux.md#namespaces",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A container that joins the node's network namespace by path is created and deleted. Then the same \
               bundle has the path of the node's UTS namespace in that place; should create succeed, it is \
               started as well.",
    inside: "create returns an error, so does `state`, the runtime's state directory is empty, and no witness \
             calls.",
    kernel: "create returns an error; every process that it made has ended, the program was never executed \
             (sched_process_exit, sched_process_exec), and the cgroup of the bundle does not exist.",
    defects: &[("ns-11-any-type", "the path is joined as the type that it is, whatever the bundle says")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    serial: false,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let own = |kind: &str| NsSource::Path(format!("/proc/{}/ns/{kind}", std::process::id()));
    let joining = |name: &str, kind: &str| {
        Bundle::witness(name).namespace("uts", NsSource::Inherited).namespace("network", own(kind))
    };
    // With a path of the right type the same bundle is good: what fails below is the type.
    let control = cell.create(&joining("b", "net"))?;
    succeeded(&cell.call(&["delete", "--force", &control.id])?)?;
    let (mut container, created) = cell.try_create(&joining("a", "uts"), &Caller::default())?;
    // A runtime that accepts the path has a container: what becomes of it shows what was accepted.
    let greeted = created.ok() && cell.start(&container).is_ok() && cell.greet(&mut container).is_ok();
    let known = cell.call(&["state", &container.id])?;
    let remembered = fs::read_dir(cell.state_root()).map_or(0, |entries| entries.flatten().count());
    // The end of a failed create's processes may follow its answer; a container that was made stays.
    let patience = if created.ok() { Duration::ZERO } else { cell.deadline(3.0) };
    let living = cell.settled(patience)?;
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("create.failed", !created.ok(), created.summary());
    evidence.kernel("create.failed", !created.ok(), created.summary());
    evidence.inside("state.failed", !known.ok(), known.summary());
    evidence.inside("state.entries", remembered, format!("node: entries of {}", cell.state_root().display()));
    evidence.inside("witness.called", greeted, "witness a: its hello");
    let execs = trace.execs().filter(|exec| exec.filename == container.program).count();
    evidence.kernel("program.execs", execs, "tp_btf/sched_process_exec, up to the fence");
    evidence.kernel("processes.left", living, "tp_btf/sched_process_fork and _exit, up to the fence");
    let cgroups: Vec<String> =
        cell.run.layout.existing(&container.cgroup).iter().map(|path| path.display().to_string()).collect();
    evidence.kernel("cgroups.left", cgroups, "cgroup file systems of the node");
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Exec { .. } | EventKind::Exit { .. })
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (failed, unknown) = (side.flag("create.failed")?, side.flag("state.failed")?);
    let (entries, called) = (side.number("state.entries")?, side.flag("witness.called")?);
    let seen = format!("create failed: {failed}, state failed: {unknown}, entries of the state: {entries}");
    Ok(Finding::new(
        failed && unknown && entries == 0 && !called,
        "create and state fail, no state is kept, and no program calls",
        format!("{seen}, a program called: {called}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (failed, execs) = (side.flag("create.failed")?, side.number("program.execs")?);
    let (living, cgroups) = (side.number("processes.left")?, side.texts("cgroups.left")?.join(", "));
    let seen = format!("create failed: {failed}, execs of the program: {execs}");
    Ok(Finding::new(
        failed && execs == 0 && living == 0 && cgroups.is_empty(),
        "create fails, the program is not executed, no process and no cgroup is left",
        format!("{seen}, processes left: {living}, cgroups left: [{cgroups}]"),
    ))
}
