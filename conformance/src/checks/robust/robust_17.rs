//! ROBUST-17: the exit code of a container that ends at once is not lost.

use podproof_ebpf::event::EventKind;
use podproof_witness::WITNESS_PATH;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, succeeded};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};

const REQUIREMENT: Requirement = Requirement {
    id: "ROBUST-17",
    name: "a_quick_end_keeps_its_exit_code",
    level: Level::Must,
    statement: "A container that exits within a millisecond still has the right exit code and ends up stopped.",
    source: "runtime-spec runtime.md#state",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    // 500 runs, as the catalog has it, take minutes on an emulated machine: so many as a race of one in ten needs to show.
    scenario: "A program that exits with 7 at once is run by `run` 20 times, four at a time; and twice by create and \
               start, after which `state` is asked.",
    inside: "Each `run` returns 7; of the others the suite's own wait gets 7, and `state` says stopped.",
    kernel: "As many programs were executed as there were runs, and each ended with 7 (sched_process_exec, \
             sched_process_exit).",
    defects: &[
        (
            "robust-17-busy",
            "run does not hear the exit code of its container while another run waits for its own",
        ),
        (
            "robust-17-late-monitor",
            "run begins to watch after start, and takes a program that has ended for a good one",
        ),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Lifecycle,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// Rounds of `run`, and how many of them at a time.
const ROUNDS: u64 = 5;
const AT_A_TIME: u64 = 4;
/// Containers that are created and started.
const STARTED: u64 = 2;
const CODE: i64 = 7;

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let (mut codes, mut stopped) = (Vec::new(), Vec::new());
    let quick = |name: &str| Bundle::witness(name).args(&[WITNESS_PATH, "exit", "7"]);
    for _round in 0..ROUNDS {
        let bundles: Vec<Bundle> = (0..AT_A_TIME).map(|nth| quick(&format!("r{nth}"))).collect();
        for call in cell.run_all(&bundles)? {
            match call.code {
                Some(code) => codes.push(i64::from(code)),
                None => return Err(Obstacle::Runtime(call.summary())),
            }
        }
    }
    let mut waited = Vec::new();
    for nth in 0..STARTED {
        let container = cell.create(&quick(&format!("s{nth}")))?;
        succeeded(&cell.call(&["start", &container.id])?)?;
        let status = cell.wait(container.pid, cell.deadline(10.0))?;
        waited.push(status.and_then(|status| status.code()).map_or(-1, i64::from));
        stopped.push(cell.state(&container.id)?.status);
        cell.delete(&container.id)?;
    }
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    facts::told(&mut evidence, "codes.of_run", codes, "runtime: exit status of run");
    evidence.inside("codes.waited", waited, "node: waitid(2) by the suite");
    facts::told(&mut evidence, "status", stopped, "runtime: state");
    let programs: Vec<i32> = trace
        .execs()
        .filter(|exec| exec.filename == WITNESS_PATH)
        .map(|exec| exec.task.task.tgid.cast_signed())
        .collect();
    let ends: Vec<u32> = programs.iter().filter_map(|pid| trace.end_of(*pid)).map(|end| end.status).collect();
    evidence.kernel("programs", programs.len(), "tp_btf/sched_process_exec, up to the fence");
    evidence.kernel("ends", ends, "tp_btf/sched_process_exit, wait statuses");
    facts::keep_trace(&mut evidence, &trace, |kind| matches!(kind, EventKind::Exit { .. }));
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let waited = codes(side, "codes.waited")?;
    let lost = waited.iter().filter(|code| **code != CODE).count();
    let observed = format!("{lost} of {} waits without code {CODE}", waited.len());
    Ok(told(side)?.and(Finding::new(lost == 0, format!("code {CODE} from each wait"), observed)))
}

/// What the runtime tells of ends that both witnesses saw.
fn told(side: &Side<'_>) -> Result<Finding, Gap> {
    let (run, status) = (codes(side, "codes.of_run")?, side.texts("status")?);
    let lost = run.iter().filter(|code| **code != CODE).count();
    let running = status.iter().filter(|status| **status != "stopped").count();
    let observed = format!("{lost} of {} runs without code {CODE}, {running} not stopped", run.len());
    Ok(Finding::new(
        lost == 0 && running == 0,
        format!("code {CODE} from each run, and all stopped"),
        observed,
    ))
}

fn codes(side: &Side<'_>, key: &str) -> Result<Vec<i64>, Gap> {
    let list =
        side.value(key)?.as_array().and_then(|list| list.iter().map(serde_json::Value::as_i64).collect());
    list.ok_or_else(|| Gap(format!("{key} (a list of codes)")))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (programs, ends) = (side.number("programs")?, side.numbers("ends")?);
    let good = ends.iter().filter(|status| i64::try_from(**status) == Ok(CODE << 8)).count();
    let expected = ROUNDS * AT_A_TIME + STARTED;
    let observed = format!("{programs} programs executed, {good} ended with {CODE}");
    let holds = programs == expected && u64::try_from(good) == Ok(expected);
    let ended =
        Finding::new(holds, format!("{expected} programs executed, each ended with {CODE}"), observed);
    Ok(ended.and(told(side)?))
}
