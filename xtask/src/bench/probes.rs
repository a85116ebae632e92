//! `cargo xtask bench probes`: builds and runs the measuring program, and writes what came out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::unistd::geteuid;

use crate::bench::record::Record;
use crate::bench::rows::{BENCH, Document};
use crate::bench::{Figures, built_bench, files, plot, report};
use crate::build;
use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::workspace;

/// Options of the measurement.
#[derive(Debug, Args)]
pub(crate) struct ProbesArgs {
    /// Where the figures go; report and plot go beside it as .md and .svg
    #[arg(long, value_name = "FILE")]
    json: PathBuf,
    /// A run of seconds, to see that everything works; its figures mean little
    #[arg(long)]
    quick: bool,
    /// Leave out the other tools, and fetch none
    #[arg(long)]
    no_peers: bool,
    /// Measure nothing: make report and plot again from FILE
    #[arg(long, conflicts_with_all = ["quick", "no_peers"])]
    render: bool,
}

/// Measures and writes the three files.
pub(crate) fn run(args: &ProbesArgs) -> Result<ExitCode> {
    files(&args.json, args.render, || measure(args))
}

impl Figures for Document {
    const BENCH: &'static str = BENCH;

    fn page(&self, image: &str) -> String {
        report::markdown(self, image)
    }

    fn plot(&self) -> Result<String> {
        plot::svg(self)
    }
}

fn measure(args: &ProbesArgs) -> Result<Document> {
    ensure!(
        geteuid().is_root(),
        "bench probes needs root: it loads BPF programs and makes namespaces; run it with sudo -E"
    );
    let tools = setup::ensure(&Tool::BUILD)?;
    let peers = if args.no_peers { Vec::new() } else { peers() };
    let program = built_bench("podproof-ebpf", "probes", Some(&build::probes(&tools)?))?;
    let dir = workspace::target().join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut command = Cmd::new(program).arg("--dir").arg(&dir);
    if args.quick {
        command = command.arg("--quick");
    }
    let mut versions = BTreeMap::new();
    for (tool, toolbox) in &peers {
        let found = toolbox.tool(*tool)?;
        versions.insert(tool.name().to_owned(), found.version.clone());
        command = command.arg(format!("--{tool}")).arg(&found.path);
        if let Some(libraries) = &found.libraries {
            command = command.arg(format!("--{tool}-libraries")).arg(libraries);
        }
    }
    Document::of(&records(command)?, args.quick, versions)
}

/// The other tools that can be had; each is optional.
fn peers() -> Vec<(Tool, Toolbox)> {
    let mut found = Vec::new();
    for tool in Tool::PEERS {
        match setup::ensure(&[tool]) {
            Ok(toolbox) => found.push((tool, toolbox)),
            Err(error) => eprintln!("bench: measuring without {tool}: {error:#}"),
        }
    }
    found
}

/// Runs the measuring program, whose progress goes to our standard error.
fn records(command: Cmd) -> Result<Vec<Record>> {
    let line = command.line();
    let mut child = command
        .into_inner()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let output = child.stdout.take().context("no pipe from the measuring program")?;
    let mut records = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("cannot read what the measuring program prints")?;
        records.push(serde_json::from_str(&line).with_context(|| format!("not a record: {line}"))?);
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(records)
}
