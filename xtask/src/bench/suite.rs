//! `cargo xtask bench suite`: what judging podrt takes, from a cold start: wall time, CPU time, and the slowest checks.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::Value;

use crate::build;
use crate::cmd::Cmd;
use crate::setup::{self, Tool};
use crate::suite;
use crate::workspace;

/// How many of the slowest checks are told.
const SLOWEST: usize = 10;

/// Options of the measurement.
#[derive(Debug, Args)]
pub(crate) struct SuiteArgs {
    /// A runtime to judge: podrt, runc, crun, youki, or the path of any OCI runtime
    #[arg(long, value_name = "NAME|PATH", default_value = "podrt")]
    runtime: String,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux with BTF
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
    /// auto, kvm or tcg
    #[arg(long, value_name = "ACCEL", default_value = "auto")]
    accel: String,
}

/// Judges once, boot included, and tells what it took.
pub(crate) fn run(args: &SuiteArgs) -> Result<ExitCode> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(Tool::runtime(&args.runtime));
    wanted.extend(suite::tools(std::slice::from_ref(&args.kernel)));
    // Neither set-up nor build is measured.
    build::all(&setup::ensure(&wanted)?)?;
    let dir = workspace::target().join("bench-suite");
    let command = Cmd::ourselves()?
        .args(["conformance", "--runtime", &args.runtime, "--kernel", &args.kernel, "--accel", &args.accel])
        .arg("--report-dir")
        .arg(&dir);
    let (before, begin) = (cpu_time()?, Instant::now());
    let status = suite::status(command)?;
    let (wall, cpu) = (begin.elapsed(), cpu_time()?.saturating_sub(before));
    let path = dir.join("report.json");
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    print!("{}", told(&serde_json::from_slice(&text).context("the report is no JSON")?, wall, cpu, &path));
    Ok(status)
}

/// CPU time of all processes that this one has waited for, with all that those waited for: podproof and QEMU.
fn cpu_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot read the CPU time of children")?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(us).context("a CPU time below zero")?))
}

fn told(report: &Value, wall: Duration, cpu: Duration, path: &Path) -> String {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut checks: Vec<(u64, String)> = Vec::new();
    let mut in_run = 0;
    for run in list(&report["runs"]) {
        in_run += run["wall_ms"].as_u64().unwrap_or_default();
        for check in list(&run["checks"]) {
            let word = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
            let said = format!("{:<9} {} ({})", word("id"), word("name"), word("verdict"));
            checks.push((check["wall_ms"].as_u64().unwrap_or_default(), said));
        }
    }
    checks.sort_by(|a, b| b.cmp(a));
    let seconds = |ms: u64| Duration::from_millis(ms).as_secs_f64();
    let mut text = format!(
        "\nwall time {:8.1} s, boot and report included\nof which  {:8.1} s judging\nCPU time  {:8.1} s\n\n{} checks, \
         the slowest:\n",
        wall.as_secs_f64(),
        seconds(in_run),
        cpu.as_secs_f64(),
        checks.len()
    );
    for (ms, said) in checks.iter().take(SLOWEST) {
        text += &format!("{:8.2} s  {said}\n", seconds(*ms));
    }
    text + &format!("report: {}\n", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_come_first() {
        let checks: Vec<Value> = (0..12)
            .map(|n| serde_json::json!({ "id": format!("A-{n:02}"), "name": "x", "verdict": "pass", "wall_ms": n * 100 }))
            .collect();
        let report = serde_json::json!({ "runs": [{ "wall_ms": 5000, "checks": checks }] });
        let text = told(&report, Duration::from_secs(9), Duration::from_secs(4), Path::new("r.json"));
        let slowest: Vec<&str> = text.lines().filter(|line| line.contains(" A-")).collect();
        assert_eq!(slowest.len(), SLOWEST);
        assert_eq!(slowest[0], "    1.10 s  A-11      x (pass)");
        assert!(text.contains("wall time      9.0 s") && text.contains("12 checks"), "{text}");
    }
}
