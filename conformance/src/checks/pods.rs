//! Facts of pods under their supervisor: the lives of a container's program, and the signals that it was sent.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::EventKind;
use podproof_witness::{CaughtSignal, Command, WITNESS_PATH};

use crate::cell::{Cell, Container, Obstacle};
use crate::evidence::Evidence;
use crate::observe::trace::{Exec, Exit, Trace};
use crate::observe::witness::{Link, WitnessError};

/// One run of the witness's program in a container, from its exec to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life<'t> {
    /// Its number on the node.
    pub(super) tgid: i32,
    pub(super) exec: Exec<'t>,
    pub(super) end: Option<Exit<'t>>,
}

impl Life<'_> {
    /// Its exit code, or 128 and the number of the signal that ended it.
    pub(super) fn code(&self) -> Option<u32> {
        let status = self.end?.status;
        Some(if status & 0x7f == 0 { (status >> 8) & 0xff } else { 128 + (status & 0x7f) })
    }
}

/// The programs of the suite that were executed in the cgroup at this path, in their order. A container that is started again may
/// have its cgroup anew.
pub(super) fn lives<'t>(trace: &'t Trace, cgroup: &str) -> Vec<Life<'t>> {
    let ids = cgroup_ids(trace, cgroup);
    let execs = trace.execs().filter(|exec| exec.filename == WITNESS_PATH);
    execs
        .filter(|exec| ids.contains(&exec.task.cgroup_id))
        .map(|exec| {
            let tgid = exec.task.task.tgid.cast_signed();
            Life { tgid, exec, end: trace.end_of(tgid) }
        })
        .collect()
}

/// Ids of the cgroups that were made at this path.
pub(super) fn cgroup_ids(trace: &Trace, at: &str) -> BTreeSet<u64> {
    let made = trace.events.iter().filter_map(|event| match &event.kind {
        EventKind::CgroupMkdir { id, hierarchy: 0, path } if path == at => Some(*id),
        _ => None,
    });
    made.collect()
}

/// Kernel events that tell of lives and signals.
pub(super) fn tells(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Exec { .. }
            | EventKind::Exit { .. }
            | EventKind::SignalGenerate { .. }
            | EventKind::OomVictim { .. }
    )
}

/// Sends a signal to the witness of a container, from the node.
pub(super) fn signal(container: &Container, signal: Signal) -> Result<(), Obstacle> {
    let pid = container.outer_pid();
    kill(Pid::from_raw(pid), signal).map_err(|errno| Obstacle::Node {
        op: "signal",
        path: format!("/proc/{pid}").into(),
        source: errno.into(),
    })
}

/// Lets the witness of a container end with a code.
pub(super) fn exit(container: &mut Container, code: i32) -> Result<(), Obstacle> {
    container.witness()?.tell(Command::Exit { code })?;
    Ok(())
}

/// Has a witness note every signal that can be caught, and go on.
pub(super) fn catch_all(cell: &Cell<'_>, container: &mut Container) -> Result<(), Obstacle> {
    container.witness()?.ask(Command::CatchAllSignals, cell.deadline(5.0))?;
    Ok(())
}

/// The signals that a witness has caught since it was last asked: as soon as there are so many, or after this time. `None` when it
/// has ended.
pub(super) fn caught(link: &mut Link, at_least: u32, for_ms: u64) -> Result<Option<Vec<u32>>, Obstacle> {
    let patience = Duration::from_millis(for_ms) + Duration::from_secs(20);
    let command = Command::CaughtSignals { at_least, timeout_ms: for_ms };
    match link.ask_as::<Vec<CaughtSignal>>(command, patience) {
        Ok(list) => Ok(Some(list.into_iter().map(|caught| caught.signal).collect())),
        Err(WitnessError::Gone { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Adds what the witness of a container has caught: an empty list when it ended before it could tell.
pub(super) fn told_caught(evidence: &mut Evidence, name: &str, caught: Option<Vec<u32>>) {
    let source = format!("witness {name}: signals that its handlers caught");
    evidence.inside(&format!("caught.{name}"), caught.unwrap_or_default(), source);
}

/// Signals that were generated for a process before it ended: number and time.
pub(super) fn signals(trace: &Trace, pid: i32) -> Vec<(u32, u64)> {
    let end = trace.end_of(pid).map_or(u64::MAX, |end| end.event.seq);
    let before = trace.signals_to(pid).filter(|sent| sent.event.seq < end);
    before.map(|sent| (sent.signal, sent.event.time_ns)).collect()
}

/// Adds the signals that were generated for a container's program before its end, SIGCHLD left out.
pub(super) fn told_signals(evidence: &mut Evidence, trace: &Trace, container: &Container) {
    const SIGCHLD: u32 = 17;
    let pid = container.outer_pid();
    let sent: Vec<u32> = signals(trace, pid)
        .into_iter()
        .map(|(signal, _)| signal)
        .filter(|signal| *signal != SIGCHLD)
        .collect();
    let key = format!("signals.{}", container.name);
    evidence.kernel(&key, sent, "tp_btf/signal_generate, before the end of the process");
}

/// Nanoseconds as milliseconds.
pub(super) fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}
