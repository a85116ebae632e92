//! `podrt gc`.

use std::io::Write;

use anyhow::{Context, bail};

use crate::launch;
use crate::state::StateRoot;

/// Prints what was removed, one line each.
///
/// # Errors
/// What is left that should not be.
pub fn gc(root: &StateRoot) -> anyhow::Result<()> {
    let collected = launch::gc(root)?;
    let mut stdout = std::io::stdout();
    for line in &collected.removed {
        writeln!(stdout, "removed {line}").context("write to stdout")?;
    }
    if collected.left.is_empty() {
        return Ok(());
    }
    bail!("left: {}", collected.left.join("; "))
}
