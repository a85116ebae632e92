//! `cargo xtask bench NAME --json FILE`: measurements beside other tools, as medians and ratios of one run.
//!
//! FILE keeps the figures; a report and a plot are made from it and put beside it, with the endings `.md` and `.svg`.

mod exporter;
mod figure;
mod guest;
mod plot;
mod pod;
mod probes;
#[path = "../../ebpf/benches/probes/record.rs"]
mod record;
mod report;
mod rows;
mod runtime;
mod statistics;
mod suite;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::build;
use crate::cmd::Cmd;
use crate::markdown;
use crate::suite::MachineArgs;
use crate::workspace;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// What a scrape of the exporter costs, by the number of containers, beside Debian's node_exporter, in a VM; takes half an hour
    Exporter(exporter::ExporterArgs),
    /// What the probes cost the machine that they watch, beside bpftrace, execsnoop and exitsnoop; takes some minutes
    Probes(probes::ProbesArgs),
    /// How long podrt takes for a pod, beside podman and the calls of crun, and what an idle one holds, in a VM; takes some minutes
    Pod(pod::PodArgs),
    /// How long podrt takes for a container, beside crun, runc and youki, in a VM; takes some minutes
    Runtime(runtime::RuntimeArgs),
    /// How long judging podrt takes, and which checks take longest; prints it
    Suite(suite::SuiteArgs),
}

/// Measures and writes the files.
pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    match &args.bench {
        Bench::Exporter(args) => exporter::run(args),
        Bench::Probes(args) => probes::run(args),
        Bench::Pod(args) => pod::run(args),
        Bench::Runtime(args) => runtime::run(args),
        Bench::Suite(args) => suite::run(args),
    }
}

/// Options of the measurements in a VM.
#[derive(Debug, Args)]
struct InVmArgs {
    /// A short run, to see that everything works; its figures mean little
    #[arg(long)]
    quick: bool,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
    #[command(flatten)]
    machine: MachineArgs,
    /// Measure nothing: make page and plot again from FILE
    #[arg(long, conflicts_with_all = ["quick", "kernel"])]
    render: bool,
}

/// Schema of the files, of all measurements.
const SCHEMA: u32 = 1;

/// The figures of a measurement, as they are in its file.
trait Figures: Serialize + DeserializeOwned {
    /// The measurement's name in its file.
    const BENCH: &'static str;

    /// Reads a file.
    ///
    /// # Errors
    /// It is no JSON, or of another schema or measurement.
    fn parse(text: &str) -> Result<Self> {
        let not_one = "not the JSON of a measurement";
        let document: serde_json::Value = serde_json::from_str(text).context(not_one)?;
        let bench = Self::BENCH;
        ensure!(
            document["schema"] == SCHEMA && document["bench"] == bench,
            "schema {} of bench {}; this is for schema {SCHEMA} of {bench:?}",
            document["schema"],
            document["bench"]
        );
        serde_json::from_value(document).context(not_one)
    }

    /// The page; `image` is the name of the plot beside it.
    fn page(&self, image: &str) -> String;
    /// The plot as SVG.
    fn plot(&self) -> Result<String>;
    /// Name and text of the part that documents of the repository have.
    fn part(&self) -> Option<(&'static str, String)> {
        None
    }
}

/// Measures, or reads what was measured, and writes the files.
fn files<T: Figures>(
    json: &Path,
    is_rendered: bool,
    measure: impl FnOnce() -> Result<T>,
) -> Result<ExitCode> {
    let document = if is_rendered {
        let text = fs::read_to_string(json).with_context(|| format!("cannot read {}", json.display()))?;
        T::parse(&text).with_context(|| format!("cannot use {}", json.display()))?
    } else {
        let mut text =
            serde_json::to_string_pretty(&measure()?).context("cannot write the figures as JSON")?;
        text.push('\n');
        write(json, &text)?;
        // What was written is what is rendered, here and with --render.
        T::parse(&text)?
    };
    let (page, image) = (json.with_extension("md"), json.with_extension("svg"));
    let image_name = image.file_name().unwrap_or_default().to_string_lossy();
    write(&page, &document.page(&image_name))?;
    write(&image, &document.plot()?)?;
    if let Some((name, part)) = document.part() {
        markdown::put(json, name, &part)?;
    }
    for path in [json, &page, &image] {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Builds a measuring program: static, so that its forks copy little, like the container programs that are watched.
fn built_bench(package: &str, name: &str, object: Option<&Path>) -> Result<PathBuf> {
    let mut command = Cmd::new(workspace::cargo())
        .args(["build", "--quiet", "--release", "--locked", "--message-format", "json"])
        .args(["--package", package, "--bench", name])
        .args(["--target", build::GUEST_TARGET, "--target-dir"])
        .arg(workspace::target().join("guest"))
        .dir(workspace::root())
        .env("CARGO_ENCODED_RUSTFLAGS", build::STATIC);
    if let Some(object) = object {
        command = command.env(build::BPF_OBJECT_VAR, object);
    }
    let output = command.read().context("cannot build the measuring program")?;
    let executable = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == name && message["target"]["kind"][0] == "bench";
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    };
    output.lines().find_map(executable).context("cargo named no executable of the measuring program")
}
