//! `podproof run`: judges runtimes on the machine at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use libtest_mimic::Arguments;
use podproof_ebpf::{TraceOptions, Tracer};
use sha2::{Digest, Sha256};

use crate::adapter::oci::OciRuntime;
use crate::checks::{self, Check};
use crate::report::model::{ProbeReport, RunReport, RuntimeReport, SandboxReport};
use crate::report::records::{Record, Recorder};
use crate::report::{exit, table};
use crate::run::{Programs, Run};
use crate::suite;

/// Judges runtimes.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// An OCI runtime, by name (in PATH) or path; may be given several times.
    #[arg(long, value_name = "NAME|PATH", required = true)]
    runtime: Vec<String>,
    /// Only checks whose id or name contains one of these (`REAP`, `NS-01`, `hostname`).
    filter: Vec<String>,
    /// The witness program; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    witness: Option<PathBuf>,
    /// The sandbox program; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    pause: Option<PathBuf>,
    /// Write `report.json` into this directory.
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// Append records to this file or device, and leave the table to their reader.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// What kind of machine this is, for the report.
    #[arg(long, value_name = "NAME", default_value = "host")]
    machine: String,
    /// Multiplies every deadline, for slow machines.
    #[arg(long, value_name = "FACTOR", env = "PODPROOF_DEADLINE_FACTOR", default_value_t = 1.0)]
    deadline_factor: f64,
    /// Options for the test runner, such as `--test-threads 1`.
    #[arg(last = true)]
    libtest: Vec<String>,
}

pub(super) fn run(args: &RunArgs) -> Result<u8> {
    ensure!(
        args.deadline_factor.is_finite() && args.deadline_factor > 0.0,
        "--deadline-factor {}: must be a positive number",
        args.deadline_factor
    );
    let checks = checks::matching(&args.filter);
    if checks.is_empty() {
        bail!("no check matches {}; `podproof list` shows them all", args.filter.join(" "));
    }
    let libtest = arguments(&args.libtest)?;
    ensure!(
        nix::unistd::geteuid().is_root(),
        "judging on this machine needs root (containers, cgroups, eBPF); run it as root, or in a VM with \
         `cargo xtask conformance`"
    );
    let programs = Programs {
        witness: program(args.witness.as_deref(), "podproof-witness", "--witness")?,
        pause: program(args.pause.as_deref(), "pause", "--pause")?,
    };
    let base = tempfile::Builder::new()
        .prefix("podproof-")
        .tempdir_in("/run")
        .context("make a directory for the cells in /run")?;
    let patience = Duration::from_secs_f64(10.0 * args.deadline_factor);
    let runtimes = args
        .runtime
        .iter()
        .map(|given| OciRuntime::find(given, base.path(), patience).map_err(Into::into))
        .collect::<Result<Vec<_>>>()?;
    let recorder = Arc::new(Recorder::open(args.records.as_deref()).context("open the records")?);
    let tracer = Tracer::start(&TraceOptions::default()).map(Arc::new).map_err(|error| chain(&error));
    if let Err(reason) = &tracer {
        eprintln!("podproof: no kernel evidence, every check will be inconclusive: {reason}");
    }
    let mut runs = Vec::new();
    for runtime in runtimes {
        let scene = Scene { programs: &programs, base: base.path(), recorder: &recorder, libtest: &libtest };
        runs.push(judge_one(args, runtime, &checks, tracer.clone(), &scene)?);
    }
    if args.records.is_none() {
        print!("{}", table::render(&runs));
    }
    if let Some(dir) = &args.report_dir {
        super::report::write(dir, &runs)?;
    }
    Ok(exit::status(&runs))
}

struct Scene<'a> {
    programs: &'a Programs,
    base: &'a Path,
    recorder: &'a Arc<Recorder>,
    libtest: &'a Arguments,
}

fn judge_one(
    args: &RunArgs,
    runtime: OciRuntime,
    checks: &[Check],
    tracer: Result<Arc<Tracer>, String>,
    scene: &Scene<'_>,
) -> Result<RunReport> {
    let begin = Instant::now();
    println!("\n{} {} ({})", runtime.name, runtime.version, runtime.path.display());
    let mut report = head(args, &runtime, scene.programs, tracer.as_ref().ok().map(AsRef::as_ref))?;
    let run = Arc::new(Run::open(runtime, scene.programs, tracer.clone(), scene.base, args.deadline_factor)?);
    scene.recorder.write(&Record::Run(Box::new(report.clone()))).context("write a record")?;
    report.checks = suite::run(&run, checks, scene.libtest, scene.recorder);
    report.left_behind = run.close();
    report.events_lost = tracer.map_or(0, |tracer| tracer.events_lost());
    report.wall_ms = u64::try_from(begin.elapsed().as_millis())?;
    let end = Record::End {
        wall_ms: report.wall_ms,
        events_lost: report.events_lost,
        left_behind: report.left_behind.clone(),
    };
    scene.recorder.write(&end).context("write a record")?;
    Ok(report)
}

fn head(
    args: &RunArgs,
    runtime: &OciRuntime,
    programs: &Programs,
    tracer: Option<&Tracer>,
) -> Result<RunReport> {
    let pause = fs::read(&programs.pause).with_context(|| format!("read {}", programs.pause.display()))?;
    let digest = Sha256::digest(&pause);
    let probes = tracer.map_or_else(Vec::new, |tracer| {
        tracer
            .probes()
            .iter()
            .map(|probe| ProbeReport {
                name: probe.name.clone(),
                mechanism: probe.mechanism.clone(),
                attached: probe.attached,
                reason: probe.reason.clone(),
            })
            .collect()
    });
    Ok(RunReport {
        runtime: RuntimeReport {
            name: runtime.name.clone(),
            path: runtime.path.display().to_string(),
            version: runtime.version.clone(),
        },
        adapter: "oci".to_owned(),
        sandbox: SandboxReport {
            name: programs
                .pause
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            path: programs.pause.display().to_string(),
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
        kernel: nix::sys::utsname::uname()?.release().to_string_lossy().into_owned(),
        machine: args.machine.clone(),
        wall_ms: 0,
        probes,
        events_lost: 0,
        checks: Vec::new(),
        ended_early: None,
        left_behind: Vec::new(),
    })
}

fn arguments(options: &[String]) -> Result<Arguments> {
    let all = std::iter::once("podproof".to_owned()).chain(options.iter().cloned());
    <Arguments as clap::Parser>::try_parse_from(all).context("options after -- are for the test runner")
}

fn program(given: Option<&Path>, name: &str, option: &str) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name(name),
    };
    ensure!(
        path.is_file(),
        "{}: not found; build it with `cargo xtask build`, or give {option} PATH",
        path.display()
    );
    Ok(path)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
