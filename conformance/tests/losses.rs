//! Evidence that lost events never makes a pass, from the ring to the report: real checks on this machine, with a ring of one
//! page.
//!
//! `PODPROOF_TEST_RUNC` is the runtime (without it the one in PATH), `PODPROOF_TEST_WITNESS` and `PODPROOF_TEST_PAUSE` are the
//! static programs that its containers execute. What is missing skips the test with the reason.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// Checks of processes, which make many events in little time.
const CHECKS: [&str; 2] = ["REAP-0", "PID-0"];
/// A ring of one page.
const PAGE: &str = "4096";

fn main() {
    let arguments = Arguments::from_args();
    let tests = vec![
        Trial::ignorable_test("a_size_that_no_ring_has_is_refused", || {
            a_size_that_no_ring_has_is_refused().map(|()| Completion::Completed)
        }),
        Trial::ignorable_test("a_loss_is_inconclusive_and_never_a_pass", || match Stage::find() {
            Ok(stage) => a_loss_is_inconclusive_and_never_a_pass(&stage).map(|()| Completion::Completed),
            Err(reason) => Ok(Completion::ignored_with(reason)),
        }),
        Trial::ignorable_test("a_loss_is_told_in_the_trace", || match missing_probes() {
            None => a_loss_is_told_in_the_trace().map(|()| Completion::Completed),
            Some(reason) => Ok(Completion::ignored_with(reason)),
        }),
    ];
    libtest_mimic::run(&arguments, tests).exit();
}

fn missing_probes() -> Option<String> {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = || {
        if !nix::unistd::geteuid().is_root() {
            return Some("needs root".to_owned());
        }
        let options = podproof_ebpf::TraceOptions { ring_bytes: 4096, ..Default::default() };
        Some(format!("no probes: {}", podproof_ebpf::Tracer::start(&options).err()?))
    };
    MISSING.get_or_init(missing).clone()
}

/// What judging takes.
struct Stage {
    runtime: PathBuf,
    witness: PathBuf,
    pause: PathBuf,
}

impl Stage {
    fn find() -> Result<Self, String> {
        if let Some(reason) = missing_probes() {
            return Err(reason);
        }
        let given = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let program = |name: &str| given(name).ok_or_else(|| format!("{name} is not set"));
        let in_path = || {
            let dirs = std::env::var_os("PATH")?;
            std::env::split_paths(&dirs).map(|dir| dir.join("runc")).find(|path| path.is_file())
        };
        Ok(Self {
            runtime: given("PODPROOF_TEST_RUNC").or_else(in_path).ok_or("no runc in PATH")?,
            witness: program("PODPROOF_TEST_WITNESS")?,
            pause: program("PODPROOF_TEST_PAUSE")?,
        })
    }

    /// Judges the checks; the output of podproof, and what its report says of each.
    fn judge(&self, options: &[&str]) -> Result<(Output, Vec<Value>), Failed> {
        let dir = tempfile::tempdir()?;
        let output = podproof("run")
            .args(options)
            .args(CHECKS)
            .arg("--runtime")
            .arg(&self.runtime)
            .arg("--witness")
            .arg(&self.witness)
            .arg("--pause")
            .arg(&self.pause)
            .arg("--report-dir")
            .arg(dir.path())
            .output()?;
        let text = fs::read(dir.path().join("report.json"))
            .map_err(|error| format!("no report: {error}\n{}", said(&output)))?;
        let report: Value = serde_json::from_slice(&text)?;
        let checks = report["runs"][0]["checks"].as_array().ok_or("a report without checks")?;
        Ok((output, checks.clone()))
    }
}

fn podproof(command: &str) -> Command {
    let mut podproof = Command::new(env!("CARGO_BIN_EXE_podproof"));
    podproof.arg(command);
    podproof
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn a_size_that_no_ring_has_is_refused() -> Result<(), Failed> {
    for (command, rest) in [("run", ["--runtime", "runc"]), ("trace", ["--", "true"])] {
        for bytes in ["0", "2048", "5000", "4294967296", "1M"] {
            let output = podproof(command).args(["--ring-bytes", bytes]).args(rest).output()?;
            let text = said(&output);
            if output.status.code() != Some(2) || !text.contains("must be a power of two from 4096") {
                return Err(format!("{command} --ring-bytes {bytes}: {}\n{text}", output.status).into());
            }
        }
    }
    Ok(())
}

fn a_loss_is_inconclusive_and_never_a_pass(stage: &Stage) -> Result<(), Failed> {
    // With a ring of the usual size the same checks are judged.
    let (output, judged) = stage.judge(&[])?;
    for check in &judged {
        if check["events_lost"] != 0 || check["verdict"] != "pass" {
            return Err(format!("{} with the usual ring: {check:#}\n{}", check["id"], said(&output)).into());
        }
    }
    let (output, lossy) = stage.judge(&["--ring-bytes", PAGE])?;
    let mut lost = 0;
    for check in &lossy {
        let is_lossy = check["events_lost"].as_u64().ok_or("a check without its losses")? > 0;
        let is_named = check["reason"].as_str().is_some_and(|reason| reason.contains("events were lost"));
        // Not one of them fails, so what is lost decides.
        let is_right = if is_lossy {
            check["verdict"] == "inconclusive" && is_named
        } else {
            check["verdict"] == "pass"
        };
        if !is_right || !check["leaked"].is_null() {
            return Err(format!("with a ring of one page: {check:#}\n{}", said(&output)).into());
        }
        lost += usize::from(is_lossy);
    }
    if lossy.len() != judged.len() || lost == 0 || output.status.code() != Some(3) {
        let (n, status) = (lossy.len(), output.status);
        return Err(format!("{lost} of {n} checks lost events, {status}:\n{}", said(&output)).into());
    }
    Ok(())
}

fn a_loss_is_told_in_the_trace() -> Result<(), Failed> {
    let forks = "i=0; while [ $i -lt 300 ]; do (:); i=$((i+1)); done";
    let output = podproof("trace").args(["--ring-bytes", PAGE, "--", "sh", "-c", forks]).output()?;
    let text = said(&output);
    if output.status.code() == Some(0) && text.contains("lost") {
        return Ok(());
    }
    Err(format!("no loss is told, {}:\n{text}", output.status).into())
}
