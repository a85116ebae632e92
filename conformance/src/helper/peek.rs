//! A look from another namespace: what a file of `/proc/sys` says depends on who reads it (proc(5)).

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

/// Enters the namespace and prints what the files say, without the last newline.
pub(super) fn print(namespace: &Path, files: &[PathBuf]) -> Result<()> {
    let file = File::open(namespace).with_context(|| format!("open {}", namespace.display()))?;
    setns(file, CloneFlags::empty()).with_context(|| format!("setns {}", namespace.display()))?;
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Ok(text.trim_end().to_owned())
    };
    let texts: Vec<String> = files.iter().map(read).collect::<Result<_>>()?;
    println!("{}", serde_json::to_string(&texts)?);
    Ok(())
}
