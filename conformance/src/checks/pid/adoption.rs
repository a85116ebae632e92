//! Who adopts orphans: what a witness reads of their parents, and what the kernel shows.

use podproof_ebpf::event::EventKind;
use podproof_witness::{Command, ListedProcess};

use crate::cell::{Cell, Container, Obstacle};
use crate::checks::facts;
use crate::checks::reap::orphans::Orphans;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::trace::Trace;

/// How many orphans each container makes.
pub(super) const ORPHANS: u32 = 3;

/// Has a container make orphans, reads their parents inside, and lets them end.
pub(super) fn observe(
    cell: &Cell<'_>,
    container: &mut Container,
    evidence: &mut Evidence,
) -> Result<Orphans, Obstacle> {
    let orphans = Orphans::make(cell, container, ORPHANS)?;
    let listed: Vec<ListedProcess> = container.witness()?.ask_as(Command::Processes, cell.deadline(10.0))?;
    let parents: Vec<u32> = listed
        .iter()
        .filter(|process| orphans.inner.contains(&process.pid))
        .map(|process| process.ppid)
        .collect();
    let name = &container.name;
    let source = format!("witness {name}: parents of its orphans in /proc/PID/stat");
    evidence.inside(&format!("parents.{name}"), parents, source);
    orphans.release(cell, container)?;
    Ok(orphans)
}

/// Adds who had adopted the orphans of a container when they ended, by the numbers of the node.
pub(super) fn adopters(evidence: &mut Evidence, trace: &Trace, name: &str, orphans: &Orphans) {
    let mut source = "tp_btf/sched_process_exit: no new parent up to the fence".to_owned();
    let mut adopters = Vec::new();
    for event in &trace.events {
        if let EventKind::Reparent { task, to, .. } = &event.kind
            && orphans.outer.contains(&task.tgid)
        {
            adopters.push(to.tgid);
            source = format!("{}: parent of each orphan at its end", event.source);
        }
    }
    evidence.kernel(&format!("adopters.{name}"), adopters, source);
}

/// Keeps what the report shows of the orphans' lives.
pub(super) fn keep_trace(evidence: &mut Evidence, trace: &Trace, orphans: &[&Orphans]) {
    // No signals: no process has the number 0.
    facts::keep_trace(evidence, trace, |kind| orphans.iter().any(|orphans| orphans.concerns(kind, 0)));
}

/// Whether the list of parents under this key is that of all orphans, and each is this one.
pub(super) fn all_by(side: &Side<'_>, key: &str, expected: u64, whom: &str) -> Result<Finding, Gap> {
    let parents = side.numbers(key)?;
    if parents.len() != ORPHANS as usize {
        return Err(Gap(format!("{key}: {ORPHANS} adoptions (there are {})", parents.len())));
    }
    Ok(Finding::new(
        parents.iter().all(|parent| *parent == expected),
        format!("every orphan is adopted by {whom} ({expected})"),
        format!("{key} = {parents:?}"),
    ))
}
