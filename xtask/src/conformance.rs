//! `cargo xtask conformance`: builds, boots a VM per kernel, judges the runtimes there, prints one table.
//!
//! The suite itself is `podproof`, which runs in the VM and sends its records out; the same program, on this
//! side, makes the table and the report of them. A VM that dies keeps the verdicts that it gave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::suite::{self, MachineArgs, Run};

/// The options of `cargo xtask conformance`.
#[derive(Debug, Args)]
pub(crate) struct ConformanceArgs {
    /// A runtime to judge: podrt, runc, crun, or the path of any OCI runtime; may be given several times
    #[arg(long, value_name = "NAME|PATH", default_value = "podrt")]
    runtime: Vec<String>,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux with BTF; may be given several times
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: Vec<String>,
    /// The sandbox program that pods are built with: catatonit, tini, or the path of a static program; by default this
    /// project's own
    #[arg(long, value_name = "NAME|PATH")]
    pause: Option<String>,
    /// An argument that a sandbox program given by its path is called with; may be given several times
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, requires = "pause")]
    pause_arg: Vec<String>,
    /// Judge on this machine, as root, instead of in a VM
    #[arg(long, conflicts_with_all = ["kernel", "accel", "memory", "timeout"])]
    host: bool,
    #[command(flatten)]
    machine: MachineArgs,
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
    wanted.extend(args.pause.as_deref().and_then(Tool::sandbox).map(|(tool, _)| tool));
    if !args.host {
        wanted.extend(suite::tools(&args.kernel));
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
    if let Some(name) = args.pause.as_deref().filter(|name| Tool::sandbox(name).is_none()) {
        ensure!(Path::new(name).is_file(), "--pause {name}: no such file, and not one of catatonit, tini");
    }
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    check_filter(args, &built)?;
    let pause = Pause::find(args, &tools, &built)?;
    let subjects =
        args.runtime.iter().map(|name| Subject::find(name, &tools, &built)).collect::<Result<Vec<_>>>()?;
    if args.host {
        return on_host(args, &built, &subjects, &pause);
    }
    let mut records = Vec::new();
    for kernel in &args.kernel {
        match in_vm(args, kernel, (&tools, &built), &subjects, &pause)? {
            Run::Records(path) => records.push(path),
            Run::Ended(code) => return Ok(code),
        }
    }
    report(args, &built, &records)
}

/// A runtime to judge.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) path: PathBuf,
    pub(crate) libraries: Option<PathBuf>,
}

impl Subject {
    /// By its name, or by its path, which was checked.
    pub(crate) fn find(name: &str, tools: &Toolbox, built: &Artifacts) -> Result<Self> {
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
    pub(crate) fn in_guest(&self, number: usize) -> String {
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        format!("/opt/runtimes/{number}/{name}")
    }
}

/// The sandbox program.
#[derive(Debug)]
struct Pause {
    path: PathBuf,
    arguments: Vec<String>,
}

impl Pause {
    fn find(args: &ConformanceArgs, tools: &Toolbox, built: &Artifacts) -> Result<Self> {
        let Some(name) = &args.pause else {
            return Ok(Self { path: built.pause.clone(), arguments: Vec::new() });
        };
        if let Some((tool, arguments)) = Tool::sandbox(name) {
            let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            return Ok(Self { path: tools.tool(tool)?.path.clone(), arguments });
        }
        let path = std::path::absolute(name).with_context(|| format!("--pause {name}"))?;
        Ok(Self { path, arguments: args.pause_arg.clone() })
    }

    /// Where it is in the guest; the report has its name from there.
    fn in_guest(&self) -> String {
        let name = self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        format!("/opt/sandbox/{name}")
    }

    /// The options that name it to podproof, at this path.
    fn options(&self, path: String) -> Vec<String> {
        let arguments = self.arguments.iter().map(|argument| format!("--pause-arg={argument}"));
        ["--pause".to_owned(), path].into_iter().chain(arguments).collect()
    }
}

/// A runtime that is given by its path is there.
pub(crate) fn check_program(name: &str) -> Result<()> {
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

fn on_host(
    args: &ConformanceArgs,
    built: &Artifacts,
    subjects: &[Subject],
    pause: &Pause,
) -> Result<ExitCode> {
    let path = pause.path.display().to_string();
    let mut command = Cmd::new(&built.podproof).arg("run").args(pause.options(path));
    for subject in subjects {
        command = command.arg("--runtime").arg(&subject.path);
    }
    if let Some(dir) = &args.report_dir {
        command = command.arg("--report-dir").arg(dir);
    }
    command = command.args(&args.filter).arg("--").args(&args.libtest);
    suite::status(command)
}

fn in_vm(
    args: &ConformanceArgs,
    kernel: &str,
    (tools, built): (&Toolbox, &Artifacts),
    subjects: &[Subject],
    pause: &Pause,
) -> Result<Run> {
    let mut rootfs = suite::image(tools, built)?;
    rootfs.program(&pause.in_guest(), &pause.path, &[])?;
    let mut argv = vec!["podproof".to_owned(), "run".to_owned()];
    argv.extend(pause.options(pause.in_guest()));
    argv.extend(suite::records_option());
    for (number, subject) in subjects.iter().enumerate() {
        let guest = subject.in_guest(number);
        suite::add_runtime(&mut rootfs, &guest, &subject.path, subject.libraries.as_slice())?;
        argv.extend(["--runtime".to_owned(), guest]);
    }
    argv.extend(args.filter.iter().cloned());
    argv.push("--".to_owned());
    argv.extend(args.libtest.iter().cloned());
    println!("==> kernel {kernel}");
    suite::run(&args.machine, kernel, "conformance", rootfs, argv, (tools, built))
}

fn report(args: &ConformanceArgs, built: &Artifacts, records: &[PathBuf]) -> Result<ExitCode> {
    let mut command = Cmd::new(&built.podproof).arg("report").args(records);
    if let Some(dir) = &args.report_dir {
        command = command.arg("--report-dir").arg(dir);
    }
    suite::status(command)
}
