//! An init that has the name of the container's program.

use anyhow::Result;

use super::init;

/// File name that the program itself has then.
pub(crate) const REAL: &str = "witness.real";

/// Starts the program and waits for it, as an init does.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    init::run(&format!("/{REAL}"), arguments)
}
