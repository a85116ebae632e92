//! A measuring program in a VM, and the records that it prints.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use vm_images::{Outcome, Vm};

use crate::vm::{self, Collector};

/// Runs the program of a machine; its records, and how the machine was executed. They are also kept in a file of this name, for who
/// wants to see more than medians.
///
/// # Errors
/// The machine or its program failed, or what it printed are no records.
pub(crate) fn run<T: DeserializeOwned>(machine: &Vm, name: &str) -> Result<(Vec<T>, String)> {
    let mut collector = Collector::default();
    let report = machine.run(&mut collector)?;
    if !matches!(report.outcome, Outcome::Exited { code: 0 }) {
        bail!("no figures: {}", report.explain());
    }
    let path = vm::work_dir().join(name).with_extension("jsonl");
    fs::write(&path, &collector.output).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((records(&collector.output)?, format!("{:?}", report.engine).to_lowercase()))
}

/// What a measuring program prints.
///
/// # Errors
/// It is no records.
pub(crate) fn records<T: DeserializeOwned>(output: &[u8]) -> Result<Vec<T>> {
    let text = std::str::from_utf8(output).context("what the measuring program prints is not UTF-8")?;
    let lines = text.lines();
    let records: Vec<T> = lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a record: {line}")))
        .collect::<Result<_>>()?;
    ensure!(!records.is_empty(), "the measuring program printed nothing");
    Ok(records)
}
