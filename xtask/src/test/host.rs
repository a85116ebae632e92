//! The stage that runs the test programs of the workspace on this machine; those that need a VM start it themselves.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::build::BPF_OBJECT_VAR;
use crate::cmd::Cmd;
use crate::setup::{Tool, Toolbox};
use crate::test::{Context, Tally};
use crate::workspace;

/// The kernels that VM tests run under.
pub(crate) const SERIES: [&str; 2] = ["6.1", "6.12"];

/// `cargo test` of the default members.
pub(crate) fn run(context: &Context) -> Result<Tally> {
    let mut command = Cmd::new(workspace::cargo())
        .args(["test", "--locked", "--no-fail-fast"])
        .dir(workspace::root())
        .env(BPF_OBJECT_VAR, &context.built.probes)
        .env("PODPROOF_TEST_KERNEL_TREES", kernel_trees(&context.tools)?)
        .env("PODPROOF_TEST_BUSYBOX", &context.tools.tool(Tool::Busybox)?.path)
        .env("PODPROOF_TEST_INIT", &context.built.vm_init)
        .env("TMPDIR", &context.tmp);
    if context.is_full {
        command = command.env("PODPROOF_TEST_FULL", "1");
    }
    counted(command)
}

/// Where the unpacked kernels are: `SERIES=DIR`, separated by colons.
fn kernel_trees(tools: &Toolbox) -> Result<String> {
    let mut trees = Vec::new();
    for series in SERIES {
        trees.push(format!("{series}={}", tools.kernel_tree(series)?.display()));
    }
    Ok(trees.join(":"))
}

/// Runs test programs, passes their output on and counts what they report.
pub(crate) fn counted(command: Cmd) -> Result<Tally> {
    let line = command.line();
    let mut command = command.into_inner();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{line}`"))?;
    let mut tally = Tally::default();
    let output = child.stdout.take().context("the output of the tests is not a pipe")?;
    for text in BufReader::new(output).split(b'\n') {
        let text = text.with_context(|| format!("cannot read the output of `{line}`"))?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        tally.line(&text);
    }
    let status = child.wait().with_context(|| format!("cannot wait for `{line}`"))?;
    if !status.success() && tally.failed == 0 {
        // A program that did not build, or died before its summary.
        eprintln!("error: `{line}` failed: {status}");
        tally.add(&Tally::check(&line, false));
    }
    Ok(tally)
}
