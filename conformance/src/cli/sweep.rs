//! `podproof sweep`: kills the commands of runtimes at their system calls, on the machine at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use podproof_ebpf::inject::Injector;

use super::stage::program;
use crate::adapter::oci::OciRuntime;
use crate::interrupt;
use crate::observe::process;
use crate::report::exit;
use crate::report::model::RuntimeReport;
use crate::run::Programs;
use crate::sweep::{self, Options, Place, Positions, Report, Row, Scene, SweepError};

/// Sweeps runtimes. Exit status: 0 nothing was left after any cut; 1 something was; 3 nobody could be killed.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// OCI runtimes, by name (in PATH) or path.
    #[arg(value_name = "RUNTIME", required = true)]
    runtime: Vec<String>,
    /// Only this one, such as create, delete, pod-run (docs/crash-safety.md has all); may be given several times. By default
    /// all that the runtime has.
    #[arg(long, value_name = "COMMAND")]
    command: Vec<String>,
    /// At most so many cut points per command, first among the calls that change something; by default every call.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Where in a call: as it returns, as it begins (which leaves calls that wait half done), or both.
    #[arg(long, value_enum, default_value_t = At::Exit)]
    at: At,
    /// Kill each process that a command makes as well, up to the exec of the container's program.
    #[arg(long)]
    children: bool,
    /// Write the rows with every leak to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The witness program; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    witness: Option<PathBuf>,
    /// The sandbox program; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    pause: Option<PathBuf>,
    /// Multiplies every deadline, for slow machines.
    #[arg(long, value_name = "FACTOR", env = "PODPROOF_DEADLINE_FACTOR", default_value_t = 1.0)]
    deadline_factor: f64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum At {
    Exit,
    Entry,
    Both,
}

pub(super) fn run(args: &SweepArgs) -> Result<u8> {
    ensure!(args.sample != Some(0), "--sample 0: at least one cut point is needed");
    ensure!(
        args.deadline_factor.is_finite() && args.deadline_factor > 0.0,
        "--deadline-factor {}: must be a positive number",
        args.deadline_factor
    );
    let scenes = scenes(&args.command)?;
    ensure!(
        nix::unistd::geteuid().is_root(),
        "a sweep needs root (containers, cgroups, eBPF); run it as root, or in a VM with `cargo xtask sweep`"
    );
    let programs = Programs {
        witness: program(args.witness.as_deref(), "podproof-witness", "--witness")?,
        pause: program(args.pause.as_deref(), "pause", "--pause")?,
        pause_args: Vec::new(),
    };
    // Before there is another thread, which would take the signal.
    let mut ends = Some(sweep::take_ends().context("take SIGCHLD")?);
    interrupt::install().context("take SIGINT and SIGTERM")?;
    let mut injector = Injector::start()?;
    let mut reports = Vec::new();
    for given in &args.runtime {
        let signals = match ends.take() {
            Some(signals) => signals,
            None => sweep::take_ends().context("take SIGCHLD")?,
        };
        reports.push(one(args, given, &scenes, &programs, &mut injector, signals)?);
    }
    println!("\n{}", sweep::render(&reports).trim_end());
    if let Some(path) = &args.json {
        // In one line: a reader of records takes lines.
        let text = format!("{}\n", sweep::document(&reports)?);
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(status(&reports))
}

fn scenes(names: &[String]) -> Result<Vec<Scene>> {
    if names.is_empty() {
        return Ok(Scene::ALL.to_vec());
    }
    let find = |name: &String| {
        let known = || Scene::ALL.map(Scene::name).join(", ");
        Scene::find(name).with_context(|| format!("--command {name}: not one of {}", known()))
    };
    names.iter().map(find).collect()
}

fn one(
    args: &SweepArgs,
    given: &str,
    scenes: &[Scene],
    programs: &Programs,
    injector: &mut Injector,
    signals: nix::sys::signalfd::SignalFd,
) -> Result<Report> {
    let mut base = tempfile::Builder::new()
        .prefix("podproof-sweep-")
        .tempdir_in("/run")
        .context("make a directory for the sweep in /run")?;
    let patience = Duration::from_secs_f64(10.0 * args.deadline_factor);
    let scratch = tempfile::tempdir_in("/run").context("make a directory in /run")?;
    let runtime = OciRuntime::find(given, scratch.path(), patience)?;
    scratch.close().context("remove a directory in /run")?;
    println!("\n{} {} ({})\n{}", runtime.name, runtime.version, runtime.path.display(), Row::header());
    let mut place = Place::open(runtime, programs, base.path(), args.deadline_factor, signals)?;
    for scene in scenes.iter().filter(|scene| !scene.is_of_pods() && !place.has_verb(scene.verb())) {
        println!("{:<14} not a command of this runtime", scene.name());
    }
    let positions = match args.at {
        At::Exit => Positions::Exit,
        At::Entry => Positions::Entry,
        At::Both => Positions::Both,
    };
    let options = Options { sample: args.sample, positions, children: args.children };
    let swept = sweep::sweep(&mut place, injector, scenes, &options, |row| println!("{}", row.text()));
    let (runtime, has_gc) = (place.runtime().clone(), place.has_verb("gc"));
    let left = place.close();
    tidy(&mut base);
    let (rows, unplayed) = match swept {
        // The exit status tells of it.
        Err(SweepError::Interrupted) => bail!("the sweep of {given} was interrupted"),
        swept => swept.with_context(|| format!("sweep {given}"))?,
    };
    for passed_over in &unplayed {
        println!("{:<14} not swept: {}", passed_over.command, passed_over.reason);
    }
    for what in left {
        eprintln!("podproof: could not be removed: {what}");
    }
    Ok(Report {
        runtime: RuntimeReport {
            name: runtime.name,
            path: runtime.path.display().to_string(),
            version: runtime.version,
        },
        kernel: nix::sys::utsname::uname()?.release().to_string_lossy().into_owned(),
        has_gc,
        leaks: rows.iter().map(|row| row.leaks.len() as u64).sum(),
        rows,
        unplayed,
    })
}

/// Removing crosses mount points: what is still mounted there belongs to somebody else.
fn tidy(base: &mut tempfile::TempDir) {
    let path: &Path = base.path();
    if !process::mounts_below(path).is_empty() {
        eprintln!("podproof: {} is kept: something is still mounted there", path.display());
        base.disable_cleanup(true);
    }
}

fn status(reports: &[Report]) -> u8 {
    let n_killed: u64 = reports.iter().flat_map(|report| &report.rows).map(|row| row.killed).sum();
    match reports.iter().map(|report| report.leaks).sum() {
        0_u64 if n_killed == 0 || reports.iter().any(|report| !report.unplayed.is_empty()) => {
            exit::INCONCLUSIVE
        }
        0 => exit::PASSED,
        _ => exit::FAILED,
    }
}
