//! SIG-11: preStop runs before the stop signal, within the grace period.

use std::time::{Duration, Instant};

use crate::adapter::podrt::Manifest;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts, pods};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "SIG-11",
    name: "pre_stop_comes_first_and_within_the_grace",
    level: Level::Must,
    statement: "preStop runs inside the container before the stop signal and its time counts against the grace period.",
    source: "Kubernetes concepts/workloads/pods/pod-lifecycle#pod-termination-flow; container-lifecycle-hooks",
    subject: Subject::Pod,
    adapters: &[Adapter::Podrt],
    scenario: "A pod with a preStop hook, whose program catches SIGTERM and goes on, is stopped with a grace period of 8 s. The hook takes \
               6 s of it.",
    inside: "The program catches nothing while the hook runs and SIGTERM after it; its end comes 8 s after the call of stop at the \
             earliest, and well before 14 s after the hook began.",
    kernel: "The hook is executed in the container and ends before the SIGTERM, and SIGKILL comes 8 s after the call of \
             stop at the earliest, and well before 14 s after the hook began (sched_process_exec, sched_process_exit, signal_generate).",
    defects: &[
        ("sig-11-grace-restarts", "the grace period begins after the hook"),
        ("sig-11-no-hook", "preStop is ignored"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Stops,
    turn: Turn::First,
    observe,
    rules: Rules { inside, kernel },
};

const GRACE_SECONDS: &str = "8";
/// How long the hook takes.
const HOOK_MS: u64 = 6000;
/// When the end may come: from the call of stop on, and from the beginning of the hook on. Of a grace period that begins after the
/// hook it comes after 14 s.
const EARLIEST_MS: u64 = 7900;
const LATEST_MS: u64 = 13_000;
const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    cell.need_cgroup_v2()?;
    let hook = serde_json::json!([podproof_witness::WITNESS_PATH, "serve", "--name", "hook"]);
    let manifest = Manifest::of_witnesses("pod", &["a"]);
    let mut pod =
        cell.start_pod(&manifest.with("/spec/containers/0/lifecycle/preStop/exec/command", hook))?;
    let [a] = exactly(&mut pod.members)?;
    pods::catch_all(cell, a)?;
    let link = a.witness()?;
    let patience = cell.deadline(3.0);
    let words = ["stop", "--time", GRACE_SECONDS, &pod.name];
    let called = Instant::now();
    let (call, (hook, early, caught, took)) =
        cell.call_pod_during(&words, cell.deadline(60.0), |witnesses| {
            let mut hook = witnesses.hello("hook", patience).ok();
            let begin = Instant::now();
            // The time of the hook is spent in waiting for what must not come.
            let early = pods::caught(link, 1, HOOK_MS)?;
            if let Some(hook) = &mut hook {
                hook.tell(podproof_witness::Command::Exit { code: 0 })?;
            }
            let caught = pods::caught(link, 1, 10_000)?;
            let is_gone = link.wait_gone(Duration::from_secs(20));
            Ok((
                hook.map(|hook| hook.outer_pid),
                early,
                caught,
                is_gone.then(|| (called.elapsed(), begin.elapsed())),
            ))
        })?;
    let trace = cell.trace()?;
    let mut evidence = Evidence::default();
    evidence.inside("hook.called", hook.is_some(), "witness hook: its first words");
    evidence.inside(
        "caught.early",
        early.unwrap_or_default(),
        "witness a: signals caught while the hook ran",
    );
    pods::told_caught(&mut evidence, "a", caught);
    if let Some((lasted, took)) = took {
        let source = "suite: from the call of stop to the end of a's connection";
        evidence.inside("lasted_ms", millis(lasted), source);
        let source = "suite: from the hook's first words to the end of a's connection";
        evidence.inside("end_ms", millis(took), source);
    }
    let sent = pods::signals(&trace, a.outer_pid());
    let at = |number: u32| sent.iter().find(|(signal, _)| *signal == number).map(|(_, time)| *time);
    pods::told_signals(&mut evidence, &trace, a);
    let lives = pods::lives(&trace, &a.cgroup);
    let run = lives.iter().find(|life| Some(life.tgid) == hook);
    evidence.kernel(
        "hook.executed",
        run.is_some(),
        "tp_btf/sched_process_exec in a's cgroup, of a process that called",
    );
    if let Some(run) = run {
        let begin = run.exec.event.time_ns;
        let since = |time: u64| pods::ms(time.saturating_sub(begin));
        let end = run.end.map(|end| since(end.event.time_ns));
        evidence.kernel_if("hook.ended_ms", end, "tp_btf/sched_process_exit, since the hook was executed");
        evidence.kernel_if(
            "term_ms",
            at(SIGTERM).map(since),
            "tp_btf/signal_generate, since the hook was executed",
        );
        evidence.kernel_if(
            "kill_ms",
            at(SIGKILL).map(since),
            "tp_btf/signal_generate, since the hook was executed",
        );
        let lasted = at(SIGKILL).map(|kill| pods::ms(kill.saturating_sub(call.started_ns)));
        evidence.kernel_if("kill_after_call_ms", lasted, "tp_btf/signal_generate, since stop was called");
    }
    facts::keep_trace(&mut evidence, &trace, pods::tells);
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected = format!(
        "the hook runs, then SIGTERM is caught, and the end comes after {EARLIEST_MS} to {LATEST_MS} ms"
    );
    let (called, early) = (side.flag("hook.called")?, side.numbers("caught.early")?);
    if !called || !early.is_empty() {
        return Ok(Finding::new(
            false,
            expected,
            format!("the hook ran: {called}; caught before its end: {early:?}"),
        ));
    }
    let (caught, lasted, end) =
        (side.numbers("caught.a")?, side.number("lasted_ms")?, side.number("end_ms")?);
    let holds = caught == [u64::from(SIGTERM)] && lasted >= EARLIEST_MS && end <= LATEST_MS;
    let seen =
        format!("caught {caught:?}, the end came {lasted} ms after the call, {end} after the hook began");
    Ok(Finding::new(holds, expected, seen))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let expected =
        format!("the hook ends, then SIGTERM is sent, and SIGKILL after {EARLIEST_MS} to {LATEST_MS} ms");
    let sent = side.numbers("signals.a")?;
    if sent.is_empty() {
        return Err(Gap("any signal to a".to_owned()));
    }
    if !side.flag("hook.executed")? {
        return Ok(Finding::new(false, expected, "the hook was not executed in the container"));
    }
    let (ended, term, kill) =
        (side.number("hook.ended_ms")?, side.number("term_ms")?, side.number("kill_ms")?);
    let lasted = side.number("kill_after_call_ms")?;
    let holds = ended <= term && lasted >= EARLIEST_MS && kill <= LATEST_MS;
    let observed = format!(
        "the hook ended after {ended} ms, SIGTERM came after {term} ms, SIGKILL after {kill} ms, {lasted} ms after the call"
    );
    Ok(Finding::new(holds, expected, observed))
}
