//! What the exporter answers while all goes on: every family there is, as Prometheus' own tool wants it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use exporter::metrics::FAMILIES;
use nix::sched::{CloneFlags, setns};

use crate::process::get;
use crate::{EXPORTER, Res};

/// Fails unless a scrape has every family, and `promtool check metrics` has nothing to say about it.
pub(crate) fn check() -> Res<()> {
    refused()?;
    let (code, text) = get(EXPORTER, "/metrics")?;
    if code != 200 {
        return Err(format!("/metrics answers {code}: {text}").into());
    }
    let types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let is_there = |name: &str| types.iter().any(|line| line.split(' ').next() == Some(name));
    let missing: Vec<&str> =
        FAMILIES.iter().map(|family| family.name).filter(|name| !is_there(name)).collect();
    if !missing.is_empty() {
        return Err(format!("families that are missing: {missing:?}").into());
    }

    let program = std::env::var_os("PODPROOF_PROMTOOL").ok_or("PODPROOF_PROMTOOL is not set")?;
    let mut child = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() && said.is_empty() {
        return Ok(());
    }
    Err(format!("promtool: {}\n{}", output.status, String::from_utf8_lossy(&said)).into())
}

/// What is refused has series only once it has happened: a setns of another type, and an unshare without the right to it.
fn refused() -> Res<()> {
    let own = std::fs::File::open("/proc/self/ns/uts")?;
    if setns(&own, CloneFlags::CLONE_NEWNET).is_ok() {
        return Err("a UTS namespace was joined as a network namespace".into());
    }
    Ok(())
}
