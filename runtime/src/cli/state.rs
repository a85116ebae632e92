//! `podrt state`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::launch::lifecycle;
use crate::spec::ContainerId;
use crate::state::{StateRoot, Status};

/// The specification's state document, with the fields that runc adds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StateDocument<'a> {
    oci_version: &'a str,
    id: &'a str,
    /// 0 once the process has ended.
    pid: i32,
    status: Status,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: &'a str,
}

/// Prints the state.
///
/// # Errors
/// Why it is not known.
pub fn state(root: &StateRoot, id: &ContainerId) -> anyhow::Result<()> {
    let state = root.load(id)?;
    let status = lifecycle::status(root, id, &state)?;
    let document = StateDocument {
        oci_version: &state.oci_version,
        id: &state.id,
        pid: match (&state.process, status) {
            (Some(process), Status::Created | Status::Running | Status::Paused) => process.pid,
            _ => 0,
        },
        status,
        bundle: &state.bundle,
        rootfs: &state.rootfs,
        created: &state.created,
        annotations: &state.annotations,
        owner: "",
    };
    print_json(&document)
}

/// Prints a document on stdout.
///
/// # Errors
/// What writing gives.
pub(super) fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document).context("write JSON")?;
    writeln!(std::io::stdout(), "{text}").context("write to stdout")
}
