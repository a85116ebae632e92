//! REAP-04: what dies while the sandbox program stands still is reaped when it runs again.

use std::fs;

use nix::sys::signal::Signal;
use podproof_ebpf::event::SignalResult;

use super::orphans::{self, Orphans};
use super::standstill::{await_so, await_state, send};
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle, Pod, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::cgroup::Layout;
use crate::observe::process::boot_ns;
use crate::observe::trace::{Trace, is};

const ORPHANS: u32 = 50;
const SIGCHLD: u32 = 17;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-04",
    name: "reaps_what_died_while_it_stood_still",
    level: Level::Must,
    statement: "Children that die while the sandbox process is stopped or frozen are all reaped once it runs again.",
    source: "signal(7) (standard signals do not queue); wait(2)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and a container that joins its PID namespace. The sandbox process is stopped by SIGSTOP, \
               fifty orphans end, and it is continued; then the same with its cgroup frozen and thawed, where the \
               machine has cgroup v2.",
    inside: "Each time the number of processes in state Z in /proc is 0 again within two seconds after it was let \
             go on.",
    kernel: "While it stands still at most one SIGCHLD is queued for it (signal_generate); once it runs again all \
             fifty are released by it. Where the kernel itself releases them they are gone before.",
    defects: &[(
        "reap-04-forgets-at-cont",
        "pause drops a SIGCHLD that waits beside a SIGCONT, as when it was stopped meanwhile",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// How the sandbox process is made to stand still.
#[derive(Debug, Clone, Copy)]
enum Still {
    Stopped,
    Frozen,
}

impl Still {
    fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Frozen => "frozen",
        }
    }

    fn begin(self, cell: &Cell<'_>, sandbox: &Container) -> Result<(), Obstacle> {
        match self {
            Self::Stopped => {
                send(sandbox.pid, Signal::SIGSTOP)?;
                self.is_so(await_state(cell, sandbox.pid, &['T']))
            }
            Self::Frozen => {
                freeze(sandbox, "1")?;
                let is_frozen = || sandbox.v2().keyed("cgroup.events", "frozen") == Some(1);
                self.is_so(await_so(cell, is_frozen))
            }
        }
    }

    fn is_so(self, is_so: bool) -> Result<(), Obstacle> {
        let word = self.word();
        if is_so { Ok(()) } else { Err(Obstacle::Trace(format!("the sandbox process is not {word}"))) }
    }

    fn end(self, sandbox: &Container) -> Result<(), Obstacle> {
        match self {
            Self::Stopped => send(sandbox.pid, Signal::SIGCONT),
            Self::Frozen => freeze(sandbox, "0"),
        }
    }
}

fn freeze(sandbox: &Container, value: &str) -> Result<(), Obstacle> {
    let path = sandbox.v2().dir().join("cgroup.freeze");
    fs::write(&path, value).map_err(|source| Obstacle::Node { op: "write", path, source })
}

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let mut evidence = Evidence::default();
    round(cell, &mut pod, Still::Stopped, &mut evidence)?;
    let in_v2 = cell.run.layout == Layout::Unified;
    facts::told(&mut evidence, "froze", in_v2, "the suite: whether this machine has cgroup v2");
    if in_v2 {
        round(cell, &mut pod, Still::Frozen, &mut evidence)?;
    }
    Ok(evidence)
}

fn round(cell: &Cell<'_>, pod: &mut Pod, still: Still, evidence: &mut Evidence) -> Result<(), Obstacle> {
    let sandbox = &pod.sandbox;
    let [member] = exactly(&mut pod.members)?;
    let orphans = Orphans::make(cell, member, ORPHANS)?;
    still.begin(cell, sandbox)?;
    let ended = orphans.release(cell, member);
    // Whatever became of them, nothing may stay stopped.
    let went_on_ns = boot_ns();
    still.end(sandbox)?;
    ended?;
    let zombies = orphans::zombies(cell, member)?;
    orphans.await_reaped(cell, cell.deadline(1.0))?;
    let trace = cell.trace()?;

    let word = still.word();
    let source = "witness a: processes in state Z in /proc, after the sandbox went on";
    evidence.inside(&format!("{word}.zombies"), zombies, source);
    let fates = orphans.fates(&trace);
    evidence.kernel(&format!("{word}.ended"), fates.ended, "tp_btf/sched_process_exit");
    let source = orphans.source_of_reaps(&trace);
    evidence.kernel(&format!("{word}.reaped"), fates.n_reaped_by(sandbox.pid), source.clone());
    evidence.kernel(&format!("{word}.reaped.by_kernel"), fates.n_auto_reaped(), source);
    let (queued, since) = (queued(&trace, sandbox.pid, &orphans, went_on_ns), "while it stood still");
    evidence.kernel(
        &format!("{word}.queued"),
        queued,
        format!("tp_btf/signal_generate: SIGCHLD for the sandbox with the result 'delivered', {since}"),
    );
    let before = std::mem::take(&mut evidence.trace);
    facts::keep_trace(evidence, &trace, |kind| orphans.concerns(kind, sandbox.pid));
    evidence.trace.splice(0..0, before);
    Ok(())
}

/// SIGCHLD from these orphans that took a place in the queue before this moment; the others merged with it.
fn queued(trace: &Trace, sandbox: i32, orphans: &Orphans, until_ns: u64) -> usize {
    let pids = orphans.pids();
    trace
        .signals_to(sandbox)
        .filter(|sent| sent.signal == SIGCHLD && sent.result == SignalResult::Delivered)
        .filter(|sent| sent.event.time_ns < until_ns)
        .filter(|sent| pids.iter().any(|pid| is(sent.event.current, *pid)))
        .count()
}

/// The ways in which it stood still on this machine.
fn rounds(side: &Side<'_>) -> Result<&'static [Still], Gap> {
    const BOTH: [Still; 2] = [Still::Stopped, Still::Frozen];
    Ok(if side.flag("froze")? { &BOTH } else { &BOTH[..1] })
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut all = Finding::new(true, "", "");
    for still in rounds(side)? {
        let word = still.word();
        let zombies = side.number(&format!("{word}.zombies"))?;
        all = all.and(Finding::new(
            zombies == 0,
            format!("no zombie after it was {word}"),
            format!("{zombies} of {ORPHANS} are zombies after it was {word}"),
        ));
    }
    Ok(all)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let mut all = Finding::new(true, "", "");
    for still in rounds(side)? {
        let word = still.word();
        let of = |key: &str| side.number(&format!("{word}.{key}"));
        let (ended, reaped, queued) = (of("ended")?, of("reaped")?, of("queued")?);
        if ended != u64::from(ORPHANS) {
            return Err(Gap(format!("{ORPHANS} ends while it was {word} (there are {ended})")));
        }
        // More would mean that it ran in between.
        if queued > 1 && of("reaped.by_kernel")? != ended {
            return Err(Gap(format!("a sandbox process that stood still ({queued} SIGCHLD were queued)")));
        }
        all = all.and(Finding::new(
            reaped == ended,
            format!("all that ended while it was {word} are released"),
            format!(
                "{reaped} of {ended} that ended while it was {word} are released, for {queued} queued SIGCHLD"
            ),
        ));
    }
    Ok(all)
}
