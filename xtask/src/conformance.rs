//! `cargo xtask conformance`: builds, boots a VM per kernel, judges the runtimes there, prints one table.
//!
//! The suite itself is `podproof`, which runs in the VM and sends its records out; the same program, on this
//! side, makes the table and the report of them. A VM that dies keeps the verdicts that it gave.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use vm_images::{Accel, Engine, Event, Observer, Outcome, RECORDS_PORT, Report, Rootfs, Stream, Vm};

use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::vm;

/// Exit status of podproof for wrong usage or set-up.
const USAGE: u8 = 2;

/// The options of `cargo xtask conformance`.
#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// A runtime to judge: podrt, runc, crun, or the path of any OCI runtime; may be given several times
    #[arg(long, value_name = "NAME|PATH", default_value = "podrt")]
    runtime: Vec<String>,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux with BTF; may be given several times
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: Vec<String>,
    /// Judge on this machine, as root, instead of in a VM
    #[arg(long, conflicts_with_all = ["kernel", "accel", "memory", "timeout"])]
    host: bool,
    /// auto, kvm or tcg
    #[arg(long, value_name = "ACCEL", default_value_t = Accel::Auto)]
    accel: Accel,
    /// Memory of the VM in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,
    /// Seconds that a VM may take, the boot not included
    #[arg(long, value_name = "S", default_value_t = 1800)]
    timeout: u64,
    /// Write report.json into this directory
    #[arg(long, value_name = "DIR")]
    report_dir: Option<PathBuf>,
    /// Only checks whose id or name contains one of these (REAP, NS-01, hostname)
    filter: Vec<String>,
    /// Options for the test runner, such as `--test-threads 1`
    #[arg(last = true, value_name = "libtest options")]
    libtest: Vec<String>,
}

/// Judges.
pub(crate) fn run(args: &ConformanceArgs) -> Result<ExitCode> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(args.runtime.iter().filter_map(|name| Tool::runtime(name)));
    if !args.host {
        wanted.extend([Tool::Qemu, Tool::Busybox]);
        wanted.extend(args.kernel.iter().filter_map(|name| Tool::kernel(name)));
    }
    // What the user named is looked at before anything is fetched or built for it.
    for name in &args.runtime {
        if name != "podrt" && Tool::runtime(name).is_none() {
            check_program(name)?;
        }
    }
    for name in args.kernel.iter().filter(|name| Tool::kernel(name).is_none()) {
        ensure!(
            Path::new(name).is_file(),
            "--kernel {name}: neither a series that podproof knows (6.1, 6.12) nor a file"
        );
    }
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    check_filter(args, &built)?;
    let subjects =
        args.runtime.iter().map(|name| Subject::find(name, &tools, &built)).collect::<Result<Vec<_>>>()?;
    if args.host {
        return on_host(args, &built, &subjects);
    }
    let mut records = Vec::new();
    for kernel in &args.kernel {
        match in_vm(args, kernel, &tools, &built, &subjects)? {
            Run::Records(path) => records.push(path),
            Run::Ended(code) => return Ok(code),
        }
    }
    report(args, &built, &records)
}

/// A runtime to judge.
#[derive(Debug)]
struct Subject {
    path: PathBuf,
    libraries: Option<PathBuf>,
}

impl Subject {
    fn find(name: &str, tools: &Toolbox, built: &Artifacts) -> Result<Self> {
        if name == "podrt" {
            return Ok(Self { path: built.podrt.clone(), libraries: None });
        }
        if let Some(tool) = Tool::runtime(name) {
            let found = tools.tool(tool)?;
            return Ok(Self { path: found.path.clone(), libraries: found.libraries.clone() });
        }
        Ok(Self {
            path: std::path::absolute(name).with_context(|| format!("--runtime {name}"))?,
            libraries: None,
        })
    }

    /// Where it is in the guest.
    fn in_guest(&self, number: usize) -> String {
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        format!("/opt/runtimes/{number}/{name}")
    }
}

fn check_program(name: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = fs::metadata(name);
    ensure!(
        file.as_ref().is_ok_and(fs::Metadata::is_file),
        "--runtime {name}: no such file, and not one of podrt, runc, crun; give the path of an OCI runtime"
    );
    let is_executable = file.is_ok_and(|file| file.permissions().mode() & 0o111 != 0);
    ensure!(is_executable, "--runtime {name}: not executable; chmod +x it, or give another path");
    Ok(())
}

/// A filter that matches nothing is found out before a VM is booted for it.
fn check_filter(args: &ConformanceArgs, built: &Artifacts) -> Result<()> {
    let listed = Cmd::new(&built.podproof).arg("list").args(&args.filter).output()?;
    if !listed.status.success() {
        bail!("no check matches {}; `podproof list` shows them all", args.filter.join(" "));
    }
    Ok(())
}

fn on_host(args: &ConformanceArgs, built: &Artifacts, subjects: &[Subject]) -> Result<ExitCode> {
    let mut command = Cmd::new(&built.podproof).arg("run").arg("--pause").arg(&built.pause);
    for subject in subjects {
        command = command.arg("--runtime").arg(&subject.path);
    }
    if let Some(dir) = &args.report_dir {
        command = command.arg("--report-dir").arg(dir);
    }
    command = command.args(&args.filter).arg("--").args(&args.libtest);
    status(command)
}

/// What a VM came to.
enum Run {
    /// Its records, also when it died.
    Records(PathBuf),
    /// Nothing to report on: wrong usage, or the user's interruption.
    Ended(ExitCode),
}

fn in_vm(
    args: &ConformanceArgs,
    kernel: &str,
    tools: &Toolbox,
    built: &Artifacts,
    subjects: &[Subject],
) -> Result<Run> {
    let image = vm::kernel(kernel, tools)?;
    let mut rootfs = suite_image(tools, built)?;
    let mut argv: Vec<String> = ["podproof", "run", "--records"].map(str::to_owned).into_iter().collect();
    argv.push(format!("{}/{RECORDS_PORT}", vm_images::PORTS_DIR));
    for (number, subject) in subjects.iter().enumerate() {
        let guest = subject.in_guest(number);
        add_program(&mut rootfs, &guest, subject)?;
        argv.extend(["--runtime".to_owned(), guest]);
    }
    argv.extend(args.filter.iter().cloned());
    argv.push("--".to_owned());
    argv.extend(args.libtest.iter().cloned());

    let mut machine = Vm::new(image, rootfs, &built.vm_init, argv, &vm::work_dir());
    machine.accel = args.accel;
    machine.memory_mib = args.memory;
    machine.deadlines.command = Some(Duration::from_secs(args.timeout));
    let name: String =
        kernel.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
    machine.log_path = vm::work_dir().join(format!("kernel-{name}.log"));
    let path = vm::work_dir().join(format!("records-{name}.jsonl"));
    println!("==> kernel {kernel}");
    run_machine(&machine, &path)
}

/// Files of every image in which the suite runs.
pub(crate) fn suite_image(tools: &Toolbox, built: &Artifacts) -> Result<Rootfs> {
    let mut rootfs = Rootfs::new();
    rootfs.busybox(&tools.tool(Tool::Busybox)?.path)?;
    rootfs
        .program("/bin/podproof", &built.podproof, &[])?
        .program("/bin/podproof-witness", &built.witness, &[])?
        .program("/bin/pause", &built.pause, &[])?;
    Ok(rootfs)
}

/// A program with its libraries; a script as it is (the image has a shell).
fn add_program(rootfs: &mut Rootfs, guest: &str, subject: &Subject) -> Result<()> {
    let start = fs::read(&subject.path).with_context(|| format!("read {}", subject.path.display()))?;
    if start.starts_with(b"#!") {
        rootfs.file(guest, &subject.path)?;
    } else {
        rootfs.program(guest, &subject.path, subject.libraries.as_slice())?;
    }
    Ok(())
}

/// Runs the suite in a machine and keeps its records.
fn run_machine(machine: &Vm, path: &Path) -> Result<Run> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut output = Relay { file, failed: None };
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

fn report(args: &ConformanceArgs, built: &Artifacts, records: &[PathBuf]) -> Result<ExitCode> {
    let mut command = Cmd::new(&built.podproof).arg("report").args(records);
    if let Some(dir) = &args.report_dir {
        command = command.arg("--report-dir").arg(dir);
    }
    status(command)
}

/// Runs a command with our own streams and ends as it ends.
fn status(command: Cmd) -> Result<ExitCode> {
    let line = command.line();
    let status = command.into_inner().status().with_context(|| format!("cannot run `{line}`"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(3)))
}

/// Passes output on as it comes, and keeps the records.
struct Relay {
    file: File,
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
        println!("vm: {event}");
    }
}
