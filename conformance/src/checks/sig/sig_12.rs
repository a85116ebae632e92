//! SIG-12: a preStop hook that overruns gives one short extension.

use std::time::{Duration, Instant};

use podproof_witness::{Command, WITNESS_PATH};
use serde_json::json;

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-12",
    name: "an_overrunning_pre_stop_gives_one_short_extension",
    level: Level::Should,
    statement: "A preStop hook that overruns gives the container one short extension (2 s) and then the kill.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination-flow",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with a preStop hook that does not end, whose program catches SIGTERM and goes on, is stopped with a \
               grace period of 2 s.",
    inside: "The hook calls, the program catches SIGTERM, and its end comes 4 s after the call of stop at the \
             earliest, and soon after that.",
    kernel: "SIGTERM comes 2 s after the call of stop at the earliest and soon after that, and so does SIGKILL after SIGTERM \
             (sched_process_exec, signal_generate).",
    defects: &[("sig-12-patient", "a hook may take ten seconds longer than the grace period")],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::First,
    observe,
    rules: Rules { inside, kernel },
};

const GRACE_SECONDS: &str = "2";
/// When SIGTERM may come: from the call of stop on, and from the beginning of the hook on.
const TERM_MS: [u64; 2] = [1900, 5500];
/// When SIGKILL may come after that; what is late in sending the one is not late in sending the other.
const KILL_MS: std::ops::RangeInclusive<u64> = 1000..=6000;
/// When the end may come: from the call of stop on, and from the beginning of the hook on.
const END_MS: [u64; 2] = [3900, 9000];
const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let hook = json!([WITNESS_PATH, "serve", "--name", "hook"]);
    let manifest = Manifest::of_witnesses("pod", &["a"]);
    let mut pod =
        cell.start_pod(&manifest.with("/spec/containers/0/lifecycle/preStop/exec/command", hook))?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;
    let link = a.witness()?;
    let patience = cell.deadline(3.0);
    let words = ["stop", "--time", GRACE_SECONDS, &pod.name];
    let called = Instant::now();
    let (call, (hook, caught, took)) = cell.call_pod_during(&words, cell.deadline(60.0), |witnesses| {
        let hook = witnesses.hello("hook", patience).ok();
        let begin = Instant::now();
        let caught = pods::caught(link, 1, 10_000)?;
        let is_gone = link.wait_gone(Duration::from_secs(8));
        let took = is_gone.then(|| (called.elapsed(), begin.elapsed()));
        let mut hook = hook;
        if let Some(hook) = &mut hook
            && !is_gone
        {
            hook.tell(Command::Exit { code: 0 })?;
        }
        Ok((hook.map(|hook| hook.outer_pid), caught, took))
    })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    evidence.inside("hook.called", hook.is_some(), "witness hook: its first words");
    pods::told_caught(&mut evidence, "a", caught);
    let (lasted, took) = took.unwrap_or((Duration::MAX, Duration::MAX));
    let source = "suite: from the call of stop to the end of a's connection";
    evidence.inside("lasted_ms", millis(lasted), source);
    let source = "suite: from the hook's first words to the end of a's connection";
    evidence.inside("end_ms", millis(took), source);
    let lives = pods::lives(&trace, &a.cgroup);
    let begin = lives.iter().find(|life| Some(life.tgid) == hook).map(|life| life.exec.event.time_ns);
    let sent = pods::signals(&trace, a.outer_pid());
    let at = |number: u32| sent.iter().find(|(signal, _)| *signal == number).map(|(_, time)| *time);
    if let (Some(begin), Some(term)) = (begin, at(SIGTERM)) {
        let source = "tp_btf/signal_generate, since the hook was executed";
        evidence.kernel("term_ms", pods::ms(term.saturating_sub(begin)), source);
        let source = "tp_btf/signal_generate, since stop was called";
        evidence.kernel("term_after_call_ms", pods::ms(term.saturating_sub(call.started_ns)), source);
        let after = at(SIGKILL).map(|kill| pods::ms(kill.saturating_sub(term)));
        evidence.kernel_if("kill_after_ms", after, "tp_btf/signal_generate: SIGTERM to SIGKILL");
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    if !side.flag("hook.called")? {
        return Err(Gap("the start of the hook".to_owned()));
    }
    let (caught, lasted, end) =
        (side.numbers("caught.a")?, side.number("lasted_ms")?, side.number("end_ms")?);
    let [least, most] = END_MS;
    let holds = caught == [u64::from(SIGTERM)] && lasted >= least && end <= most;
    Ok(Finding::new(
        holds,
        format!("SIGTERM is caught, and the end comes after {least} to {most} ms"),
        format!("caught {caught:?}, the end came {lasted} ms after the call, {end} ms after the hook began"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (term, called, after) =
        (side.number("term_ms")?, side.number("term_after_call_ms")?, side.number("kill_after_ms")?);
    let [least, most] = TERM_MS;
    Ok(Finding::new(
        called >= least && term <= most && KILL_MS.contains(&after),
        format!("SIGTERM after {least} to {most} ms, SIGKILL {KILL_MS:?} ms after that"),
        format!(
            "SIGTERM came {called} ms after the call, {term} ms after the hook began, SIGKILL {after} ms after that"
        ),
    ))
}
