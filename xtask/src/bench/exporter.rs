//! `cargo xtask bench exporter`: what a scrape of the exporter costs, by the number of containers, in a VM, beside Debian's
//! prometheus-node-exporter.

mod figures;
mod page;
mod plot;
#[path = "../../../exporter/benches/scrape/record.rs"]
mod record;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use vm_images::{Rootfs, Vm};

use crate::bench::{Figures, InVmArgs, built_bench, files, guest};
use crate::build;
use crate::cmd::Cmd;
use crate::setup::{self, Tool};
use crate::suite;
use crate::vm;
use figures::{BENCH, Document, PEER, SIZES};

/// Where the programs are in the guest.
const EXPORTER: &str = "/usr/local/sbin/podproof-exporter";
const NODE_EXPORTER: &str = "/usr/local/bin/prometheus-node-exporter";
/// Least memory of the VM in MiB: that of 10 000 cgroups with their controllers, a process in each, and an answer of 100 MiB on both
/// sides of the connection.
const MEMORY_MIB: u32 = 8192;

/// Options of the measurement.
#[derive(Debug, Args)]
pub(crate) struct ExporterArgs {
    /// Where the figures go; page and plot go beside it as .md and .svg. Without it the tables are printed only
    #[arg(long, value_name = "FILE", required_if_eq("render", "true"))]
    json: Option<PathBuf>,
    #[command(flatten)]
    vm: InVmArgs,
}

/// Measures, prints the tables and writes the three files.
pub(crate) fn run(args: &ExporterArgs) -> Result<ExitCode> {
    let measure = || {
        let document = measure(args)?;
        println!("{}\n{}", page::requirements(&document), page::costs(&document));
        Ok(document)
    };
    match &args.json {
        Some(json) => files(json, args.vm.render, measure),
        None => measure().map(|_document: Document| ExitCode::SUCCESS),
    }
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
        Some(("bench-exporter", page::requirements(self)))
    }
}

fn measure(args: &ExporterArgs) -> Result<Document> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(suite::tools(std::slice::from_ref(&args.vm.kernel)));
    wanted.push(Tool::NodeExporter);
    let tools = setup::ensure(&wanted)?;
    let probes = build::probes(&tools)?;
    let built = build::guest(&["podproof-exporter", "vm-init"], Some(&probes), &[])?;
    let program = built_bench("podproof-exporter", "scrape", Some(&probes))?;
    let peer = tools.tool(Tool::NodeExporter)?;
    let mut rootfs = Rootfs::new();
    rootfs
        .busybox(&tools.tool(Tool::Busybox)?.path)?
        .program("/bin/bench", &program, &[])?
        .program(EXPORTER, &built.join("podproof-exporter"), &[])?
        .program(NODE_EXPORTER, &peer.path, peer.libraries.as_slice())?;
    let quick = &SIZES[..2];
    let (sizes, rounds, idle_scrapes) =
        if args.vm.quick { (quick, "2", "2") } else { (&SIZES[..], "10", "12") };
    let sizes = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let argv = ["/bin/bench", "--rounds", rounds, "--idle-scrapes", idle_scrapes, "--sizes", &sizes]
        .into_iter()
        .chain(["--exporter", EXPORTER, "--node-exporter", NODE_EXPORTER, "--busybox", "/bin/busybox"])
        .map(str::to_owned)
        .collect();
    let kernel = vm::kernel(&args.vm.kernel, &tools)?;
    let mut machine = Vm::new(kernel, rootfs, &built.join("vm-init"), argv, &vm::work_dir());
    args.vm.machine.apply(&mut machine);
    machine.memory_mib = machine.memory_mib.max(MEMORY_MIB);
    machine.deadlines.command = machine.deadlines.command.map(|limit| limit.max(Duration::from_hours(2)));
    machine.log_path = vm::work_dir().join("bench-exporter.log");
    // The speed of this machine changes: as in the VM, before and after.
    let reference = || Cmd::new(&program).args(["--reference"]).read();
    let before = reference()?;
    let (records, engine) = guest::run(&machine, "bench-exporter")?;
    let here = guest::records((before + &reference()?).as_bytes())?;
    let peers = BTreeMap::from([(PEER.to_owned(), peer.version.clone())]);
    Document::of(&records, &here, args.vm.quick, &engine, peers)
        .context("the records are not those of a whole run")
}
