//! `podrt spec`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, bail};

/// A shell on a terminal, with namespaces of its own and few capabilities.
const TEMPLATE: &str = include_str!("spec.json");

/// Writes a configuration to begin with into a bundle.
///
/// # Errors
/// When there is one already, or it cannot be written.
pub fn spec(bundle: &Path) -> anyhow::Result<()> {
    let path = bundle.join("config.json");
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} exists; remove it first", path.display())
        }
        result => result.with_context(|| format!("make {}", path.display()))?,
    };
    file.write_all(TEMPLATE.as_bytes()).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::config;

    #[test]
    fn the_template_is_one_that_podrt_takes_without_a_remark() {
        let spec = config::parse(TEMPLATE, Path::new("/bundle")).unwrap();
        assert!(spec.warnings.is_empty(), "{:?}", spec.warnings);
        assert!(spec.process.has_terminal && spec.process.no_new_privileges && spec.rootfs_readonly);
    }

    #[test]
    fn what_is_there_is_kept() {
        let temp = tempfile::tempdir().unwrap();
        spec(temp.path()).unwrap();
        let error = spec(temp.path()).unwrap_err().to_string();
        assert!(error.ends_with("config.json exists; remove it first"), "{error}");
    }
}
