//! `cargo xtask exporter-demo`: the exporter, the alerts that come with it and a Prometheus in a VM, with pods that set the alerts
//! off. The test program `demo` of the exporter does it. A picture of the dashboard is made of what it records.

mod moment;
mod over_time;
#[path = "../../exporter/tests/demo/panel.rs"]
mod panel;
mod picture;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use vm_images::{PORTS_DIR, RECORDS_PORT, Rootfs, Vm};

use crate::build;
use crate::setup::{self, Tool};
use crate::vm;

/// The test program.
const DEMO: &str = "demo";

/// Enough for Prometheus, whose two programs alone are 100 MiB of the root file system.
const MEMORY_MIB: u32 = 2048;

/// The options of `cargo xtask exporter-demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExporterDemoArgs {
    /// 6.1, 6.12, or the path of a bzImage or vmlinux
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
    /// Where a picture of the dashboard goes, as SVG: all its panels, filled by the demo
    #[arg(long, value_name = "FILE", required_if_eq("render", "true"))]
    panels: Option<PathBuf>,
    /// Only the alerts that resolve soon; no restart and no picture
    #[arg(long, conflicts_with = "panels")]
    quick: bool,
    /// Run nothing: make the picture again from the records of the last run that made one
    #[arg(long, conflicts_with = "kernel")]
    render: bool,
}

/// Runs it; the exit status is 0 when each alert has fired and resolved, no scrape has failed, the exporter could be started again, and
/// each panel of the dashboard has something to show.
pub(crate) fn run(args: &ExporterDemoArgs) -> Result<ExitCode> {
    let Some(picture) = &args.panels else {
        let mut machine = machine(&args.kernel)?;
        if args.quick {
            machine.env.push(("PODPROOF_DEMO_QUICK".to_owned(), "1".to_owned()));
        }
        return vm::finish(&machine);
    };
    let records = vm::work_dir().join("exporter-demo.jsonl");
    if !args.render {
        let mut machine = machine(&args.kernel)?;
        machine.env.push(("PODPROOF_PANELS".to_owned(), format!("{PORTS_DIR}/{RECORDS_PORT}")));
        let (status, lines) = vm::finish_with_records(&machine)?;
        if status != 0 {
            return Ok(ExitCode::from(status));
        }
        fs::write(&records, lines).with_context(|| format!("cannot write {}", records.display()))?;
    }
    draw(&records, picture).map(|()| ExitCode::SUCCESS)
}

/// Makes the picture of a file of records.
fn draw(records: &Path, picture: &Path) -> Result<()> {
    let text = fs::read_to_string(records).with_context(|| format!("cannot read {}", records.display()))?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<_>, _>>();
    let lines = lines.with_context(|| format!("{} is not of the demo", records.display()))?;
    let svg = picture::svg(&lines)?;
    fs::write(picture, svg).with_context(|| format!("cannot write {}", picture.display()))
}

/// The machine with all that the demo needs.
fn machine(kernel: &str) -> Result<Vm> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend([Tool::Qemu, Tool::Busybox, Tool::Prometheus]);
    wanted.extend(Tool::kernel(kernel));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    let tests = build::guest_tests(&[("podproof-exporter", DEMO)], &built.probes, &[])?;
    let prometheus = &tools.tool(Tool::Prometheus)?.path;
    let mut rootfs = Rootfs::new();
    rootfs
        .busybox(&tools.tool(Tool::Busybox)?.path)?
        .program("/bin/podrt", &built.podrt, &[])?
        .program("/bin/podrt-pod", &built.podrt_pod, &[])?
        .program("/bin/pause", &built.pause, &[])?
        .program("/bin/podproof-exporter", &built.exporter, &[])?
        .program("/bin/prometheus", prometheus, &[])?
        .program("/bin/promtool", &prometheus.with_file_name("promtool"), &[])?
        .program("/bin/demo", tests.get(DEMO).context("no test program of the demo")?, &[])?;
    let mut machine = Vm::new(
        vm::kernel(kernel, &tools)?,
        rootfs,
        &built.vm_init,
        vec!["/bin/demo".to_owned()],
        &vm::work_dir(),
    );
    for (name, program) in [
        ("PODPROOF_EXPORTER", "/bin/podproof-exporter"),
        ("PODPROOF_PROMETHEUS", "/bin/prometheus"),
        ("PODPROOF_PROMTOOL", "/bin/promtool"),
        ("PODRT_POD", "/bin/podrt-pod"),
        ("PODRT_PAUSE", "/bin/pause"),
    ] {
        machine.env.push((name.to_owned(), program.to_owned()));
    }
    machine.modules.extend(vm_images::POD_MODULES.map(str::to_owned));
    machine.memory_mib = MEMORY_MIB;
    machine.deadlines.command = Some(Duration::from_mins(15));
    machine.log_path = vm::work_dir().join("exporter-demo.log");
    Ok(machine)
}
