//! The output of containers.

use std::fs;

use libtest_mimic::Failed;

use crate::fixture::{Cell, wait};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("output::both_streams_are_kept_apart", both_streams_are_kept_apart),
    ("output::logs_follow_until_the_end", logs_follow_until_the_end),
    ("output::logs_follow_over_rotations", logs_follow_over_rotations),
    ("output::logs_follow_one_run", logs_follow_one_run),
    ("output::a_large_output_is_rotated", a_large_output_is_rotated),
    ("output::only_the_last_lines_are_shown", only_the_last_lines_are_shown),
    ("output::one_that_never_ceases_to_write_can_be_stopped", one_that_never_ceases_to_write_can_be_stopped),
    ("output::damage_in_a_log_is_told", damage_in_a_log_is_told),
];

fn both_streams_are_kept_apart() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("streams", &[cell.container("main", "echo out; echo err >&2; printf rest")]);
    pod["spec"]["restartPolicy"] = "Never".into();
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "streams"])?;
    let output = cell.call(&["logs", "streams"])?;
    let stdout = String::from_utf8(output.stdout)?;
    if stdout.trim_end() != "out\nrest" {
        return fail(format!("stdout is {stdout:?}"));
    }
    expect("stderr", String::from_utf8(output.stderr)?, "err\n".to_owned())?;
    let log = fs::read_to_string(cell.root().join("pods/streams/logs/main/0.log"))?;
    let first = log.lines().next().unwrap_or_default();
    let fields: Vec<&str> = first.splitn(4, ' ').collect();
    let is_cri = matches!(fields.as_slice(), [time, "stdout" | "stderr", "F", _] if time.contains('T'));
    if !is_cri {
        return fail(format!("not the format of the CRI: {first:?}"));
    }
    cell.clean(&["streams"])
}

fn logs_follow_until_the_end() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.1; done";
    let mut pod = cell.pod("follow", &[cell.container("main", script)]);
    pod["spec"]["restartPolicy"] = "Never".into();
    cell.run(&pod, &[])?;
    let output = wait(cell.spawn(&["logs", "follow", "--follow"])?)?;
    let wanted: String = (1..=8).map(|i| format!("line {i}\n")).collect();
    expect("output", String::from_utf8(output.stdout)?, wanted)?;
    cell.clean(&["follow"])
}

/// The files that it reads are renamed and removed meanwhile.
fn logs_follow_over_rotations() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "n=1; while [ $n -le 4000 ]; do seq $n $((n + 99)); n=$((n + 100)); sleep 0.05; done";
    let mut pod = cell.pod("turns", &[cell.container("main", script)]);
    pod["spec"]["restartPolicy"] = "Never".into();
    cell.run(&pod, &["--log-max-size", "16384", "--log-max-files", "10"])?;
    let output = wait(cell.spawn(&["logs", "turns", "--follow"])?)?;
    let wanted: String = (1..=4000).map(|n| format!("{n}\n")).collect();
    expect("output", String::from_utf8(output.stdout)? == wanted, true)?;
    let rotated = fs::read_dir(cell.root().join("pods/turns/logs/main"))?.count();
    if rotated < 5 {
        return fail(format!("the log was in {rotated} files only"));
    }
    cell.clean(&["turns"])
}

/// What comes after its end is another log.
fn logs_follow_one_run() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let pod = cell.pod("again", &[cell.container("main", "echo begin; sleep 1; echo end; exit 1")]);
    cell.run(&pod, &["--restart-backoff", "0"])?;
    let output = wait(cell.spawn(&["logs", "again", "--follow"])?)?;
    expect("output", String::from_utf8(output.stdout)?, "begin\nend\n".to_owned())?;
    let status = cell.inspect("again")?;
    expect("state", status["state"].as_str(), Some("Running"))?;
    cell.ok(&["stop", "again", "--time", "0"])?;
    cell.clean(&["again"])
}

fn a_large_output_is_rotated() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("large", &[cell.container("main", "seq 1 20000")]);
    pod["spec"]["restartPolicy"] = "Never".into();
    cell.run(&pod, &["--log-max-size", "65536", "--log-max-files", "3"])?;
    cell.ok(&["wait", "large"])?;
    let files: Vec<u64> = fs::read_dir(cell.root().join("pods/large/logs/main"))?
        .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
        .collect();
    if files.len() != 3 || files.iter().any(|length| *length > 65536 + 100) {
        return fail(format!("the files have these sizes: {files:?}"));
    }
    let text = cell.logs("large", "main")?;
    let numbers: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let is_whole = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]) && numbers.last() == Some(&20000);
    if !is_whole {
        return fail(format!(
            "lines are missing: {} from {:?} to {:?}",
            numbers.len(),
            numbers.first(),
            numbers.last()
        ));
    }
    cell.clean(&["large"])
}

fn only_the_last_lines_are_shown() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("tail", &[cell.container("main", "seq 1 1000")]);
    pod["spec"]["restartPolicy"] = "Never".into();
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "tail"])?;
    expect("tail", cell.ok(&["logs", "tail", "--tail", "2"])?, "999\n1000\n".to_owned())?;
    cell.clean(&["tail"])
}

fn one_that_never_ceases_to_write_can_be_stopped() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let containers = [cell.container("main", "exec yes"), cell.container("other", "yes >&2 & exec yes")];
    cell.run(&cell.pod("noisy", &containers), &["--log-max-size", "65536", "--log-max-files", "2"])?;
    let status = cell.container_status("noisy", "other")?;
    if status["state"]["running"].is_null() {
        return fail(format!("the other container does not run: {status}"));
    }
    cell.ok(&["stop", "noisy"])?;
    let text = cell.logs("noisy", "main")?;
    if text.lines().count() < 100 || text.lines().any(|line| line != "y") {
        return fail(format!("the log holds {} lines", text.lines().count()));
    }
    cell.clean(&["noisy"])
}

fn damage_in_a_log_is_told() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut pod = cell.pod("damage", &[cell.container("main", "echo first")]);
    pod["spec"]["restartPolicy"] = "Never".into();
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "damage"])?;
    let path = cell.root().join("pods/damage/logs/main/0.log");
    let mut log = fs::read_to_string(&path)?;
    log.push_str("no record\n2026-01-01T00:00:00.000000000Z stdout F last\n");
    fs::write(&path, log)?;
    let output = cell.call(&["logs", "damage"])?;
    expect("what is shown", String::from_utf8(output.stdout)?, "first\nlast\n".to_owned())?;
    let said = String::from_utf8(output.stderr)?;
    if !said.contains("1 line is no record and is left out") {
        return fail(format!("logs says {said:?}"));
    }
    cell.clean(&["damage"])
}
