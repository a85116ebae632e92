//! PID-24: PID 1 is the configured program itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use podproof_ebpf::event::EventKind;
use podproof_witness::Command;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::trace::is;

const REQUIREMENT: Requirement = Requirement {
    id: "PID-24",
    name: "pid_1_is_the_configured_program",
    level: Level::Must,
    statement: "The executable of PID 1 is the configured program itself unless an init was asked for.",
    source: "runtime-spec config.md#process (args), runtime.md#start",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "One container with a new PID namespace; nothing in its configuration asks for an init.",
    inside: "getpid(2) of the program is 1 and /proc/1/cmdline is what was configured.",
    // A program of the same name and arguments may be another file.
    kernel: "The process that was born as number 1 of the PID namespace executed the configured path last \
             (sched_process_exec); the file that it executes (/proc/PID/exe, read from outside) is the one that the \
             suite put into the root file system, by device and inode.",
    defects: &[(
        "pid-24-init-in-its-name",
        "a small init with the name and the arguments of the program becomes PID 1 and starts it",
    )],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let bundle = Bundle::witness("a");
    let mut container = cell.container(&bundle)?;
    let link = container.witness()?;
    let number = link.hello.birth.pid;
    let command = Command::ReadFile { path: "/proc/1/cmdline".to_owned() };
    let line: String = link.ask_as(command, cell.deadline(5.0))?;
    let words: Vec<&str> = line.trim_end_matches('\0').split('\0').collect();
    let trace = cell.trace()?;

    let mut evidence = Evidence::default();
    evidence.inside("number", number, "witness a: getpid(2) at birth");
    evidence.inside("cmdline", words, "witness a: /proc/1/cmdline");
    facts::told(&mut evidence, "configured", bundle.args.clone(), "the suite: process.args of the bundle");
    // Of the main process, whatever it executed: the program may be a child of it.
    let main = trace.execs().rev().find(|exec| is(exec.task.task, container.pid));
    let space = main.and_then(|exec| exec.task.ns.pid);
    let first = trace
        .births()
        .find(|birth| space.is_some() && birth.child.ns.pid == space && birth.child.ns_pid() == Some(1))
        .map(|birth| birth.child.task.tgid.cast_signed());
    if let Some(first) = first {
        let last = trace.execs().rev().find(|exec| is(exec.task.task, first));
        if let Some(exec) = last {
            let source = format!("{}: last exec of number 1", exec.event.source);
            evidence.kernel("executed", exec.filename, source);
        }
        let own = cell.run.programs.witness.clone();
        let link = format!("/proc/{first}/exe");
        if let (Some(exe), Some(given)) = (file(Path::new(&link)), file(&own)) {
            evidence.kernel("exe", exe, format!("node: stat {link}, device and inode"));
            evidence.kernel("given", given, format!("node: stat {}, device and inode", own.display()));
        }
    }
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::NewTask { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

/// Identity of the file behind a path.
fn file(path: &Path) -> Option<Vec<u64>> {
    fs::metadata(path).ok().map(|file| vec![file.dev(), file.ino()])
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    let (number, line) = (side.number("number")?, side.texts("cmdline")?);
    let configured = side.texts("configured")?;
    Ok(Finding::new(
        number == 1 && line == configured,
        format!("the program is PID 1, which is {configured:?}"),
        format!("the program is PID {number}, and PID 1 is {line:?}"),
    ))
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    let (executed, configured) = (side.text("executed")?, side.texts("configured")?);
    let (exe, given) = (side.numbers("exe")?, side.numbers("given")?);
    Ok(Finding::new(
        configured.first() == Some(&executed) && exe == given,
        "PID 1 executes the configured path, and it is the file that the suite put there",
        format!("PID 1 executed {executed}, its file is {exe:?} and the suite's is {given:?}"),
    ))
}
