//! The state of a container as the specification writes it (runtime.md, state): what hooks and seccomp agents get.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{State, Status};

/// The document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateDocument<'a> {
    /// `ociVersion` of the bundle.
    pub oci_version: &'a str,
    /// Container id.
    pub id: &'a str,
    /// Status.
    pub status: Status,
    /// The container's process as the reader of the document sees it; none once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// The bundle, absolute.
    pub bundle: &'a Path,
    /// Annotations of the bundle.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: &'a BTreeMap<String, String>,
}

impl<'a> StateDocument<'a> {
    /// Of a container whose state file is there.
    #[must_use]
    pub fn new(state: &'a State, status: Status, pid: Option<i32>) -> Self {
        Self {
            oci_version: &state.oci_version,
            id: &state.id,
            status,
            pid,
            bundle: &state.bundle,
            annotations: &state.annotations,
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Texts and numbers: nothing that JSON could not hold, but a path that is not UTF-8, which no parsed
        // configuration can have.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
