//! `cargo xtask trace`: the life of one container under a runtime, as `podproof trace` shows it, in a VM.

mod doc;

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use vm_images::{Engine, MountSpec, Outcome, Rootfs, Vm};

use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
use crate::conformance::{Subject, check_program};
use crate::setup::{self, Tool, Toolbox};
use crate::suite::{self, MachineArgs};
use crate::vm::{self, Collector};

/// The bundle's configuration: one container with a shell that leaves an orphan to its PID 1.
const CONFIG: &str = include_str!("trace/config.json");
const BUNDLE: &str = "/bundle";
/// What the container's program needs of busybox.
const APPLETS: [&str; 2] = ["sh", "sleep"];
/// Where the runtime is in the guest; the directory is first in its PATH.
const BIN: &str = "/usr/local/sbin";
/// What an overlay over that needs.
const OVERLAY: &str = "/opt/overlay";

/// The options of `cargo xtask trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The runtime: podrt, runc, crun, or the path of any OCI runtime
    #[arg(long, value_name = "NAME|PATH", default_value = "podrt")]
    runtime: String,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux with BTF
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
    #[command(flatten)]
    machine: MachineArgs,
    /// Trace podrt, runc and crun, and write the document about them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runtime", "options"])]
    doc: Option<PathBuf>,
    /// Options of `podproof trace`, such as --verbose or --format json
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Boots, traces, and ends as the container's program ended.
pub(crate) fn run(args: &TraceArgs) -> Result<ExitCode> {
    if let Some(path) = &args.doc {
        return document(args, path);
    }
    let (tools, built) = prepare(&[&args.runtime], &args.kernel)?;
    let mut rootfs = image(&tools, &built)?;
    let program = add(&mut rootfs, &args.runtime, &tools, &built)?;
    let mut argv = vec!["podproof".to_owned(), "trace".to_owned()];
    // In the VM the trace goes through a port, which is no terminal.
    let says = args.options.iter().any(|option| option.starts_with("--color"));
    if !says && std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        argv.push("--color=always".to_owned());
    }
    argv.extend(args.options.iter().cloned());
    argv.push("--".to_owned());
    argv.extend(command(&program));
    vm::finish(&machine(args, rootfs, argv, &tools, &built)?)
}

/// Traces all three in one VM and writes the document.
fn document(args: &TraceArgs, path: &Path) -> Result<ExitCode> {
    let (tools, built) = prepare(&doc::RUNTIMES, &args.kernel)?;
    let mut rootfs = image(&tools, &built)?;
    let mut versions = BTreeMap::new();
    let mut script = "set -e".to_owned();
    for name in doc::RUNTIMES {
        let program = add(&mut rootfs, name, &tools, &built)?;
        let trace = command(&program).join(" ");
        // Once untraced, so that none pays for what is first read or translated.
        script.push_str(&format!("; {trace}; echo {name}; podproof trace --format json -- {trace}"));
        versions.insert(name, version(name, &tools, &built)?);
    }
    let vm = machine(args, rootfs, vec!["sh".to_owned(), "-c".to_owned(), script], &tools, &built)?;
    let mut collector = Collector::default();
    let report = vm.run(&mut collector)?;
    if !matches!(report.outcome, Outcome::Exited { code: 0 }) {
        bail!("no document: {}", report.explain());
    }
    let output = String::from_utf8(collector.output).context("the trace is not UTF-8")?;
    let engine = match report.engine {
        Engine::Kvm => "by KVM",
        Engine::Tcg => "by emulation, which is many times slower than a processor",
    };
    let machine = doc::Machine { kernel: report.kernel.unwrap_or_default(), engine: engine.to_owned() };
    let text = doc::markdown(&output, &versions, &machine)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn version(name: &str, tools: &Toolbox, built: &Artifacts) -> Result<String> {
    if let Some(tool) = Tool::runtime(name) {
        return Ok(tools.tool(tool)?.version.clone());
    }
    let line = Cmd::new(&built.podrt).arg("--version").read()?;
    let line = line.lines().next().unwrap_or_default();
    Ok(line.split_whitespace().last().unwrap_or_default().to_owned())
}

/// Fetches and builds what the runtimes and the VM need.
fn prepare(runtimes: &[&str], kernel: &str) -> Result<(Toolbox, Artifacts)> {
    let mut wanted = Tool::BUILD.to_vec();
    for name in runtimes {
        match Tool::runtime(name) {
            Some(tool) => wanted.push(tool),
            None if *name == "podrt" => {}
            None => check_program(name)?,
        }
    }
    ensure!(
        Tool::kernel(kernel).is_some() || Path::new(kernel).is_file(),
        "--kernel {kernel}: neither a series that podproof knows (6.1, 6.12) nor a file"
    );
    wanted.extend(suite::tools(&[kernel.to_owned()]));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    Ok((tools, built))
}

fn machine(
    args: &TraceArgs,
    rootfs: Rootfs,
    argv: Vec<String>,
    tools: &Toolbox,
    built: &Artifacts,
) -> Result<Vm> {
    let kernel = vm::kernel(&args.kernel, tools)?;
    let mut vm = Vm::new(kernel, rootfs, &built.vm_init, argv, &vm::work_dir());
    args.machine.apply(&mut vm);
    // The root of the VM is a tmpfs, whose files answer F_GET_SEALS: runtimes that protect their own program would take
    // a longer way than on a disk. On an overlay they do not.
    vm.mounts.push(MountSpec {
        source: "overlay".to_owned(),
        target: BIN.to_owned(),
        fstype: "overlay".to_owned(),
        options: format!("lowerdir={BIN},upperdir={OVERLAY}/upper,workdir={OVERLAY}/work"),
        read_only: false,
    });
    Ok(vm)
}

/// The files of the suite's image, and the bundle.
fn image(tools: &Toolbox, built: &Artifacts) -> Result<Rootfs> {
    let mut rootfs = suite::image(tools, built)?;
    rootfs.content(&format!("{BUNDLE}/config.json"), CONFIG, 0o644);
    rootfs.dir(&format!("{OVERLAY}/upper"), 0o755).dir(&format!("{OVERLAY}/work"), 0o755);
    let root = format!("{BUNDLE}/rootfs");
    for dir in ["dev", "proc", "sys"] {
        rootfs.dir(&format!("{root}/{dir}"), 0o755);
    }
    rootfs.file(&format!("{root}/bin/busybox"), &tools.tool(Tool::Busybox)?.path)?;
    for applet in APPLETS {
        rootfs.symlink(&format!("{root}/bin/{applet}"), "busybox");
    }
    Ok(rootfs)
}

/// Puts a runtime into the image; the name that it is called by there.
fn add(rootfs: &mut Rootfs, runtime: &str, tools: &Toolbox, built: &Artifacts) -> Result<String> {
    let subject = Subject::find(runtime, tools, built)?;
    let name = subject.path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("--runtime {runtime}: no UTF-8 file name"))?.to_owned();
    suite::add_runtime(rootfs, &format!("{BIN}/{name}"), &subject.path, subject.libraries.as_slice())?;
    Ok(name)
}

/// Creates, starts and deletes the container in the foreground.
fn command(runtime: &str) -> [String; 5] {
    [runtime, "run", "--bundle", BUNDLE, "demo"].map(str::to_owned)
}
