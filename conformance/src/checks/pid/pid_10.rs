//! PID-10: the life of a container is that of its main process.

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use super::letter::await_letter;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle, exactly};
use crate::checks::{Check, Scene, Turn, facts};
use crate::duration::millis;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::process;
use crate::observe::trace::is;

/// The child ends by itself after this many seconds, should nothing else end it.
const LIFE_SECONDS: f64 = 60.0;
/// Exit code of the main process.
const CODE: u32 = 3;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-10",
    name: "the_main_process_is_the_life_of_the_container",
    level: Level::Must,
    statement: "A container's life is that of its main process: it is stopped as soon as that process ends, \
                whatever its children do.",
    source: "runtime-spec runtime.md#lifecycle, #state (stopped: the container process has exited)",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    // In a PID namespace of its own the end of the main process would end the child too (PID-09).
    scenario: "A sandbox and a container that joins its PID namespace. The program leaves a child that sleeps, and \
               exits. The runtime is asked for the state twice: while nobody has reaped the program, and after.",
    inside: "Both answers of the runtime are 'stopped', while the child still lives (its state on the node).",
    kernel: "The program exits and the child does not (sched_process_exit); the runtime's answers are compared with \
             that.",
    defects: &[
        ("pid-10-until-empty", "a container runs until its cgroup is empty"),
        ("pid-10-until-reaped", "a container runs until its main process has been reaped"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::SharedPidPod,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let mut pod = cell.pod(true, &["a"])?;
    let [main] = exactly(&mut pod.members)?;
    let for_ms = millis(cell.deadline(LIFE_SECONDS));
    let timeout = cell.deadline(10.0);
    main.witness()?.ask(Command::ForkStaying { count: 1, for_ms }, timeout)?;
    let pid = main.outer_pid();
    let node = |source| Obstacle::Node { op: "list", path: "/proc".into(), source };
    let child = process::children(pid).map_err(node)?.first().copied();
    let Some(child) = child else {
        return Err(Obstacle::Trace("it lacks the child of the main process".to_owned()));
    };

    cell.keep_zombies(true)?;
    main.witness()?.tell(Command::Exit { code: CODE.cast_signed() })?;
    let letter = await_letter(cell, pid, 'Z');
    let unreaped = cell.state(&main.id)?.status;
    let reaped = cell.wait(main.pid, timeout)?.is_some();
    cell.keep_zombies(false)?;
    let after = cell.state(&main.id)?.status;
    let child_letter = process::state(child).map_or_else(|| "none".to_owned(), String::from);
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    let source = format!("node: State of /proc/{pid}/status, before the first question");
    evidence.inside("main.letter", letter, source);
    evidence.inside("main.reaped", reaped, "node: waitid(2) by the suite, before the second question");
    let source = format!("node: State of /proc/{child}/status, after both questions");
    evidence.inside("child.letter", child_letter, source);
    facts::told(&mut evidence, "status.unreaped", unreaped, "runtime: state, before the program was reaped");
    facts::told(&mut evidence, "status.reaped", after, "runtime: state, after the program was reaped");
    if let Some(end) = trace.end_of(pid) {
        evidence.kernel("main.code", end.status >> 8, end.event.source.clone());
    }
    let source = "tp_btf/sched_process_exit, up to the fence";
    evidence.kernel("child.ended", trace.end_of(child).is_some(), source);
    facts::keep_trace(&mut evidence, &trace, |kind| match kind {
        EventKind::Exit { task, .. } => is(task.task, pid) || is(task.task, child),
        EventKind::NewTask { child: born, .. } => is(born.task, pid) || is(born.task, child),
        EventKind::ZombieStart { task, .. } | EventKind::Reap { task, .. } => is(*task, pid),
        _ => false,
    });
    Ok(evidence)
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    if side.text("main.letter")? != "Z" || !side.flag("main.reaped")? {
        return Err(Gap("the end of the main process".to_owned()));
    }
    if matches!(side.text("child.letter")?, "Z" | "X" | "none") {
        return Err(Gap("a child that outlives the main process".to_owned()));
    }
    stopped(side)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let code = side.number("main.code")?;
    if code != u64::from(CODE) {
        return Err(Gap(format!("main.code {CODE} (it is {code})")));
    }
    if side.flag("child.ended")? {
        return Err(Gap("a child that outlives the main process".to_owned()));
    }
    stopped(side)
}

fn stopped(side: &Side<'_>) -> Result<Finding, Gap> {
    let (unreaped, reaped) = (side.text("status.unreaped")?, side.text("status.reaped")?);
    Ok(Finding::new(
        unreaped == "stopped" && reaped == "stopped",
        "'stopped' as soon as the main process has ended, while its child lives",
        format!("the runtime says '{unreaped}' before the main process is reaped, '{reaped}' after"),
    ))
}
