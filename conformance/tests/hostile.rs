//! A hostile runtime can neither hang nor crash the suite, nor get one false pass, nor leave anything behind.
//!
//! Each that `podproof-saboteur hostile` lists is judged by a handful of checks. Needs root and a cgroup v2 host of its own: a VM.
//! `PODPROOF`, `PODPROOF_SABOTEUR` and `PODRT` name the programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// What they are judged by: one container, its end and its removal, a pod, a refusal that a runtime that does nothing could seem
/// to give, many at a time.
const CHECKS: [&str; 6] = ["PID-01", "LIFE-03", "LIFE-10", "NS-02", "NS-11", "ROBUST-17"];
/// Deadlines of the suite in these tests, as a part of the usual ones: most of a hostile runtime is waiting for it.
const FACTOR: &str = "0.5";
/// Within this time the suite has to end.
const DEADLINE: Duration = Duration::from_secs(240);
/// `podproof run` has judged: a MUST failed, or nothing is certain.
const JUDGED: [i32; 2] = [1, 3];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let trials = match missing_prerequisite() {
        Some(reason) => {
            vec![Trial::ignorable_test("hostile_runtimes", move || Ok(Completion::ignored_with(reason)))]
        }
        None => trials(),
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials() -> Vec<Trial> {
    let listed = Command::new(variable("PODPROOF_SABOTEUR")).arg("hostile").output();
    let list: Vec<Value> =
        listed.ok().and_then(|listed| serde_json::from_slice(&listed.stdout).ok()).unwrap_or_default();
    let fulfils = |one: &Value| -> Vec<String> {
        let ids = one["fulfils"].as_array().into_iter().flatten();
        ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
    };
    let listed: Vec<(String, Vec<String>)> =
        list.iter().filter_map(|one| Some((one["name"].as_str()?.to_owned(), fulfils(one)))).collect();
    let mut trials = vec![Trial::test("hostile_runtimes_are_listed", {
        let n_listed = listed.len();
        move || if n_listed > 0 { Ok(()) } else { Err(Failed::from("none is listed")) }
    })];
    for (name, fulfils) in listed {
        let title = format!("{}_gets_no_false_pass", name.replace('-', "_"));
        trials.push(Trial::test(title, move || Ok(judge(&name, &fulfils)?)));
    }
    trials
}

fn missing_prerequisite() -> Option<&'static str> {
    if ["PODPROOF", "PODPROOF_SABOTEUR", "PODRT"].iter().any(|name| std::env::var_os(name).is_none()) {
        return Some("needs PODPROOF, PODPROOF_SABOTEUR and PODRT; runs in a VM by `cargo xtask test`");
    }
    (!nix::unistd::geteuid().is_root()).then_some("needs root, in a VM: `cargo xtask test`")
}

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).map(PathBuf::from).unwrap_or_default()
}

fn judge(name: &str, fulfils: &[String]) -> Result<(), String> {
    let temp = tempfile::tempdir().map_err(|error| format!("make a directory: {error}"))?;
    let said = |error: std::io::Error| error.to_string();
    let links = temp.path().join("links");
    let installed = Command::new(variable("PODPROOF_SABOTEUR"))
        .args(["hostile", "--install"])
        .arg(&links)
        .status()
        .map_err(said)?;
    if !installed.success() {
        return Err(format!("the links could not be made: {installed}"));
    }
    let records = temp.path().join("records");
    let output = fs::File::create(temp.path().join("output")).map_err(said)?;
    let before = traces();
    let mut command = Command::new(variable("PODPROOF"));
    command
        .arg("run")
        .arg("--runtime")
        .arg(links.join(name))
        .args(["--deadline-factor", FACTOR, "--records"])
        .arg(&records)
        .args(CHECKS)
        .env("PODPROOF_SABOTEUR_BASE", variable("PODRT"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(said)?)
        .stderr(output);
    let ended = within_deadline(command)?;
    let text = fs::read_to_string(&records).unwrap_or_default();
    let verdicts = verdicts(&text);
    let passed: Vec<&str> = verdicts
        .iter()
        .filter(|(id, verdict)| verdict == "pass" && !fulfils.contains(id))
        .map(|(id, _)| id.as_str())
        .collect();
    let printed = fs::read_to_string(temp.path().join("output")).unwrap_or_default();
    let told = || {
        printed.lines().rev().take(30).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    };
    if !ended.code().is_some_and(|code| JUDGED.contains(&code)) {
        return Err(format!("podproof ended with {ended}; verdicts {verdicts:?}\n{}", told()));
    }
    if !passed.is_empty() {
        return Err(format!("false passes: {}", passed.join(", ")));
    }
    if verdicts.len() != CHECKS.len() {
        return Err(format!(
            "{} of {} checks have a verdict: {verdicts:?}\n{}",
            verdicts.len(),
            CHECKS.len(),
            told()
        ));
    }
    let left: Vec<String> = traces().difference(&before).cloned().collect();
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}\n{}", left.join(", "), told())) }
}

/// Waits for a command; it is killed at the deadline, which is a failure.
fn within_deadline(mut command: Command) -> Result<ExitStatus, String> {
    let mut child = command.spawn().map_err(|error| format!("start podproof: {error}"))?;
    let deadline = Instant::now() + DEADLINE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < deadline => std::thread::park_timeout(Duration::from_millis(50)),
            Ok(None) => {
                child.kill().map_err(|error| error.to_string())?;
                return Err(format!("podproof did not end within {} s", DEADLINE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Id and verdict of each check.
fn verdicts(records: &str) -> Vec<(String, String)> {
    records
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|record| record["record"] == "check")
        .filter_map(|record| {
            Some((record["id"].as_str()?.to_owned(), record["verdict"].as_str()?.to_owned()))
        })
        .collect()
}

/// What is on the node that could be of a run: processes, cgroups, mounts, directories.
fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pid in entries(Path::new("/proc")) {
        let line = fs::read(pid.join("cmdline")).unwrap_or_default();
        // A kernel thread has none, nor has a zombie.
        if line.is_empty() || pid.ends_with("self") || pid.ends_with("thread-self") {
            continue;
        }
        found.insert(format!(
            "process {} {}",
            pid.display(),
            String::from_utf8_lossy(&line).replace('\0', " ")
        ));
    }
    let mut front = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = front.pop() {
        for entry in entries(&dir).into_iter().filter(|entry| entry.is_dir()) {
            found.insert(format!("cgroup {}", entry.display()));
            front.push(entry);
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter_map(|line| Some(format!("mount {}", line.split(' ').nth(4)?))));
    found.extend(entries(Path::new("/run")).into_iter().map(|entry| format!("file {}", entry.display())));
    found
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
