//! What `podproof` says to wrong input, with which exit status, and that it leaves nothing behind.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

static ALONE: Mutex<()> = Mutex::new(());

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        Trial::test("list_names_every_requirement", list_names_every_requirement),
        Trial::test("explain_tells_how_a_check_is_judged", explain_tells_how_a_check_is_judged),
        Trial::test("an_unknown_id_is_an_error", an_unknown_id_is_an_error),
        Trial::test("a_filter_without_match_is_an_error", a_filter_without_match_is_an_error),
        Trial::test("torn_records_are_inconclusive", torn_records_are_inconclusive),
        as_root("an_unknown_runtime_is_named", an_unknown_runtime_is_named),
        as_root("a_runtime_that_is_not_executable_is_named", a_runtime_that_is_not_executable_is_named),
        as_root("a_runtime_that_always_fails_is_no_runtime", a_runtime_that_always_fails_is_no_runtime),
        as_root("a_runtime_begins_with_no_signal_blocked", a_runtime_begins_with_no_signal_blocked),
        as_root("a_runtime_that_hangs_is_given_up", a_runtime_that_hangs_is_given_up),
        as_root(
            "a_runtime_that_fails_every_call_gets_no_verdict",
            a_runtime_that_fails_every_call_gets_no_verdict,
        ),
        as_root("judging_the_host_needs_root", judging_the_host_needs_root),
        as_root("an_interruption_cleans_up", an_interruption_cleans_up),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

/// A test that needs root; skipped with that reason without.
fn as_root(name: &str, test: fn() -> Result<(), Failed>) -> Trial {
    Trial::ignorable_test(name, move || {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Completion::ignored_with("needs root"));
        }
        // One at a time: each looks for what it left in /run.
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        test().map(|()| Completion::Completed)
    })
}

fn podproof(arguments: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(env!("CARGO_BIN_EXE_podproof")).args(arguments).output()?)
}

/// `run` with this runtime; the programs for containers are never reached.
fn run_with(runtime: &Path) -> Result<Output, Failed> {
    let runtime = runtime.to_str().ok_or("a path that is no UTF-8")?;
    podproof(&[
        "run",
        "--runtime",
        runtime,
        "--witness",
        "/bin/true",
        "--pause",
        "/bin/true",
        "--deadline-factor",
        "0.05",
    ])
}

fn expect(output: &Output, code: i32, said: &str) -> Result<(), Failed> {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(code) && text.contains(said) {
        return Ok(());
    }
    Err(format!("expected exit {code} and {said:?}, got {} and:\n{text}", output.status).into())
}

fn cells() -> Vec<PathBuf> {
    let entries = fs::read_dir("/run").into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().contains("/podproof-")).collect()
}

fn nothing_left(before: &[PathBuf]) -> Result<(), Failed> {
    let left: Vec<PathBuf> = cells().into_iter().filter(|path| !before.contains(path)).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {left:?}").into()) }
}

/// An executable script in a directory of its own.
fn script(dir: &tempfile::TempDir, body: &str) -> Result<PathBuf, Failed> {
    let path = dir.path().join("runtime");
    fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

fn list_names_every_requirement() -> Result<(), Failed> {
    let output = podproof(&["list"])?;
    for check in conformance::checks::all() {
        expect(&output, 0, check.requirement.id)?;
        expect(&output, 0, check.requirement.statement)?;
    }
    Ok(())
}

fn explain_tells_how_a_check_is_judged() -> Result<(), Failed> {
    let output = podproof(&["explain", "reap-15"])?;
    for part in ["REAP-15", "pthread_exit(3)", "What the kernel shows", "reap-15-zombie-leader"] {
        expect(&output, 0, part)?;
    }
    Ok(())
}

fn an_unknown_id_is_an_error() -> Result<(), Failed> {
    expect(&podproof(&["explain", "NS-99"])?, 2, "no requirement NS-99; `podproof list`")
}

fn a_filter_without_match_is_an_error() -> Result<(), Failed> {
    expect(
        &podproof(&["run", "--runtime", "runc", "nothing-like-this"])?,
        2,
        "no check matches nothing-like-this",
    )
}

fn torn_records_are_inconclusive() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("records");
    fs::write(
        &path,
        "{\"record\":\"machine\",\"name\":\"vm-tcg\",\"kernel\":null,\"died\":\"panic\"}\n{\"rec",
    )?;
    let path = path.to_str().ok_or("a path that is no UTF-8")?;
    expect(&podproof(&["report", path])?, 3, "panic")
}

fn an_unknown_runtime_is_named() -> Result<(), Failed> {
    let before = cells();
    expect(&run_with(Path::new("no-such-runtime"))?, 2, "runtime no-such-runtime: not found in PATH")?;
    expect(&run_with(Path::new("/no/such/runtime"))?, 2, "runtime /no/such/runtime: not found")?;
    nothing_left(&before)
}

fn a_runtime_that_is_not_executable_is_named() -> Result<(), Failed> {
    let before = cells();
    expect(&run_with(Path::new("/etc/passwd"))?, 2, "runtime /etc/passwd: not executable")?;
    nothing_left(&before)
}

fn a_runtime_that_always_fails_is_no_runtime() -> Result<(), Failed> {
    let (dir, before) = (tempfile::tempdir()?, cells());
    let path = script(&dir, "echo broken >&2; exit 1")?;
    expect(&run_with(&path)?, 2, "`--version` ended with exit status: 1: broken; is it an OCI runtime?")?;
    nothing_left(&before)
}

fn a_runtime_begins_with_no_signal_blocked() -> Result<(), Failed> {
    let (dir, before) = (tempfile::tempdir()?, cells());
    // Of the shell itself: it empties the mask of what it starts.
    let ask =
        "while read -r name mask; do [ $name = SigBlk: ] && echo $mask >&2; done < /proc/$$/status; exit 1";
    let path = script(&dir, ask)?;
    expect(&run_with(&path)?, 2, "exit status: 1: 0000000000000000; is it")?;
    nothing_left(&before)
}

fn a_runtime_that_hangs_is_given_up() -> Result<(), Failed> {
    let (dir, before) = (tempfile::tempdir()?, cells());
    // The first line of the script's own output is its process id: it must be gone afterwards.
    let pid_file = dir.path().join("pid");
    let path = script(&dir, &format!("echo $$ > {}; exec tail -f /dev/null", pid_file.display()))?;
    expect(&run_with(&path)?, 2, "did not end within")?;
    let pid = fs::read_to_string(&pid_file)?;
    if Path::new("/proc").join(pid.trim()).exists() {
        return Err(format!("process {} is still there", pid.trim()).into());
    }
    nothing_left(&before)
}

fn a_runtime_that_fails_every_call_gets_no_verdict() -> Result<(), Failed> {
    let (dir, before) = (tempfile::tempdir()?, cells());
    let path = script(&dir, "case \"$*\" in *--version*) echo broken 1.0;; *) echo no >&2; exit 1;; esac")?;
    let output = Command::new(env!("CARGO_BIN_EXE_podproof"))
        .args(["run", "--witness", "/bin/true", "--pause", "/bin/true", "PID-01", "--runtime"])
        .arg(&path)
        .output()?;
    expect(&output, 3, "exited with 1: no")?;
    expect(&output, 3, "inconclusive")?;
    nothing_left(&before)
}

fn judging_the_host_needs_root() -> Result<(), Failed> {
    let dir =
        tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir_in("/var/tmp")?;
    let program = dir.path().join("podproof");
    fs::copy(env!("CARGO_BIN_EXE_podproof"), &program)?;
    let output = Command::new(&program).args(["run", "--runtime", "runc"]).uid(65534).gid(65534).output()?;
    expect(&output, 2, "needs root")
}

fn an_interruption_cleans_up() -> Result<(), Failed> {
    let (dir, before) = (tempfile::tempdir()?, cells());
    // Answers --version, and hangs in everything else.
    let path = script(&dir, "case \"$*\" in *--version*) echo slow 1.0;; *) exec tail -f /dev/null;; esac")?;
    let mut run = Command::new(env!("CARGO_BIN_EXE_podproof"))
        .args(["run", "--witness", "/bin/true", "--pause", "/bin/true", "--runtime"])
        .arg(&path)
        .arg("PID-01")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // The test runner's first lines come when the signals are taken and a cell is about to open.
    let mut said = [0; 8];
    let mut stdout = run.stdout.take().ok_or("no output")?;
    stdout.read_exact(&mut said)?;
    let pid = i32::try_from(run.id())?;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGINT)?;
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest)?;
    let status = run.wait()?;
    if status.code() != Some(130) {
        return Err(format!("expected exit 130, got {status}").into());
    }
    nothing_left(&before)
}
