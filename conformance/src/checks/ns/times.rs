//! What checks of time namespaces need (time_namespaces(7)).

use std::fs;

use crate::bundle::Bundle;
use crate::cell::{Cell, Obstacle};

/// The version of the specification that time namespaces came with.
pub(super) const SINCE: (u32, u32) = (1, 1);

/// Whether the kernel and the runtime know of time namespaces; why not.
pub(super) fn known(cell: &Cell<'_>) -> Result<(), String> {
    if !fs::exists("/proc/self/ns/time").unwrap_or(false) {
        return Err("needs time namespaces, which this kernel has not".to_owned());
    }
    if cell.run.runtime.declares_before(SINCE) {
        let declared = cell.run.runtime.spec.as_deref().unwrap_or("an older version");
        return Err(format!(
            "time namespaces are newer than runtime-spec {declared}, which the runtime declares"
        ));
    }
    Ok(())
}

/// Skips unless both do.
pub(super) fn need(cell: &Cell<'_>) -> Result<(), Obstacle> {
    known(cell).map_err(Obstacle::Skip)
}

/// A bundle of a version of the specification that has time namespaces.
pub(super) fn versioned(bundle: Bundle) -> Bundle {
    bundle.with("/ociVersion", format!("{}.{}.0", SINCE.0, SINCE.1))
}
