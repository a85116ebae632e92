//! `cargo xtask sweep`: kills the commands of runtimes at their system calls, in a VM under each kernel.

mod merge;
mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::build;
use crate::conformance::{Subject, check_program};
use crate::markdown;
use crate::setup::{self, Tool};
use crate::suite::{self, MachineArgs, Run};

/// Cut points per command, unless all are wanted.
const SAMPLE: &str = "24";
/// How long the whole table may take for one runtime under one kernel.
const FULL: Duration = Duration::from_hours(6);
/// The runtimes of the whole table beside podrt. They make thousands of calls, not the same ones each time, so these are sampled.
const PEERS: [&str; 2] = ["runc", "crun"];

/// The options of `cargo xtask sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// A runtime: podrt, runc, crun, or the path of any OCI runtime; may be given several times
    #[arg(long, value_name = "NAME|PATH", default_value = "podrt")]
    runtime: Vec<String>,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux with BTF; may be given several times
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: Vec<String>,
    /// Every call of podrt, as it begins and as it returns, and every call of the processes that it makes; and samples of
    /// runc and crun for the table
    #[arg(long, conflicts_with = "runtime")]
    full: bool,
    /// Write the rows with every leak to this file, and a page of them beside it as .md
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep what FILE has of other commands, runtimes and kernels
    #[arg(long, requires = "json")]
    merge: bool,
    /// Sweep nothing: make the page again from FILE
    #[arg(long, requires = "json", conflicts_with_all = ["runtime", "kernel", "full", "merge", "options"])]
    render: bool,
    #[command(flatten)]
    machine: MachineArgs,
    /// Options of `podproof sweep`, such as --command create --sample 100; without --sample every call is tried
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

/// Boots and sweeps.
pub(crate) fn run(args: &SweepArgs) -> Result<ExitCode> {
    if let (true, Some(path)) = (args.render, &args.json) {
        return render(path).map(|()| ExitCode::SUCCESS);
    }
    if let (true, Some(path)) = (args.merge, &args.json) {
        // Better told now than after hours.
        merge::runs(path)?;
    }
    // What is swept, and how.
    let mut swept: Vec<(Vec<&str>, Vec<&str>)> = vec![(
        args.runtime.iter().map(String::as_str).collect(),
        match (args.full, args.options.as_slice()) {
            (true, options) => {
                ["--at", "both", "--children"].into_iter().chain(options.iter().map(String::as_str)).collect()
            }
            (false, []) => vec!["--sample", SAMPLE],
            (false, options) => options.iter().map(String::as_str).collect(),
        },
    )];
    if args.full {
        swept.push((PEERS.to_vec(), vec!["--sample", SAMPLE]));
    }
    let names: Vec<&str> = swept.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    for name in &names {
        if *name != "podrt" && Tool::runtime(name).is_none() {
            check_program(name)?;
        }
    }
    for name in args.kernel.iter().filter(|name| Tool::kernel(name).is_none()) {
        ensure!(
            Path::new(name).is_file(),
            "--kernel {name}: neither a series that podproof knows (6.1, 6.12) nor a file"
        );
    }
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend(names.iter().filter_map(|name| Tool::runtime(name)));
    wanted.extend(suite::tools(&args.kernel));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    // Thousands of cuts, a second each where the machine is emulated.
    let machine = if args.full { args.machine.clone().with_patience(FULL) } else { args.machine.clone() };
    let mut document = Document::default();
    for kernel in &args.kernel {
        for (names, options) in &swept {
            let mut rootfs = suite::image(&tools, &built)?;
            let mut argv = vec!["podproof".to_owned(), "sweep".to_owned()];
            for (number, name) in names.iter().enumerate() {
                let subject = Subject::find(name, &tools, &built)?;
                let guest = subject.in_guest(number);
                suite::add_runtime(&mut rootfs, &guest, &subject.path, subject.libraries.as_slice())?;
                if *name == "podrt" {
                    // Where `podrt pod` looks for it.
                    rootfs.program(&format!("{guest}-pod"), &built.podrt_pod, &[])?;
                }
                argv.push(guest);
            }
            argv.extend(options.iter().map(|option| (*option).to_owned()));
            argv.extend(["--json".to_owned(), suite::records_option()[1].clone()]);
            println!("==> kernel {kernel}");
            match suite::run(&machine, kernel, "sweep", rootfs, argv, (&tools, &built))? {
                Run::Records(path) => document.read(&path)?,
                Run::Ended(code) => return Ok(code),
            }
        }
    }
    if let Some(path) = &args.json {
        let new = document.runs.clone();
        let runs = if args.merge { merge::merge(merge::runs(path)?, new) } else { new };
        let whole = json!({ "schema": 1, "podproof": env!("CARGO_PKG_VERSION"), "runs": runs });
        let text = serde_json::to_string_pretty(&whole)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        render(path)?;
    }
    Ok(document.status(args.full))
}

/// Makes the page of a document, and the parts of it that other documents have.
fn render(path: &Path) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let document = page::Document::parse(&text).with_context(|| format!("cannot use {}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let page = path.with_extension("md");
    fs::write(&page, document.markdown(&name)).with_context(|| format!("cannot write {}", page.display()))?;
    markdown::put(path, "crash-sweep", &document.sums())?;
    println!("{}", page.display());
    Ok(())
}

/// The documents of all VMs in one.
#[derive(Default)]
struct Document {
    runs: Vec<Value>,
    has_died: bool,
}

impl Document {
    /// The document that podproof sent, and what became of the machine.
    fn read(&mut self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut runs = Vec::new();
        for line in text.lines() {
            let record: Value =
                serde_json::from_str(line).with_context(|| format!("{}: no JSON", path.display()))?;
            if record["record"] == "machine" {
                for run in &mut runs {
                    let run: &mut Value = run;
                    run["machine"] = record["name"].clone();
                }
                if let Some(died) = record["died"].as_str() {
                    eprintln!("error: {died}");
                    self.has_died = true;
                }
            } else {
                runs.extend(record["runs"].as_array().cloned().unwrap_or_default());
            }
        }
        self.has_died |= runs.is_empty();
        self.runs.extend(runs);
        Ok(())
    }

    /// 1 when something was left, 3 when a machine died or a command failed that nobody killed. In the whole table, which shows
    /// the others beside podrt, podrt decides.
    fn status(&self, is_table: bool) -> ExitCode {
        let counts = |run: &&Value| !is_table || run["runtime"]["name"] == "podrt";
        if self.runs.iter().filter(counts).any(|run| run["leaks"] != 0) {
            return ExitCode::from(1);
        }
        let is_partial =
            |run: &Value| run["unplayed"].as_array().is_some_and(|commands| !commands.is_empty());
        ExitCode::from(if self.has_died || self.runs.iter().filter(counts).any(is_partial) { 3 } else { 0 })
    }
}
