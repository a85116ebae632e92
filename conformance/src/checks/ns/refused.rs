//! The scenario of several checks: a bundle that create has to refuse, and what is looked for after that.

use std::fs;
use std::time::Duration;

use podproof_ebpf::event::EventKind;

use crate::adapter::oci::Caller;
use crate::bundle::Bundle;
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::facts;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::process;

/// What is seen inside, in words.
pub(super) const INSIDE: &str = "create ends with an error, by no signal, so does `state`, the runtime's state \
                                 directory is empty, and no witness calls.";
/// What the kernel shows, in words.
pub(super) const KERNEL: &str = "create returns an error; every process that it made has ended, the program was never \
                                 executed (sched_process_exit, sched_process_exec), the cgroup of the bundle does not \
                                 exist, and nothing is mounted.";

/// Creates and deletes the good bundle, then creates each bad one. Should that succeed, it is started as well.
pub(super) fn observe(cell: &mut Cell<'_>, good: &Bundle, bad: &[Bundle]) -> Result<Evidence, Obstacle> {
    // Nothing else is wrong with the bad ones. How long a forced delete waits for the end of what it kills is not asked here.
    let control = cell.create(good)?;
    succeeded(&cell.kill(&control.id, "KILL")?)?;
    cell.wait(control.pid, cell.deadline(5.0))?;
    succeeded(&cell.delete(&control.id)?)?;
    let mut evidence = Evidence::default();
    for bundle in bad {
        refuse(cell, bundle, &mut evidence)?;
    }
    facts::keep_trace(&mut evidence, &cell.trace()?, |kind| {
        matches!(kind, EventKind::Setns { .. } | EventKind::Exec { .. } | EventKind::Exit { .. })
    });
    Ok(evidence)
}

fn refuse(cell: &mut Cell<'_>, bundle: &Bundle, evidence: &mut Evidence) -> Result<(), Obstacle> {
    let remembered =
        |cell: &Cell<'_>| fs::read_dir(cell.state_root()).map_or(0, |list| list.flatten().count());
    let before = remembered(cell);
    let (mut container, created) = cell.try_create(bundle, &Caller::default())?;
    // A runtime that accepts it has a container: what becomes of it shows what was accepted.
    let greeted = created.ok() && cell.start(&container).is_ok() && cell.greet(&mut container).is_ok();
    let known = cell.call(&["state", &container.id])?;
    let entries = remembered(cell).saturating_sub(before);
    // The end of a failed create's processes may follow its answer; a container that was made stays.
    let patience = if created.ok() { Duration::ZERO } else { cell.deadline(3.0) };
    cell.settled(patience)?;
    let trace = cell.trace()?;

    let name = &container.name;
    facts::told(evidence, &format!("create.failed.{name}"), created.refused(), &created.summary());
    evidence.inside(&format!("state.failed.{name}"), !known.ok(), known.summary());
    let source = format!("node: new entries of {}", cell.state_root().display());
    evidence.inside(&format!("state.entries.{name}"), entries, source);
    evidence.inside(&format!("witness.called.{name}"), greeted, format!("witness {name}: its hello"));
    let since = |time_ns: u64| time_ns >= created.started_ns;
    let execs =
        trace.execs().filter(|exec| exec.filename == container.program && since(exec.event.time_ns)).count();
    let source = "tp_btf/sched_process_exec, up to the fence";
    evidence.kernel(&format!("program.execs.{name}"), execs, source);
    let living = trace.living().iter().filter(|birth| since(birth.event.time_ns)).count();
    let source = "tp_btf/sched_process_fork and _exit, up to the fence";
    evidence.kernel(&format!("processes.left.{name}"), living, source);
    let cgroups: Vec<String> =
        cell.run.layout.existing(&container.cgroup).iter().map(|path| path.display().to_string()).collect();
    evidence.kernel(&format!("cgroups.left.{name}"), cgroups, "cgroup file systems of the node");
    let mounts = process::mounts_below(cell.dir());
    evidence.kernel(&format!("mounts.left.{name}"), mounts, "/proc/self/mountinfo of the node");
    if created.ok() {
        // The next one is looked at alone.
        cell.call(&["delete", "--force", &container.id])?;
    }
    Ok(())
}

/// The rule of the witness inside for containers of these names.
pub(super) fn inside(side: &Side<'_>, names: &[&str]) -> Result<Finding, Gap> {
    each(names, |name| {
        let flag = |fact: &str| side.flag(&format!("{fact}.{name}"));
        let (failed, unknown, called) =
            (flag("create.failed")?, flag("state.failed")?, flag("witness.called")?);
        let entries = side.number(&format!("state.entries.{name}"))?;
        let seen =
            format!("create failed: {failed}, state failed: {unknown}, entries of the state: {entries}");
        Ok(Finding::new(
            failed && unknown && entries == 0 && !called,
            "create and state fail, no state is kept, and no program calls",
            format!("{name}: {seen}, a program called: {called}"),
        ))
    })
}

/// The rule of the kernel for containers of these names.
pub(super) fn kernel(side: &Side<'_>, names: &[&str]) -> Result<Finding, Gap> {
    each(names, |name| {
        let number = |fact: &str| side.number(&format!("{fact}.{name}"));
        let list = |fact: &str| side.texts(&format!("{fact}.{name}")).map(|list| list.join(", "));
        let failed = side.flag(&format!("create.failed.{name}"))?;
        let (execs, living) = (number("program.execs")?, number("processes.left")?);
        let (cgroups, mounts) = (list("cgroups.left")?, list("mounts.left")?);
        let seen =
            format!("create failed: {failed}, execs of the program: {execs}, processes left: {living}");
        Ok(Finding::new(
            failed && execs == 0 && living == 0 && cgroups.is_empty() && mounts.is_empty(),
            "create fails, the program is not executed, no process, no cgroup and no mount is left",
            format!("{name}: {seen}, cgroups left: [{cgroups}], mounts left: [{mounts}]"),
        ))
    })
}

fn each(names: &[&str], find: impl Fn(&str) -> Result<Finding, Gap>) -> Result<Finding, Gap> {
    names.iter().try_fold(Finding::new(true, "", ""), |found, name| Ok(found.and(find(name)?)))
}
