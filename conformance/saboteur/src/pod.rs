//! What a defect remembers of the containers of a pod: lists of their ids.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::call::Call;

/// A directory beside the state directory, with a file per container; it is not there without any.
pub(crate) fn list(call: &Call, name: &str) -> Result<PathBuf> {
    Ok(call.root().context("--root is needed to remember a pod")?.with_extension(name))
}

/// Puts the container of the call on a list.
pub(crate) fn remember(call: &Call, name: &str) -> Result<()> {
    let dir = list(call, name)?;
    fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
    let file = dir.join(call.id());
    fs::write(&file, "").with_context(|| format!("write {}", file.display()))
}

/// Takes the container of the call off a list; whether it was on it.
pub(crate) fn forget(call: &Call, name: &str) -> Result<bool> {
    let file = list(call, name)?.join(call.id());
    if !file.exists() {
        return Ok(false);
    }
    fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    Ok(true)
}

/// The ids on a list.
pub(crate) fn names(call: &Call, name: &str) -> Result<Vec<String>> {
    let dir = list(call, name)?;
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}
