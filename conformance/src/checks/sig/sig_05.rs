//! SIG-05: a process that ignores the stop signal is killed when the grace period ends.

use std::time::{Duration, Instant};

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, facts, pods};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-05",
    name: "ignoring_the_stop_signal_lasts_as_long_as_the_grace",
    level: Level::Must,
    statement: "A process that ignores the stop signal is killed when the grace period ends, not earlier and not much later.",
    source: "CRI api.proto StopContainer; Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod whose program catches SIGTERM and goes on is stopped with a grace period of 2 s.",
    inside: "The program catches SIGTERM. It has not ended within the grace period after the call of stop, and ends soon after the \
             grace period that began when it told of the signal.",
    kernel: "The time from the SIGTERM to the SIGKILL that are generated for the program (signal_generate).",
    defects: &[
        ("sig-05-killed-at-once", "SIGKILL is sent at once"),
        ("sig-05-late", "the kill comes ten seconds late"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    serial: false,
    observe,
    rules: Rules { inside, kernel },
};

/// The grace period.
const GRACE_SECONDS: &str = "2";
const GRACE_MS: u64 = 2000;
/// What a clock of the supervisor may be early by.
const EARLY_MS: u64 = 50;
/// How late the kill may be, at most, on a machine that is slow.
const LATE_MS: u64 = 6000;
const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &["a"]))?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;
    let link = a.witness()?;
    let words = ["stop", "--time", GRACE_SECONDS, &pod.name];
    let called = Instant::now();
    let (call, (caught, lasted, survived)) =
        cell.call_pod_during(&words, cell.deadline(40.0), |_witnesses| {
            let caught = pods::caught(link, 1, 20_000)?;
            let told = Instant::now();
            let is_gone = link.wait_gone(Duration::from_secs(20));
            let since = |begin: Instant| is_gone.then(|| begin.elapsed());
            Ok((caught, since(called), since(told)))
        })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    pods::told_caught(&mut evidence, "a", caught);
    if let (Some(lasted), Some(survived)) = (lasted, survived) {
        let source = "suite: from the call of stop to the end of the witness's connection";
        evidence.inside("lasted_ms", millis(lasted), source);
        let source = "suite: from the witness's answer to the end of its connection";
        evidence.inside("survived_ms", millis(survived), source);
    }
    let limit = GRACE_MS + millis(cell.deadline(2.0)).min(LATE_MS);
    facts::told(
        &mut evidence,
        "limit_ms",
        limit,
        "suite: 2 s more than the grace period, scaled for this machine",
    );
    pods::told_signals(&mut evidence, &trace, a);
    let sent = pods::signals(&trace, a.outer_pid());
    let at = |number: u32| sent.iter().find(|(signal, _)| *signal == number).map(|(_, time)| *time);
    if let (Some(term), Some(kill)) = (at(SIGTERM), at(SIGKILL)) {
        let after = pods::ms(kill.saturating_sub(term));
        evidence.kernel("kill_after_ms", after, "tp_btf/signal_generate: SIGTERM to SIGKILL");
        let after = pods::ms(kill.saturating_sub(call.started_ns));
        evidence.kernel(
            "kill_after_call_ms",
            after,
            "tp_btf/signal_generate: SIGKILL, since stop was called",
        );
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (caught, limit) = (side.numbers("caught.a")?, side.number("limit_ms")?);
    let expected = format!("SIGTERM is caught, and the end comes {GRACE_MS} to {limit} ms later");
    if caught != [u64::from(SIGTERM)] {
        return Ok(Finding::new(false, expected, format!("caught: {caught:?}")));
    }
    let (lasted, survived) = (side.number("lasted_ms")?, side.number("survived_ms")?);
    // The grace period began between the two.
    let holds = lasted >= GRACE_MS - EARLY_MS && survived <= limit;
    let seen = format!("the end came {lasted} ms after the call of stop, {survived} ms after the answer");
    Ok(Finding::new(holds, expected, seen))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (sent, limit) = (side.numbers("signals.a")?, side.number("limit_ms")?);
    let expected = format!("SIGTERM, and SIGKILL {GRACE_MS} to {limit} ms later");
    if sent.is_empty() {
        return Err(Gap("any signal to a".to_owned()));
    }
    if sent.first() != Some(&u64::from(SIGTERM)) {
        return Ok(Finding::new(false, expected, format!("the signals were {sent:?}")));
    }
    let (after, called) = (side.number("kill_after_ms")?, side.number("kill_after_call_ms")?);
    // A supervisor that is held up before it sends SIGTERM has begun the grace period already.
    let holds = called >= GRACE_MS - EARLY_MS && (GRACE_MS / 4 * 3..=limit).contains(&after);
    let seen = format!("SIGKILL came {after} ms after SIGTERM, {called} ms after the call of stop");
    Ok(Finding::new(holds, expected, seen))
}
