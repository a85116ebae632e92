//! Parameters of the node that a runtime must leave as they are.

use std::fs;

use crate::cell::Obstacle;

/// A file of `/proc/sys` and what it said before the subject did anything.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) path: &'static str,
    pub(super) before: String,
}

impl Parameter {
    /// Reads it.
    pub(super) fn read(path: &'static str) -> Result<Self, Obstacle> {
        Ok(Self { path, before: text(path)? })
    }

    /// What it says by now. What the subject has changed is put back: the node is the judge's, too.
    pub(super) fn after(&self) -> Result<String, Obstacle> {
        let after = text(self.path)?;
        if after != self.before {
            fs::write(self.path, &self.before).map_err(|source| Obstacle::Node {
                op: "put back",
                path: self.path.into(),
                source,
            })?;
        }
        Ok(after)
    }
}

fn text(path: &str) -> Result<String, Obstacle> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| Obstacle::Node { op: "read", path: path.into(), source })?;
    Ok(text.trim_end().to_owned())
}
