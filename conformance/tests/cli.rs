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
        Trial::test("the_readme_names_every_area", the_readme_names_every_area),
        Trial::test("explain_tells_how_a_check_is_judged", explain_tells_how_a_check_is_judged),
        Trial::test("an_unknown_id_is_an_error", an_unknown_id_is_an_error),
        Trial::test("a_filter_without_match_is_an_error", a_filter_without_match_is_an_error),
        Trial::test("torn_records_are_inconclusive", torn_records_are_inconclusive),
        Trial::test("a_list_can_be_read_by_programs", a_list_can_be_read_by_programs),
        Trial::test("tests_are_listed_as_cargo_test_does", tests_are_listed_as_cargo_test_does),
        Trial::test("records_become_every_report", records_become_every_report),
        Trial::test("a_baseline_decides_the_status", a_baseline_decides_the_status),
        Trial::test("reports_are_compared_and_merged", reports_are_compared_and_merged),
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

fn the_readme_names_every_area() -> Result<(), Failed> {
    let readme = include_str!("../../README.md");
    let judged = readme.split("\n## ").find(|section| section.starts_with("What is judged\n"));
    let judged = judged.ok_or("README.md has no section What is judged")?;
    let areas = conformance::checks::all().map(|check| check.requirement.area());
    match areas.map(|area| format!("({area})")).find(|area| !judged.contains(area)) {
        Some(area) => Err(format!("its section What is judged lacks {area}").into()),
        None => Ok(()),
    }
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

fn a_list_can_be_read_by_programs() -> Result<(), Failed> {
    let output = podproof(&["list", "--area", "reap", "--format", "json"])?;
    let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let is_whole =
        |it: &serde_json::Value| it["area"] == "REAP" && it["clause"].is_string() && it["defects"].is_array();
    if all.is_empty() || !all.iter().all(is_whole) {
        return Err(format!("{all:?}").into());
    }
    expect(&podproof(&["list", "--area", "NOTHING"])?, 2, "no requirement of NOTHING")
}

fn tests_are_listed_as_cargo_test_does() -> Result<(), Failed> {
    let output = podproof(&["run", "--list", "--exact", "NS-01"])?;
    expect(&output, 0, "NS-01::containers_share_the_network_namespace: test\n")?;
    if output.stdout.iter().filter(|byte| **byte == b'\n').count() != 1 {
        return Err("more than one is listed".into());
    }
    expect(
        &podproof(&["run", "--list", "--", "REAP", "--skip", "REAP"])?,
        2,
        "no check matches REAP --skip REAP",
    )
}

/// Records of a runtime with one pass and one failure.
fn records(dir: &tempfile::TempDir, name: &str, version: &str, failed: &str) -> Result<String, Failed> {
    let path = dir.path().join(name);
    let mut text = format!(
        r#"{{"record":"run","runtime":{{"name":"runc","path":"/runc","version":"{version}"}},"adapter":"oci",
        "sandbox":{{"name":"pause","path":"/pause","sha256":"0"}},"kernel":"6.12.1-x","machine":"host","wall_ms":0,"probes":[],
        "events_lost":0,"checks":[],"again":"podproof run --runtime runc"}}"#
    )
    .replace('\n', "");
    for id in ["NS-01", "REAP-15"] {
        let verdict = if id == failed { "fail" } else { "pass" };
        let check = format!(
            r#"{{"record":"check","id":"{id}","name":"a name","statement":"It holds.","clause":"a clause","level":"MUST","subject":
            "runtime","verdict":"{verdict}","reason":"why","expected":"a","observed":"b","inside":[],"kernel":[],"wall_ms":5}}"#
        );
        text += &format!("\n{}", check.replace('\n', ""));
    }
    text += "\n{\"record\":\"end\",\"wall_ms\":9,\"events_lost\":0,\"left_behind\":[]}\n";
    fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn records_become_every_report() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let records = records(&dir, "records", "1", "REAP-15")?;
    let out = dir.path().join("out");
    let out_text = out.display().to_string();
    let output = podproof(&["report", &records, "--report-dir", &out_text])?;
    expect(&output, 1, "again:     podproof run --runtime runc REAP-15\n")?;
    for name in ["report.json", "report.html", "junit.xml", "trace.json"] {
        if fs::metadata(out.join(name))?.len() == 0 {
            return Err(format!("{name} is empty").into());
        }
    }
    let output = podproof(&["report", &records, "--format", "json"])?;
    let last: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    if last["type"] != "end" || last["status"] != 1 {
        return Err(last.to_string().into());
    }
    Ok(())
}

fn a_baseline_decides_the_status() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let failing = records(&dir, "failing", "1", "REAP-15")?;
    let passing = records(&dir, "passing", "1", "")?;
    let baselines = dir.path().join("baselines").display().to_string();
    let of = |records: &str, more: &[&str]| {
        podproof(&[&["report", records, "--baseline", &baselines], more].concat())
    };
    expect(&of(&failing, &[])?, 1, "has no baseline in")?;
    expect(&of(&failing, &["--bless"])?, 0, "write the explanation of REAP-15")?;
    expect(&of(&failing, &[])?, 0, "has no explanation for REAP-15")?;
    expect(&of(&passing, &[])?, 1, "REAP-15 is pass, and")?;
    expect(&of(&passing, &["--bless"])?, 0, "taken out, as they no longer fail: REAP-15")?;
    expect(&of(&failing, &[])?, 1, "not known in")
}

fn reports_are_compared_and_merged() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let mut reports = Vec::new();
    for (version, failed) in [("1", "NS-01"), ("2", "REAP-15")] {
        let out = dir.path().join(version);
        let out_text = out.display().to_string();
        podproof(&["report", &records(&dir, "records", version, failed)?, "--report-dir", &out_text])?;
        reports.push(out.join("report.json").display().to_string());
        fs::remove_file(dir.path().join("records"))?;
    }
    let (old, new) = (reports[0].as_str(), reports[1].as_str());
    expect(&podproof(&["diff", old, new])?, 1, "worse   REAP-15   pass -> fail")?;
    expect(&podproof(&["diff", old, old])?, 0, "0 changed, 2 as before")?;
    let json = dir.path().join("matrix.json").display().to_string();
    expect(
        &podproof(&["matrix", old, new, "--json", &json])?,
        0,
        "runc 2, kernel 6.12.1-x, host: 2 verdicts",
    )?;
    expect(&podproof(&["matrix", &json])?, 0, "runc 1, kernel 6.12.1-x, host: 2 verdicts")
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
    let output = Command::new(&program)
        .args(["run", "--runtime", "runc", "--witness", "/bin/true", "--pause", "/bin/true"])
        .uid(65534)
        .gid(65534)
        .output()?;
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
