//! The injector: its counts against those of ptrace(2), and what is done at each cut.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Mutex, OnceLock, PoisonError};

use libtest_mimic::{Completion, Failed, Trial};
use podproof_ebpf::LoadError;
use podproof_ebpf::inject::{Injector, Killed, Outcome, Plan, Position};

use crate::observe::{equal, truth};
use crate::sys::{self, ptrace};
use crate::{Res, chain};

/// Word that makes this program the target.
pub(crate) const TARGET: &str = "inject-target";

const WRITE: u64 = 1;
const MKDIR: u64 = 83;
const CLONE: u64 = 56;
const CLONE3: u64 = 435;

type Test = fn(&mut Injector) -> Res<()>;

const TESTS: [(&str, Test); 5] = [
    ("inject::counts_as_ptrace_does", counts),
    ("inject::kills_at_every_call", every_call),
    ("inject::entry_and_exit_are_different_cuts", positions),
    ("inject::a_child_is_counted_and_killed_by_itself", child),
    ("inject::counts_until_the_program_is_executed", until_program),
];

pub(crate) fn trials() -> Vec<Trial> {
    TESTS.iter().map(|(name, test)| Trial::ignorable_test(*name, move || with_injector(*test))).collect()
}

fn with_injector(test: Test) -> Result<Completion, Failed> {
    // One command at a time can be armed.
    static INJECTOR: OnceLock<Mutex<Result<Injector, LoadError>>> = OnceLock::new();
    if !nix::unistd::geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root"));
    }
    let injector = INJECTOR.get_or_init(|| Mutex::new(Injector::start()));
    match &mut *injector.lock().unwrap_or_else(PoisonError::into_inner) {
        Ok(injector) => match test(injector) {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => Err(Failed::from(chain(&*error))),
        },
        Err(error @ (LoadError::NoProbes | LoadError::PidNamespace { .. })) => {
            Ok(Completion::ignored_with(error.to_string()))
        }
        Err(error) => Err(Failed::from(chain(error))),
    }
}

/// Makes `a`, writes `f`, lets a child make `c`, makes `z`.
pub(crate) fn target(dir: &Path) -> ExitCode {
    let act = || -> Res<()> {
        fs::create_dir(dir.join("a"))?;
        fs::write(dir.join("f"), "text")?;
        let made = dir.join("c");
        let child = sys::fork(|| {
            fs::create_dir(made)?;
            Ok(0)
        })?;
        sys::wait(child)?;
        Ok(fs::create_dir(dir.join("z"))?)
    };
    if act().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn command(dir: &Path) -> Res<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(TARGET).arg(dir);
    Ok(command)
}

const COUNT: Plan<'static> = Plan { process: 0, kill: None, follows: true, program: "none" };

/// Runs the target in a directory of its own, and shows what it has made there.
fn play(injector: &mut Injector, plan: &Plan<'_>) -> Res<(Outcome, bool, Vec<String>)> {
    let dir = tempfile::tempdir()?;
    let mut command = command(dir.path())?;
    injector.arm(plan, &mut command)?;
    let status = command.status()?;
    let outcome = injector.disarm()?;
    let mut made: Vec<String> = fs::read_dir(dir.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Res<_>>()?;
    made.sort();
    if fs::read(dir.path().join("f")).is_ok_and(|text| text.is_empty()) {
        made.push("f is empty".to_owned());
    }
    Ok((outcome, status.signal() == Some(9), made))
}

fn cut(position: Position, call: u64) -> Plan<'static> {
    Plan { kill: Some((position, call)), ..COUNT }
}

/// At which call, from 1, the target makes its n-th call of this number.
fn place(calls: &[u64], wanted: &[u64], n: usize) -> Res<u64> {
    let found = calls.iter().enumerate().filter(|(_, nr)| wanted.contains(nr)).nth(n);
    Ok(found.ok_or_else(|| format!("no call {wanted:?} number {n} in {calls:?}"))?.0 as u64 + 1)
}

fn counts(injector: &mut Injector) -> Res<()> {
    let (outcome, is_killed, made) = play(injector, &COUNT)?;
    equal("what it made", &made, &["a", "c", "f", "z"].map(str::to_owned).to_vec())?;
    truth("nobody was killed", !is_killed && outcome.killed.is_none())?;
    let dir = tempfile::tempdir()?;
    let (entered, returned) = ptrace::calls(command(dir.path())?)?;
    equal("calls", &outcome.calls, &returned)?;
    equal("calls that returned", &outcome.processes[0].returned, &(returned.len() as u64))?;
    equal("calls that began", &outcome.processes[0].entered, &(entered.len() as u64))?;
    equal("only the exit does not return", &entered.len(), &(returned.len() + 1))
}

fn every_call(injector: &mut Injector) -> Res<()> {
    let (counted, ..) = play(injector, &COUNT)?;
    let first = place(&counted.calls, &[MKDIR], 0)?;
    let last = place(&counted.calls, &[MKDIR], 1)?;
    for (index, nr) in counted.calls.iter().enumerate() {
        let call = index as u64 + 1;
        let (outcome, is_killed, made) = play(injector, &cut(Position::Exit, call))?;
        let killed = Killed { process: 0, call, nr: *nr };
        equal(&format!("kill at {call}"), &outcome.killed, &Some(killed))?;
        truth("it died", is_killed)?;
        let has = |name: &str| made.iter().any(|it| it == name);
        equal(&format!("a after call {call}"), &has("a"), &(call >= first))?;
        equal(&format!("z after call {call}"), &has("z"), &(call >= last))?;
    }
    let (outcome, is_killed, _) = play(injector, &cut(Position::Exit, counted.calls.len() as u64 + 1))?;
    truth("past its last call nobody is killed", !is_killed && outcome.killed.is_none())
}

fn positions(injector: &mut Injector) -> Res<()> {
    let (counted, ..) = play(injector, &COUNT)?;
    let write = place(&counted.calls, &[WRITE], 0)?;
    let is_empty = |made: &[String]| made.iter().any(|it| it == "f is empty");
    let (_, _, made) = play(injector, &cut(Position::Entry, write))?;
    truth("a write that only began has written nothing", is_empty(&made))?;
    let (_, _, made) = play(injector, &cut(Position::Exit, write))?;
    truth("a write that returned has written", !is_empty(&made) && made.contains(&"f".to_owned()))?;
    let clone = place(&counted.calls, &[CLONE, CLONE3], 0)?;
    let (outcome, _, made) = play(injector, &cut(Position::Entry, clone))?;
    truth("a clone that only began made no process", outcome.processes.len() == 1)?;
    truth("so it did nothing", !made.contains(&"c".to_owned()))?;
    let (outcome, _, _) = play(injector, &cut(Position::Exit, clone))?;
    equal("a clone that returned made a process", &outcome.processes.len(), &2)
}

fn child(injector: &mut Injector) -> Res<()> {
    let (counted, ..) = play(injector, &Plan { process: 1, ..COUNT })?;
    equal("processes", &counted.processes.len(), &2)?;
    truth("the child has calls", counted.processes[1].returned > 0)?;
    let mkdir = place(&counted.calls, &[MKDIR], 0)?;
    let kill = |call| Plan { process: 1, ..cut(Position::Exit, call) };
    let (outcome, is_killed, made) = play(injector, &kill(mkdir))?;
    equal("kill", &outcome.killed, &Some(Killed { process: 1, call: mkdir, nr: MKDIR }))?;
    truth("not the command", !is_killed)?;
    equal("what was made", &made, &["a", "c", "f", "z"].map(str::to_owned).to_vec())?;
    let (_, _, made) = play(injector, &kill(mkdir - 1))?;
    truth("one call before there is no c", !made.contains(&"c".to_owned()) && made.contains(&"z".to_owned()))
}

fn until_program(injector: &mut Injector) -> Res<()> {
    let name = std::env::current_exe()?;
    let name = name.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
    let (outcome, ..) = play(injector, &Plan { program: name, ..COUNT })?;
    equal("calls of the program itself", &outcome.processes[0].returned, &0)
}
