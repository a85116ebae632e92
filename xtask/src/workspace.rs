//! Where the workspace and its build folder are.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the workspace: the folder above this crate.
pub(crate) fn root() -> &'static Path {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir.parent().unwrap_or(crate_dir)
}

/// The build folder: `CARGO_TARGET_DIR`, or `target` below the root.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        // Cargo takes a relative value from the folder in which it was started.
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_absent_cwd| PathBuf::from(dir)),
        None => root().join("target"),
    }
}

/// The cargo that runs us, so that builds use the toolchain that the user chose.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}
