//! `cargo xtask bench runtime`: how long runtimes take for the same containers, in a VM, and what a sandbox costs.

mod figures;
mod page;
mod phases;
mod plot;
mod profile;
#[path = "../../../runtime/benches/runtime/record.rs"]
mod record;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use vm_images::{MountSpec, Rootfs, Vm};

use crate::bench::{Figures, InVmArgs, built_bench, files, guest};
use crate::build::{self, Artifacts};
use crate::cmd::Cmd;
use crate::setup::{self, Tool};
use crate::suite;
use crate::vm;
use crate::workspace;
use figures::{BENCH, Document};

/// The project's own runtime, by its name in the file.
const OWN: &str = "podrt";
/// Runtimes beside podrt.
const PEERS: [Tool; 3] = [Tool::Crun, Tool::Runc, Tool::Youki];
/// Where the runtimes are in the guest, and what an overlay over that needs.
const BIN: &str = "/usr/local/sbin";
const OVERLAY: &str = "/opt/overlay";
/// Where the program that traces them is.
const PODPROOF: &str = "/bin/podproof";

/// Options of the measurement.
#[derive(Debug, Args)]
pub(crate) struct RuntimeArgs {
    /// Where the figures go; page and plot go beside it as .md and .svg
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    #[command(flatten)]
    vm: InVmArgs,
}

/// Measures and writes the three files.
pub(crate) fn run(args: &RuntimeArgs) -> Result<ExitCode> {
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
        Some(("bench-runtime", page::ratios(self)))
    }
}

fn measure(args: &RuntimeArgs) -> Result<Document> {
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(suite::tools(std::slice::from_ref(&args.vm.kernel)));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    let program = built_bench("podrt", "runtime", None)?;
    let mut rootfs = Rootfs::new();
    rootfs.busybox(&tools.tool(Tool::Busybox)?.path)?;
    rootfs.program("/bin/bench", &program, &[])?.program("/bin/pause", &built.pause, &[])?.program(
        "/bin/pause-c",
        &c_pause()?,
        &[],
    )?;
    rootfs.program(PODPROOF, &built.podproof, &[])?;
    rootfs.dir(&format!("{OVERLAY}/upper"), 0o755).dir(&format!("{OVERLAY}/work"), 0o755);
    let (rounds, growth, traces) = if args.vm.quick { ("2", "10", "2") } else { ("25", "200", "7") };
    let mut argv: Vec<String> = ["/bin/bench", "--rounds", rounds, "--growth", growth]
        .into_iter()
        .chain(["--traces", traces, "--podproof", PODPROOF])
        .chain(["--floor", "/bin/unshare", "--busybox", "/bin/busybox"])
        .chain(["--pause", "podproof=/bin/pause", "--pause", "C=/bin/pause-c"])
        .map(str::to_owned)
        .collect();
    let versions = runtimes(&mut rootfs, &mut argv, &built)?;

    let kernel = vm::kernel(&args.vm.kernel, &tools)?;
    let mut machine = Vm::new(kernel, rootfs, &built.vm_init, argv, &vm::work_dir());
    args.vm.machine.apply(&mut machine);
    machine.deadlines.command = machine.deadlines.command.map(|limit| limit.max(Duration::from_secs(3600)));
    machine.log_path = vm::work_dir().join("bench-runtime.log");
    // The root of the VM is a tmpfs, whose files answer F_GET_SEALS: runtimes that protect their own program would take
    // a longer way than on a disk. On an overlay they do not.
    machine.mounts.push(MountSpec {
        source: "overlay".to_owned(),
        target: BIN.to_owned(),
        fstype: "overlay".to_owned(),
        options: format!("lowerdir={BIN},upperdir={OVERLAY}/upper,workdir={OVERLAY}/work"),
        read_only: false,
    });
    let (records, engine) = guest::run(&machine, "bench-runtime")?;
    Document::of(&records, args.vm.quick, &engine, versions)
}

/// Puts podrt and its peers into the image and on the command line; their versions. A peer that cannot be had is left out.
fn runtimes(
    rootfs: &mut Rootfs,
    argv: &mut Vec<String>,
    built: &Artifacts,
) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    let mut add = |name: &str, path: &Path, libraries: &[PathBuf]| -> Result<()> {
        suite::add_runtime(rootfs, &format!("{BIN}/{name}"), path, libraries)?;
        argv.extend(["--runtime".to_owned(), format!("{name}={BIN}/{name}")]);
        Ok(())
    };
    add(OWN, &built.podrt, &[])?;
    for tool in PEERS {
        match setup::ensure(&[tool]) {
            Ok(tools) => {
                let found = tools.tool(tool)?;
                add(tool.name(), &found.path, found.libraries.as_slice())?;
                versions.insert(tool.name().to_owned(), found.version.clone());
            }
            Err(error) => eprintln!("bench: measuring without {tool}: {error:#}"),
        }
    }
    Ok(versions)
}

/// Compiles the pause that this project's is compared with.
fn c_pause() -> Result<PathBuf> {
    let dir = workspace::target().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let (source, program) = (workspace::root().join("xtask/src/bench/pause.c"), dir.join("pause-c"));
    Cmd::new("cc").args(["-static", "-Os", "-s", "-o"]).arg(&program).arg(&source).run()?;
    Ok(program)
}
