//! `podrt state`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::launch::lifecycle;
use crate::spec::ContainerId;
use crate::state::{State, StateRoot, Status};

/// The specification's state document, with the fields that runc adds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateDocument<'a> {
    pub(super) oci_version: &'a str,
    pub(super) id: &'a str,
    /// 0 once the process has ended.
    pub(super) pid: i32,
    pub(super) status: Status,
    pub(super) bundle: &'a Path,
    pub(super) rootfs: &'a Path,
    pub(super) created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) owner: &'a str,
}

/// Puts a document together.
pub(super) fn document<'a>(state: &'a State, status: Status, owner: &'a str) -> StateDocument<'a> {
    StateDocument {
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
        owner,
    }
}

/// Prints the state.
///
/// # Errors
/// Why it is not known.
pub fn state(root: &StateRoot, id: &ContainerId) -> anyhow::Result<()> {
    let state = root.load(id)?;
    let status = lifecycle::status(root, id, &state)?;
    print_json(&document(&state, status, ""))
}

/// Prints a document on stdout.
///
/// # Errors
/// What writing gives.
pub(super) fn print_json(document: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document).context("write JSON")?;
    writeln!(std::io::stdout(), "{text}").context("write to stdout")
}
