//! Runs podproof in a VM: the image that it needs, and the records that come out of it.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use vm_images::{
    Accel, Engine, Event, Observer, Outcome, PORTS_DIR, RECORDS_PORT, Report, Rootfs, Stream, Vm,
};

use crate::build::Artifacts;
use crate::cmd::Cmd;
use crate::setup::{Tool, Toolbox};
use crate::vm;

/// Exit status of podproof for wrong usage or set-up.
const USAGE: u8 = 2;
/// Memory of a VM by default. runc and youki keep a sealed copy of themselves, some 10 MiB, for each call and each created
/// container: fifty pods at once (ROBUST-06) need more than 1 GiB. The VM takes from this machine what it uses.
const MEMORY_MIB: u32 = 3072;
/// How long a VM may take by default.
const PATIENCE: Duration = Duration::from_mins(30);

/// Options of every command that judges in a VM.
#[derive(Debug, Clone, Args)]
pub(crate) struct MachineArgs {
    /// auto, kvm or tcg
    #[arg(long, value_name = "ACCEL", default_value_t = Accel::Auto)]
    accel: Accel,
    /// Memory of the VM in MiB
    #[arg(long, value_name = "MIB", default_value_t = MEMORY_MIB)]
    memory: u32,
    /// Seconds that a VM may take, the boot not included; without it 1800, and more for several runtimes
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,
    /// What it may take where nobody says how long.
    #[arg(skip = PATIENCE)]
    patience: Duration,
    /// Standard output is for lines of JSON: what people want to know of the machine goes to standard error.
    #[arg(skip)]
    pub(crate) is_for_programs: bool,
}

impl MachineArgs {
    /// The same, with so much time at least, unless the user gave one.
    pub(crate) fn with_patience(mut self, time: Duration) -> Self {
        self.patience = self.patience.max(time);
        self
    }

    /// Makes the machine as it is wanted.
    pub(crate) fn apply(&self, machine: &mut Vm) {
        machine.accel = self.accel;
        machine.memory_mib = self.memory;
        machine.deadlines.command = Some(self.timeout.map_or(self.patience, Duration::from_secs));
    }
}

/// What judging in VMs needs beside the programs.
pub(crate) fn tools(kernels: &[String]) -> Vec<Tool> {
    let mut tools = vec![Tool::Qemu, Tool::Busybox];
    tools.extend(kernels.iter().filter_map(|name| Tool::kernel(name)));
    tools
}

/// What a VM came to.
pub(crate) enum Run {
    /// Its records, also when it died.
    Records(PathBuf),
    /// Nothing to report on: wrong usage, or the user's interruption.
    Ended(ExitCode),
}

/// The option that sends podproof's records out of the guest.
pub(crate) fn records_option() -> [String; 2] {
    ["--records".to_owned(), format!("{PORTS_DIR}/{RECORDS_PORT}")]
}

/// Runs podproof with these arguments under one kernel; `name` tells its log and records from others.
pub(crate) fn run(
    options: &MachineArgs,
    kernel: &str,
    name: &str,
    rootfs: Rootfs,
    argv: Vec<String>,
    (tools, built): (&Toolbox, &Artifacts),
) -> Result<Run> {
    let mut machine = Vm::new(vm::kernel(kernel, tools)?, rootfs, &built.vm_init, argv, &vm::work_dir());
    options.apply(&mut machine);
    machine.modules.extend(vm_images::POD_MODULES.map(str::to_owned));
    let kernel: String =
        kernel.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
    machine.log_path = vm::work_dir().join(format!("{name}-{kernel}.log"));
    let records = vm::work_dir().join(format!("{name}-{kernel}.jsonl"));
    run_machine(&machine, &records, options.is_for_programs)
}

/// Files of every image in which the suite runs.
pub(crate) fn image(tools: &Toolbox, built: &Artifacts) -> Result<Rootfs> {
    let mut rootfs = Rootfs::new();
    rootfs.busybox(&tools.tool(Tool::Busybox)?.path)?;
    rootfs
        .program("/bin/podproof", &built.podproof, &[])?
        .program("/bin/podproof-witness", &built.witness, &[])?
        .program("/bin/pause", &built.pause, &[])?;
    Ok(rootfs)
}

/// A program with its libraries; a script as it is (the image has a shell).
pub(crate) fn add_runtime(
    rootfs: &mut Rootfs,
    guest: &str,
    path: &Path,
    libraries: &[PathBuf],
) -> Result<()> {
    let start = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    if start.starts_with(b"#!") {
        rootfs.file(guest, path)?;
    } else {
        rootfs.program(guest, path, libraries)?;
    }
    Ok(())
}

/// Runs the suite in a machine and keeps its records.
fn run_machine(machine: &Vm, path: &Path, is_for_programs: bool) -> Result<Run> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut output = Relay { file, is_for_programs, failed: None };
    let report = machine.run(&mut output)?;
    if let Some(error) = output.failed.take() {
        return Err(error).with_context(|| format!("write {}", path.display()));
    }
    match &report.outcome {
        Outcome::Exited { code: USAGE } => return Ok(Run::Ended(ExitCode::from(USAGE))),
        Outcome::Interrupted { .. } => {
            eprintln!("{}", report.outcome);
            return Ok(Run::Ended(ExitCode::from(report.outcome.exit_status())));
        }
        _ => {}
    }
    let last = closing_record(&report);
    writeln!(output.file, "{last}").with_context(|| format!("write {}", path.display()))?;
    Ok(Run::Records(path.to_owned()))
}

/// What the records themselves cannot know: the kind of machine, and how it died.
fn closing_record(report: &Report) -> serde_json::Value {
    let machine = if report.engine == Engine::Kvm { "vm-kvm" } else { "vm-tcg" };
    let died = match report.outcome {
        Outcome::Exited { .. } => None,
        _ => Some(report.explain()),
    };
    serde_json::json!({ "record": "machine", "name": machine, "kernel": report.kernel, "died": died })
}

/// Runs a command with our own streams and ends as it ends.
pub(crate) fn status(command: Cmd) -> Result<ExitCode> {
    let line = command.line();
    let status = command.into_inner().status().with_context(|| format!("cannot run `{line}`"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(3)))
}

/// Passes output on as it comes, and keeps the records.
struct Relay {
    file: File,
    is_for_programs: bool,
    failed: Option<std::io::Error>,
}

impl Relay {
    fn keep(&mut self, done: std::io::Result<()>) {
        if let Err(error) = done {
            self.failed.get_or_insert(error);
        }
    }
}

impl Observer for Relay {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let done = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
        self.keep(done);
    }

    fn record(&mut self, line: &[u8]) {
        let done = self.file.write_all(line).and_then(|()| self.file.write_all(b"\n"));
        self.keep(done);
    }

    fn event(&mut self, event: &Event) {
        if self.is_for_programs {
            eprintln!("vm: {event}");
        } else {
            println!("vm: {event}");
        }
    }
}
