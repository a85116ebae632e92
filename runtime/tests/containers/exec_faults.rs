//! An exec that fails, or dies, at each of its steps in turn: no process and nothing else may be left.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::Failed;
use runtime::launch::{ExecRequest, Target, exec, read_features};
use runtime::plan;
use runtime::spec::config;
use runtime::spec::exec::Overrides;
use runtime::state::StateRoot;
use serde_json::json;

use crate::exec::hold;
use crate::faults::{LIMIT, fail_at};
use crate::fixture::Cell;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[("exec::each_step_fails_or_dies", each_step_fails_or_dies)];

/// Exit code of [`exec_with_fault`] when the exec failed.
const FAILED: i32 = 3;

/// A process of its own with one thread: `--exec STATE_ROOT PID_FILE step|death|stop INDEX`. Prints each step, then `end`.
pub(crate) fn exec_with_fault(args: &[String]) -> ExitCode {
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let [root, pid_file, mode, index] = args else { return Err("four arguments".into()) };
        let index = index.parse()?;
        let target = Target::find(&StateRoot::new(root), &"c".parse()?, false)?;
        let spec = config::parse(&target.document, &target.bundle)?;
        let overrides = Overrides {
            args: ["/program", "--inside", "exit", "0"].map(str::to_owned).to_vec(),
            no_new_privileges: true,
            ..Overrides::default()
        };
        let (process, _) = runtime::spec::exec::process(&target.document, None, &overrides)?;
        let (cgroup, kinds) = (&target.cgroup, &target.namespaces);
        let plan =
            plan::exec::exec(&spec, &process, cgroup, kinds, Some(Path::new(pid_file)), &read_features()?)?;
        let mut stdout = std::io::stdout();
        for step in &plan.steps {
            writeln!(stdout, "{}", step.action)?;
        }
        writeln!(stdout, "end")?;
        stdout.flush()?;
        let fail_at = fail_at(mode, index, &plan)?;
        exec(&ExecRequest {
            target: &target,
            process: &process,
            plan: &plan,
            sub_cgroup: None,
            preserve_fds: 0,
            console: None,
            command: None,
            answer_within: (mode == "stop").then_some(LIMIT),
            fail_at,
        })?;
        Ok(())
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(u8::try_from(FAILED).unwrap_or_default())
        }
    }
}

fn each_step_fails_or_dies() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let mut config = cell.config("c", &["hold"]);
    let process = &mut config["process"];
    process["oomScoreAdj"] = json!(10);
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}]);
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE"});
    process["scheduler"] = json!({"policy": "SCHED_BATCH"});
    config["linux"]["personality"] = json!({"domain": "LINUX"});
    let _output = hold(&mut cell, &config)?;
    let pid_file = cell.path().join("data/pid");
    let try_at = |mode: &str, index: usize| -> Result<(usize, Option<i32>, String), Failed> {
        let output = Command::new("/proc/self/exe")
            .arg("--exec")
            .args([&cell.state_root(), &pid_file])
            .args([mode, &index.to_string()])
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let n_steps = text.lines().take_while(|line| *line != "end").count();
        Ok((n_steps, output.status.code(), String::from_utf8(output.stderr)?))
    };
    let (n_steps, code, message) = try_at("step", usize::MAX)?;
    if n_steps < 12 || code != Some(0) {
        return fail(format!("{n_steps} steps, {code:?}: {message}"));
    }
    fs::remove_file(&pid_file)?;
    let (_, code, message) = try_at("stop", 0)?;
    if code != Some(FAILED) || !message.contains("did not answer within 2 s") {
        return fail(format!("stopped: {code:?} {message}"));
    }
    cell.expect_nothing_left()?;
    for index in 0..n_steps {
        let (_, code, message) = try_at("step", index)?;
        if code != Some(FAILED) || !message.contains("made to fail by a test") {
            return fail(format!("step {index}: {code:?} {message}"));
        }
        cell.expect_nothing_left()?;
        let (_, code, message) = try_at("death", index)?;
        if code == Some(0) {
            return fail(format!("step {index} died, and the exec succeeded: {message}"));
        }
        // One that was killed cannot take its pid file back.
        match fs::remove_file(&pid_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        cell.expect_nothing_left()?;
    }
    cell.expect_status("c", "running")
}
