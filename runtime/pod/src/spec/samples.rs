//! Manifests for the tests: the smallest that is valid, and what a case changes in it.

use std::path::Path;

use serde_json::{Value, json};

use super::{PodSpec, SpecError, parse};

/// The smallest manifest that is valid.
pub(crate) fn minimal() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "/rootfs"}]},
    })
}

/// The smallest manifest with one value set.
pub(crate) fn with(pointer: &str, value: Value) -> Value {
    let mut manifest = minimal();
    set(&mut manifest, pointer, value);
    manifest
}

/// The smallest manifest with one field of its pod set.
pub(crate) fn with_spec(field: &str, value: Value) -> Value {
    with(&format!("/spec/{field}"), value)
}

/// The smallest manifest with one field of its container set.
pub(crate) fn with_container(field: &str, value: Value) -> Value {
    with(&format!("/spec/containers/0/{field}"), value)
}

/// Sets a value in an object that there is.
pub(crate) fn set(manifest: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    manifest.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
}

/// Parses in the directory `/pods`.
pub(crate) fn read(manifest: &Value) -> Result<PodSpec, SpecError> {
    parse(&manifest.to_string(), Path::new("/pods"))
}

/// What is wrong with a manifest, one line per offence.
pub(crate) fn refused(manifest: &Value) -> String {
    read(manifest).unwrap_err().to_string()
}
