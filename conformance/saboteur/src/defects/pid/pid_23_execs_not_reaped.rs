//! The parent of an exec session never waits for it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::inside;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-23-execs-not-reaped",
    target: "PID-23",
    does: "the parent of an exec session never waits for it",
    also_red: &[("REAP-13", "the parent of a session passes on nothing that it prints")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "exec" { exec(call, base) } else { base.pass(call) }
}

/// Executes the program below a parent that stays and never waits, and returns when the program has ended. The parent of a detached one
/// is the caller's affair.
pub(super) fn exec(call: &Call, base: &Base) -> Result<u8> {
    if call.is_detached() {
        return base.pass(call);
    }
    let pid_file = call.memory(&format!("session-{}", std::process::id()))?.display().to_string();
    let mut arguments = call.arguments.clone();
    let at = arguments.iter().position(|argument| argument == "exec").context("find the verb")? + 1;
    arguments.splice(at..at, ["--detach".to_owned(), "--pid-file".to_owned(), pid_file.clone()]);
    let mut parent = Command::new("/proc/self/exe")
        .arg0(inside::WRAPPER)
        .args(["unreaped", &pid_file])
        .arg(base.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the parent of the session")?;
    let output = parent.stdout.take().context("find its output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("wait for the end of the session")?;
    Ok(u8::from(line.is_empty()))
}
