//! `cargo xtask vm`: a shell, or one command, in a VM with busybox and the programs that are asked for.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use vm_images::{Accel, Event, Kernel, Observer, Rootfs, Stream, Vm};

use crate::build;
use crate::engine::Engine;
use crate::setup::{self, Tool, Toolbox};
use crate::suite;
use crate::workspace;

/// The options of `cargo xtask vm`.
#[derive(Debug, Args)]
pub(crate) struct VmArgs {
    #[command(subcommand)]
    command: VmCommand,
}

#[derive(Debug, Subcommand)]
enum VmCommand {
    /// Open a shell in a VM; Ctrl-] ends the VM if the shell cannot
    Shell(MachineArgs),
    /// Run one command in a VM and end with its exit status (3: the VM failed)
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct MachineArgs {
    /// 6.1, 6.12, or the path of a bzImage or vmlinux
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
    /// auto, kvm or tcg
    #[arg(long, value_name = "ACCEL", default_value_t = Accel::Auto)]
    accel: Accel,
    /// Memory of the VM in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    memory: u32,
    /// Boot from the image of a container engine instead of busybox alone
    #[arg(long, value_name = "ENGINE")]
    image: Option<Engine>,
    /// A program or script of this machine to have in the VM, as /bin/NAME with the libraries that it needs; may be given several times
    #[arg(long = "program", value_name = "PATH")]
    programs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    machine: MachineArgs,
    /// Seconds that the command may take, the boot not included
    #[arg(long, value_name = "S", default_value_t = 600)]
    timeout: u64,
    /// The command and its arguments; all of busybox's are there
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    argv: Vec<String>,
}

/// Runs the shell or the command.
pub(crate) fn run(args: VmArgs) -> Result<ExitCode> {
    match args.command {
        VmCommand::Shell(machine) => {
            let mut vm = machine.vm(vec!["sh".to_owned(), "-l".to_owned()])?;
            vm.is_interactive = true;
            vm.cwd = "/root".to_owned();
            vm.env.push(("PS1".to_owned(), "\\h:\\w\\$ ".to_owned()));
            vm.deadlines.command = None;
            eprintln!("vm: Ctrl-] ends the VM if the shell cannot");
            finish(&vm)
        }
        VmCommand::Run(RunArgs { machine, timeout, argv }) => {
            let mut vm = machine.vm(argv)?;
            vm.deadlines.command = Some(Duration::from_secs(timeout));
            finish(&vm)
        }
    }
}

impl MachineArgs {
    fn vm(&self, argv: Vec<String>) -> Result<Vm> {
        let mut wanted = vec![Tool::Linker, Tool::Qemu, Tool::Busybox];
        wanted.extend(Tool::kernel(&self.kernel));
        wanted.extend(self.image.map(Engine::tool));
        let tools = setup::ensure(&wanted)?;
        let kernel = kernel(&self.kernel, &tools)?;
        let init = build::guest(&["vm-init"], None, &[])?.join("vm-init");
        let mut rootfs = self.image.map_or_else(Rootfs::new, Engine::rootfs);
        rootfs.busybox(&tools.tool(Tool::Busybox)?.path)?;
        for program in &self.programs {
            let name =
                program.file_name().with_context(|| format!("--program {}: no file", program.display()))?;
            suite::add_runtime(&mut rootfs, &format!("/bin/{}", name.to_string_lossy()), program, &[])
                .with_context(|| format!("--program {}", program.display()))?;
        }
        let mut vm = Vm::new(kernel, rootfs, &init, argv, &work_dir());
        vm.accel = self.accel;
        vm.memory_mib = self.memory;
        vm.modules.extend(vm_images::POD_MODULES.map(str::to_owned));
        if let Some(engine) = self.image {
            engine.boot(&mut vm, &tools)?;
        }
        Ok(vm)
    }
}

/// Where unpacked kernels, the verdict on KVM and kernel logs are kept.
pub(crate) fn work_dir() -> PathBuf {
    workspace::target().join("vm")
}

/// A kernel by the name of its series, which must have been asked for in the set-up, or by its path.
pub(crate) fn kernel(name: &str, tools: &Toolbox) -> Result<Kernel> {
    let cache = work_dir();
    if Tool::kernel(name).is_some() {
        return Ok(Kernel::from_package(tools.kernel_tree(name)?, &cache)?);
    }
    let path = Path::new(name);
    if !path.exists() {
        bail!("--kernel {name}: neither a series that podproof knows (6.1, 6.12) nor an existing file");
    }
    Kernel::from_file(path, &cache).with_context(|| format!("--kernel {name}"))
}

/// Runs a machine whose command has our own output streams, and ends as the command ends (3: the machine failed).
pub(crate) fn finish(vm: &Vm) -> Result<ExitCode> {
    Ok(ExitCode::from(end(vm, &mut Terminal::default())?))
}

/// The same, with the exit status as a number and the lines that the command wrote to the records port.
pub(crate) fn finish_with_records(vm: &Vm) -> Result<(u8, Vec<u8>)> {
    let mut terminal = Terminal { records: Some(Vec::new()), ..Terminal::default() };
    let status = end(vm, &mut terminal)?;
    Ok((status, terminal.records.unwrap_or_default()))
}

fn end(vm: &Vm, terminal: &mut Terminal) -> Result<u8> {
    let report = vm.run(terminal)?;
    if !report.outcome.is_result() {
        eprintln!("vm: {}", report.explain());
    }
    if let Some(error) = terminal.failed.take() {
        return Err(error).context("cannot write the command's output");
    }
    Ok(report.outcome.exit_status())
}

/// Passes the command's output on, and everything else to standard error.
#[derive(Debug, Default)]
struct Terminal {
    failed: Option<std::io::Error>,
    /// Where records go instead, if they are not shown.
    records: Option<Vec<u8>>,
}

impl Observer for Terminal {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        // After the first failure (a reader that went away) the rest has nowhere to go.
        if self.failed.is_none() {
            self.failed = match stream {
                Stream::Stdout => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
                Stream::Stderr => std::io::stderr().write_all(bytes),
            }
            .err();
        }
    }

    fn record(&mut self, line: &[u8]) {
        match &mut self.records {
            Some(records) => records.extend(line.iter().chain(b"\n")),
            None => eprintln!("record: {}", String::from_utf8_lossy(line)),
        }
    }

    fn event(&mut self, event: &Event) {
        eprintln!("vm: {event}");
        if let Event::Hello { degraded, .. } = event {
            for step in degraded {
                eprintln!("vm: this kernel lacks: {step}");
            }
        }
    }
}

/// Keeps what the command writes to standard output, and passes the rest on.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// Its bytes.
    pub(crate) output: Vec<u8>,
}

impl Observer for Collector {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.output.extend_from_slice(bytes),
            // Words for people only: without a reader they are lost.
            Stream::Stderr => _ = std::io::stderr().write_all(bytes),
        }
    }

    fn event(&mut self, event: &Event) {
        eprintln!("vm: {event}");
    }
}
