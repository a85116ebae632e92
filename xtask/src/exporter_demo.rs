//! `cargo xtask exporter-demo`: the exporter, the alerts that come with it and a Prometheus in a VM, with pods that set the alerts
//! off. The test program `demo` of the exporter does it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use vm_images::{Rootfs, Vm};

use crate::build;
use crate::setup::{self, Tool};
use crate::vm;

/// The test program.
const DEMO: &str = "demo";

/// Enough for Prometheus, whose program alone is 50 MiB of the root file system.
const MEMORY_MIB: u32 = 2048;

/// The options of `cargo xtask exporter-demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExporterDemoArgs {
    /// 6.1, 6.12, or the path of a bzImage or vmlinux
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
}

/// Runs it; the exit status is 0 when each alert has fired and resolved, and no scrape has failed.
pub(crate) fn run(args: &ExporterDemoArgs) -> Result<ExitCode> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend([Tool::Qemu, Tool::Busybox, Tool::Prometheus]);
    wanted.extend(Tool::kernel(&args.kernel));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    let tests = build::guest_tests(&[("podproof-exporter", DEMO)], &built.probes, &[])?;
    let mut rootfs = Rootfs::new();
    rootfs
        .busybox(&tools.tool(Tool::Busybox)?.path)?
        .program("/bin/podrt", &built.podrt, &[])?
        .program("/bin/podrt-pod", &built.podrt_pod, &[])?
        .program("/bin/pause", &built.pause, &[])?
        .program("/bin/podproof-exporter", &built.exporter, &[])?
        .program("/bin/prometheus", &tools.tool(Tool::Prometheus)?.path, &[])?
        .program("/bin/demo", tests.get(DEMO).context("no test program of the demo")?, &[])?;
    let kernel = vm::kernel(&args.kernel, &tools)?;
    let mut machine = Vm::new(kernel, rootfs, &built.vm_init, vec!["/bin/demo".to_owned()], &vm::work_dir());
    for (name, program) in [
        ("PODPROOF_EXPORTER", "/bin/podproof-exporter"),
        ("PODPROOF_PROMETHEUS", "/bin/prometheus"),
        ("PODRT_POD", "/bin/podrt-pod"),
        ("PODRT_PAUSE", "/bin/pause"),
    ] {
        machine.env.push((name.to_owned(), program.to_owned()));
    }
    machine.modules.extend(vm_images::POD_MODULES.map(str::to_owned));
    machine.memory_mib = MEMORY_MIB;
    machine.deadlines.command = Some(Duration::from_mins(15));
    machine.log_path = vm::work_dir().join("exporter-demo.log");
    vm::finish(&machine)
}
