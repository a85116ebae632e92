//! `cargo xtask bench pod`: how long a pod takes to start, to end and to restart a container, in a VM, and what an idle one
//! holds.

mod figures;
mod page;
mod plot;
#[path = "../../../runtime/pod/benches/pod/record.rs"]
mod record;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use vm_images::Vm;

use crate::bench::{Figures, InVmArgs, built_bench, files, guest};
use crate::build;
use crate::engine::Engine;
use crate::setup::{self, Tool};
use crate::suite;
use crate::vm;
use figures::{BENCH, Document};

/// Where podrt's programs are in the guest.
const PODRT: &str = "/usr/local/sbin/podrt";
const PODRT_POD: &str = "/usr/local/sbin/podrt-pod";
const PAUSE: &str = "/usr/local/sbin/pause";
/// Least memory of the VM in MiB: that of 200 pods, whose processes, namespaces and mounts the kernel keeps.
const MEMORY_MIB: u32 = 2048;

/// Options of the measurement.
#[derive(Debug, Args)]
pub(crate) struct PodArgs {
    /// Where the figures go; page and plot go beside it as .md and .svg
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    #[command(flatten)]
    vm: InVmArgs,
}

/// Measures and writes the three files.
pub(crate) fn run(args: &PodArgs) -> Result<ExitCode> {
    files(&args.json, args.vm.render, || measure(args))
}

impl Figures for Document {
    const BENCH: &'static str = BENCH;

    fn page(&self, image: &str) -> String {
        page::markdown(self, image)
    }

    fn plot(&self) -> Result<String> {
        plot::svg(self)
    }

    fn part(&self) -> Option<(&'static str, String)> {
        Some(("bench-pod", page::requirements(self)))
    }
}

fn measure(args: &PodArgs) -> Result<Document> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(suite::tools(std::slice::from_ref(&args.vm.kernel)));
    wanted.push(Engine::Podman.tool());
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    let program = built_bench("podrt-pod", "pod", None)?;
    let mut rootfs = Engine::Podman.rootfs();
    rootfs
        .busybox(&tools.tool(Tool::Busybox)?.path)?
        .program("/bin/bench", &program, &[])?
        .program(PODRT, &built.podrt, &[])?
        .program(PODRT_POD, &built.podrt_pod, &[])?
        .program(PAUSE, &built.pause, &[])?;
    let (rounds, growth, restarts) = if args.vm.quick { ("2", "10", "10") } else { ("15", "200", "100") };
    let argv = ["/bin/bench", "--rounds", rounds, "--growth", growth, "--restarts", restarts]
        .into_iter()
        .chain(["--podrt", PODRT, "--pause", PAUSE, "--crun", "/usr/bin/crun"])
        .chain(["--podman", "/usr/bin/podman", "--busybox", "/bin/busybox"])
        .map(str::to_owned)
        .collect();
    let kernel = vm::kernel(&args.vm.kernel, &tools)?;
    let mut machine = Vm::new(kernel, rootfs, &built.vm_init, argv, &vm::work_dir());
    Engine::Podman.boot(&mut machine, &tools)?;
    args.vm.machine.apply(&mut machine);
    machine.memory_mib = machine.memory_mib.max(MEMORY_MIB);
    machine.modules.extend(vm_images::POD_MODULES.map(str::to_owned));
    machine.deadlines.command = machine.deadlines.command.map(|limit| limit.max(Duration::from_secs(3600)));
    machine.log_path = vm::work_dir().join("bench-pod.log");
    let (records, engine) = guest::run(&machine, "bench-pod")?;
    let podman = tools.tool(Engine::Podman.tool())?.version.clone();
    Document::of(&records, args.vm.quick, &engine, BTreeMap::from([("podman".to_owned(), podman)]))
}
