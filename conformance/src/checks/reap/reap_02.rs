//! REAP-02: orphans that die together all leave, although their signals merge.

use podproof_ebpf::event::SignalResult;
use podproof_witness::Command;

use super::orphans::Orphans;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const ORPHANS: u32 = 1000;
/// How long a sandbox program may take for all of them.
const LIMIT_SECONDS: f64 = 2.0;
/// Runs at most, until signals have merged.
const RUNS: u32 = 3;
const SIGCHLD: u32 = 17;

const REQUIREMENT: Requirement = Requirement {
    id: "REAP-02",
    name: "a_thousand_orphans_leave_no_zombie",
    level: Level::Must,
    statement: "A thousand orphans dying together leave no zombie.",
    source: "Kubernetes build/pause (sigreap); wait(2)",
    subject: Subject::Sandbox,
    adapters: &[Adapter::Oci, Adapter::Podrt],
    scenario: "A sandbox and a container that joins its PID namespace. The container's program makes a thousand \
               orphans and lets them all go at the same moment. Should no two SIGCHLD have merged, it is repeated.",
    inside: "The number of processes in state Z in /proc is 0 again within two seconds.",
    kernel: "A thousand releases by the sandbox process, or by the kernel itself, within two seconds of the last \
             end; SIGCHLD with the result 'already pending' shows that signals did merge.",
    defects: &[("reap-02-one-per-signal", "pause waits for one child per SIGCHLD")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Alone,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let [member] = exactly(&mut pod.members)?;
    let limit = cell.deadline(LIMIT_SECONDS);
    let limit_ms = millis(limit);
    let mut run = 0;
    loop {
        run += 1;
        let orphans = Orphans::make(cell, member, ORPHANS)?;
        orphans.release(cell, member)?;
        let wait = Command::WaitZombies { at_most: 0, timeout_ms: limit_ms };
        let zombies: u64 = member.witness()?.ask_as(wait, limit + cell.deadline(10.0))?;
        orphans.await_reaped(cell, cell.deadline(1.0))?;
        let trace = cell.trace()?;
        let fates = orphans.fates(&trace);
        let merged = trace
            .signals_to(pod.sandbox.pid)
            .filter(|sent| sent.signal == SIGCHLD && sent.result == SignalResult::AlreadyPending)
            .count();
        if merged == 0 && fates.n_auto_reaped() < orphans.inner.len() && zombies == 0 && run < RUNS {
            continue;
        }

        let mut evidence = Evidence::default();
        evidence.inside("orphans", orphans.inner.len(), "witness a: pids of the orphans");
        let source =
            format!("witness a: processes in state Z in /proc, at most {limit_ms} ms after the last end");
        evidence.inside("zombies", zombies, source);
        evidence.kernel("ended", fates.ended, "tp_btf/sched_process_exit");
        let source = orphans.source_of_reaps(&trace);
        evidence.kernel("reaped", fates.n_reaped_by(pod.sandbox.pid), source.clone());
        evidence.kernel("reaped.by_kernel", fates.n_auto_reaped(), source.clone());
        let after_ms = millis(fates.last_reap_after);
        evidence.kernel(
            "last.after_ms",
            after_ms,
            format!("{source}: from the last end to the last release"),
        );
        evidence.kernel("limit.ms", limit_ms, "the suite: two seconds, scaled for this machine");
        if merged > 0 {
            let source = "tp_btf/signal_generate: SIGCHLD for pause with the result 'already pending'";
            evidence.kernel("merged", merged, source);
        }
        facts::keep_trace(&mut evidence, &trace, |kind| orphans.concerns(kind, pod.sandbox.pid));
        return Ok(evidence);
    }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (orphans, zombies) = (side.number("orphans")?, side.number("zombies")?);
    if orphans != u64::from(ORPHANS) {
        return Err(Gap(format!("{ORPHANS} orphans (there are {orphans})")));
    }
    let expected = "no zombie two seconds after the last end";
    Ok(Finding::new(zombies == 0, expected, format!("{zombies} of {orphans} are zombies")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (ended, reaped) = (side.number("ended")?, side.number("reaped")?);
    if ended != u64::from(ORPHANS) {
        return Err(Gap(format!("{ORPHANS} ends (there are {ended})")));
    }
    let (after, limit) = (side.number("last.after_ms")?, side.number("limit.ms")?);
    let finding = Finding::new(
        reaped == ended && after <= limit,
        "every orphan is released by pause or by the kernel within two seconds",
        format!("{reaped} of {ended} were released, the last one {after} ms after the last end"),
    );
    // A program that loops is told from one that does not only where signals merged.
    if finding.holds && side.number("reaped.by_kernel")? != ended {
        side.number("merged")?;
    }
    Ok(finding)
}
