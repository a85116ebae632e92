//! What every command that judges needs first: root, the programs, the probes, a place for the cells.

use std::ffi::OsStr;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use podproof_ebpf::Tracer;
use podproof_witness::WITNESS_PATH;
use sha2::{Digest, Sha256};

use super::ring::RingArgs;
use crate::adapter::oci::OciRuntime;
use crate::catalog::Adapter;
use crate::chain::chain;
use crate::checks;
use crate::duration::millis;
use crate::evidence::Lost;
use crate::interrupt;
use crate::observe::cgroup::Layout;
use crate::observe::process;
use crate::observe::snapshot::Snapshot;
use crate::report::model::{ProbeReport, RunReport, RuntimeReport, SandboxReport};
use crate::report::records::{Record, Recorder};
use crate::run::{Programs, Run};
use crate::suite::Played;

/// Options of every command that judges.
#[derive(Debug, Args)]
pub(super) struct StageArgs {
    /// The witness program; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    witness: Option<PathBuf>,
    /// Judge this sandbox program, a static one, instead of podproof's own.
    #[arg(long, value_name = "PATH")]
    pause: Option<PathBuf>,
    /// An argument that it is called with; may be given several times. By default what catatonit and tini, known by the
    /// file's name, need to hold a sandbox, and none for others.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, requires = "pause")]
    pause_arg: Vec<String>,
    /// Podproof's own sandbox program; by default the one beside this program.
    #[arg(long, value_name = "PATH", hide = true)]
    own_pause: Option<PathBuf>,
    /// Append records to this file or device, and leave the table to their reader.
    #[arg(long, value_name = "FILE")]
    pub(super) records: Option<PathBuf>,
    /// What kind of machine this is, for the report.
    #[arg(long, value_name = "NAME", default_value = "host")]
    machine: String,
    /// Multiplies every deadline, for slow machines.
    #[arg(long, value_name = "FACTOR", env = "PODPROOF_DEADLINE_FACTOR", default_value_t = 1.0)]
    deadline_factor: f64,
    #[command(flatten)]
    ring: RingArgs,
}

impl StageArgs {
    /// The options that matter to who repeats a run, as they were given.
    pub(super) fn words(&self) -> Vec<String> {
        let paths = [("--witness", &self.witness), ("--pause", &self.pause)];
        let given = paths.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)));
        let given = given.flat_map(|(option, path)| [option.to_owned(), path.display().to_string()]);
        given.chain(self.pause_arg.iter().map(|argument| format!("--pause-arg={argument}"))).collect()
    }

    /// Whether another sandbox program than podproof's own is judged.
    pub(super) fn judges_sandbox(&self) -> bool {
        self.pause.is_some()
    }

    /// What the sandbox program is called with.
    pub(super) fn sandbox_arguments(&self) -> Vec<String> {
        if !self.pause_arg.is_empty() {
            return self.pause_arg.clone();
        }
        let known: &[&str] = match self.pause.as_deref().and_then(Path::file_name).and_then(OsStr::to_str) {
            Some("catatonit") => &["-P"],
            // It holds nothing by itself: a child does, which every root file system of the suite has.
            Some("tini" | "tini-static") => &["-s", "--", WITNESS_PATH, "sleep"],
            _ => &[],
        };
        known.iter().map(|argument| (*argument).to_owned()).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Removing crosses mount points: what is still mounted there belongs to somebody else.
        if !process::mounts_below(self.base.path()).is_empty() {
            self.base.disable_cleanup(true);
            eprintln!("podproof: {} is kept: something is still mounted there", self.base.path().display());
        }
    }
}

/// A place to judge runtimes in.
#[derive(Debug)]
pub(super) struct Stage {
    programs: Programs,
    judges_sandbox: bool,
    base: tempfile::TempDir,
    tracer: Result<Arc<Tracer>, String>,
    machine: String,
    deadline_factor: f64,
    /// Where records go.
    pub(super) recorder: Arc<Recorder>,
}

impl Stage {
    /// Looks for everything and makes the directory of the cells.
    pub(super) fn set(args: &StageArgs) -> Result<Self> {
        ensure!(
            args.deadline_factor.is_finite() && args.deadline_factor > 0.0,
            "--deadline-factor {}: must be a positive number",
            args.deadline_factor
        );
        let programs = Programs {
            witness: program(args.witness.as_deref(), "podproof-witness", "--witness")?,
            pause: program(args.pause.as_deref().or(args.own_pause.as_deref()), "pause", "--pause")?,
            pause_args: args.sandbox_arguments(),
        };
        ensure!(
            nix::unistd::geteuid().is_root(),
            "judging on this machine needs root (containers, cgroups, eBPF); run it as root, or in a VM with \
             `cargo xtask conformance`"
        );
        interrupt::install().context("take SIGINT and SIGTERM")?;
        let base = tempfile::Builder::new()
            .prefix("podproof-")
            // The root of a container with a user namespace is another user, who must reach its root file system.
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in("/run")
            .context("make a directory for the cells in /run")?;
        let recorder = Arc::new(Recorder::open(args.records.as_deref()).context("open the records")?);
        let tracer = Tracer::start(&args.ring.trace_options()).map(Arc::new).map_err(|error| chain(&error));
        if let Err(reason) = &tracer {
            eprintln!("podproof: no kernel evidence, every check will be inconclusive: {reason}");
        }
        let deadline_factor = args.deadline_factor;
        let (machine, judges_sandbox) = (args.machine.clone(), args.judges_sandbox());
        Ok(Self { programs, judges_sandbox, base, tracer, machine, deadline_factor, recorder })
    }

    /// Finds a runtime and asks it for its version.
    pub(super) fn runtime(&self, given: &str) -> Result<OciRuntime> {
        let patience = Duration::from_secs_f64(10.0 * self.deadline_factor);
        Ok(OciRuntime::find(given, self.base.path(), patience)?)
    }

    /// Its directory, for what a command adds.
    pub(super) fn dir(&self) -> &Path {
        self.base.path()
    }

    /// Plays checks against one runtime, with records of the whole run.
    pub(super) fn play(
        &self,
        (runtime, adapter): (OciRuntime, Adapter),
        again: Option<String>,
        checks: impl FnOnce(&Run, &RunReport) -> Played,
    ) -> Result<RunReport> {
        let begin = Instant::now();
        let lost_before = self.lost();
        let mut report = RunReport { again, adapter: adapter.to_string(), ..self.head(&runtime)? };
        let before = Snapshot::take(&Layout::detect(), self.base.path());
        let (tracer, factor) = (self.tracer.clone(), self.deadline_factor);
        let run = Run::open((runtime, adapter), &self.programs, tracer, self.base.path(), factor)?;
        self.recorder.write(&Record::Run(Box::new(report.clone()))).context("write a record")?;
        let played = checks(&run, &report);
        (report.checks, report.repeats) = (played.checks, played.repeats);
        report.left_behind = run.close();
        let after = Snapshot::take(&run.layout, self.base.path());
        report.left_behind.extend(after.since(&before, &marks(&run)));
        let is_unknown = report.checks.iter().any(|check| Lost(check.events_lost) == Lost::UNKNOWN);
        let Lost(events_lost) = if is_unknown { Lost::UNKNOWN } else { self.lost().since(lost_before) };
        report.events_lost = events_lost;
        report.wall_ms = millis(begin.elapsed());
        let end = Record::End {
            wall_ms: report.wall_ms,
            events_lost: report.events_lost,
            left_behind: report.left_behind.clone(),
            repeats: report.repeats.clone(),
        };
        self.recorder.write(&end).context("write a record")?;
        Ok(report)
    }

    fn lost(&self) -> Lost {
        Lost(self.tracer.as_ref().map_or(0, |tracer| tracer.events_lost()))
    }

    fn head(&self, runtime: &OciRuntime) -> Result<RunReport> {
        let pause = &self.programs.pause;
        let digest = Sha256::digest(fs::read(pause).with_context(|| format!("read {}", pause.display()))?);
        Ok(RunReport {
            runtime: RuntimeReport {
                name: runtime.name.clone(),
                path: runtime.path.display().to_string(),
                version: runtime.version.clone(),
            },
            sandbox: SandboxReport {
                name: pause.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
                path: pause.display().to_string(),
                arguments: self.programs.pause_args.clone(),
                is_other: self.judges_sandbox,
                sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            },
            machine: self.machine.clone(),
            probes: self.probes(),
            ..RunReport::unborn(&nix::sys::utsname::uname()?.release().to_string_lossy())
        })
    }

    fn probes(&self) -> Vec<ProbeReport> {
        let probes = self.tracer.as_ref().map_or_else(|_| vec![], |tracer| tracer.probes());
        let report = |probe: &podproof_ebpf::ProbeStatus| ProbeReport {
            name: probe.name.clone(),
            mechanism: probe.mechanism.clone(),
            attached: probe.attached,
            reason: probe.reason.clone(),
        };
        probes.iter().map(report).collect()
    }
}

/// What the names of everything that a run makes contain: its own mark, and the ids of its containers.
fn marks(run: &Run) -> Vec<String> {
    let ids = checks::all().map(|check| format!("{}-", check.requirement.id.to_lowercase()));
    // Keys of the suite's segments begin with its process id.
    let key = format!("key {:#x}", checks::shm_key(0) >> 8);
    ids.chain([run.cgroup.clone(), key]).collect()
}

pub(super) fn program(given: Option<&Path>, name: &str, option: &str) -> Result<PathBuf> {
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
