//! A program that ignores the stop signal, and the time that it gets.

use std::time::{Duration, Instant};

use crate::adapter::podrt::Manifest;
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{facts, pods};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;

/// What a clock of the supervisor may be early by.
const EARLY_MS: u64 = 50;
/// How late the kill may be, at most, on a machine that is slow.
const LATE_MS: u64 = 6000;
const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

/// A pod whose program catches SIGTERM and goes on is stopped, with these options of `stop`; it is to be killed after `grace_ms`.
pub(super) fn observe(cell: &mut Cell<'_>, options: &[&str], grace_ms: u64) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let mut pod = cell.start_pod(&Manifest::of_witnesses("pod", &["a"]))?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;
    let link = a.witness()?;
    let words = [&["stop"], options, &[pod.name.as_str()]].concat();
    let grace = Duration::from_millis(grace_ms);
    let called = Instant::now();
    let (call, (caught, lasted, survived)) =
        cell.call_pod_during(&words, grace + cell.deadline(38.0), |_witnesses| {
            let caught = pods::caught(link, 1, 20_000)?;
            let told = Instant::now();
            let is_gone = link.wait_gone(grace + Duration::from_secs(18));
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
    let limit = grace_ms + millis(cell.deadline(2.0)).min(LATE_MS);
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

/// It caught SIGTERM, and its end came when the grace period was over.
pub(super) fn inside(side: &Side<'_>, grace_ms: u64) -> Result<Finding, Gap> {
    let (caught, limit) = (side.numbers("caught.a")?, side.number("limit_ms")?);
    let expected = format!("SIGTERM is caught, and the end comes {grace_ms} to {limit} ms later");
    if caught != [u64::from(SIGTERM)] {
        return Ok(Finding::new(false, expected, format!("caught: {caught:?}")));
    }
    let (lasted, survived) = (side.number("lasted_ms")?, side.number("survived_ms")?);
    // The grace period began between the two.
    let holds = lasted >= grace_ms - EARLY_MS && survived <= limit;
    let seen = format!("the end came {lasted} ms after the call of stop, {survived} ms after the answer");
    Ok(Finding::new(holds, expected, seen))
}

/// SIGTERM came, and SIGKILL when the grace period was over.
pub(super) fn kernel(side: &Side<'_>, grace_ms: u64) -> Result<Finding, Gap> {
    let (sent, limit) = (side.numbers("signals.a")?, side.number("limit_ms")?);
    let expected = format!("SIGTERM, and SIGKILL {grace_ms} to {limit} ms later");
    if sent.is_empty() {
        return Err(Gap("any signal to a".to_owned()));
    }
    if sent.first() != Some(&u64::from(SIGTERM)) {
        return Ok(Finding::new(false, expected, format!("the signals were {sent:?}")));
    }
    let (after, called) = (side.number("kill_after_ms")?, side.number("kill_after_call_ms")?);
    // A supervisor that is held up before it sends SIGTERM has begun the grace period already.
    let holds = called >= grace_ms - EARLY_MS && (grace_ms / 4 * 3..=limit).contains(&after);
    let seen = format!("SIGKILL came {after} ms after SIGTERM, {called} ms after the call of stop");
    Ok(Finding::new(holds, expected, seen))
}
