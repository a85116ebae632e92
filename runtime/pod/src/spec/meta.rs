//! `metadata`: what the pod is called.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::error::{Offences, visible};
use super::names;

/// The most that keys and values of all annotations together may have, as the API server limits it.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Checks names; what a server sets says nothing here, and is what `kubectl get -o yaml` prints.
pub(super) fn read(metadata: ObjectMeta, offences: &mut Offences) -> Meta {
    let ObjectMeta {
        annotations,
        creation_timestamp: _,
        deletion_grace_period_seconds: _,
        deletion_timestamp: _,
        finalizers: _,
        generate_name,
        generation: _,
        labels,
        managed_fields: _,
        name,
        namespace,
        owner_references: _,
        resource_version: _,
        self_link: _,
        uid: _,
    } = metadata;
    let name = name.unwrap_or_default();
    if !name.is_empty() {
        if let Some(fault) = names::subdomain_fault(&name).or_else(|| names::cgroup_fault(&name)) {
            offences.invalid("metadata.name", format!("{name:?} {fault}"));
        }
    } else if let Some(prefix) = generate_name.filter(|prefix| !prefix.is_empty()) {
        offences.unsupported(
            "metadata.generateName",
            format!("podrt makes up no names; write metadata.name, for instance {:?}", format!("{prefix}1")),
        );
    } else {
        offences.missing("metadata.name");
    }
    let namespace =
        namespace.filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| "default".to_owned());
    if let Some(fault) = names::label_fault(&namespace) {
        offences.invalid("metadata.namespace", format!("{namespace:?} {fault}"));
    }
    let (labels, annotations) = (labels.unwrap_or_default(), annotations.unwrap_or_default());
    for (key, value) in &labels {
        let path = || format!("metadata.labels.{}", visible(key));
        if let Some(fault) = names::key_fault(key) {
            offences.invalid(path(), format!("the key {fault}"));
        }
        if let Some(fault) = names::label_value_fault(value) {
            offences.invalid(path(), format!("{value:?} {fault}"));
        }
    }
    for key in annotations.keys() {
        // The API takes capitals here.
        if let Some(fault) = names::key_fault(&key.to_ascii_lowercase()) {
            offences.invalid(format!("metadata.annotations.{}", visible(key)), format!("the key {fault}"));
        }
    }
    let n_bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if n_bytes > MAX_ANNOTATION_BYTES {
        offences.invalid(
            "metadata.annotations",
            format!("have {n_bytes} bytes together, more than {MAX_ANNOTATION_BYTES}"),
        );
    }
    Meta { name, namespace, labels, annotations }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::spec::samples::{read, refused, with};

    #[test]
    fn names_that_are_none_are_told_with_their_value() {
        for (pointer, value, message) in [
            ("/metadata/name", json!("../etc"), "metadata.name: \"../etc\" is not a DNS subdomain"),
            (
                "/metadata/name",
                json!("cpu.max"),
                "metadata.name: \"cpu.max\" begins as the files of a cgroup do",
            ),
            ("/metadata/name", json!(""), "metadata.name: required"),
            ("/metadata/namespace", json!("a.b"), "metadata.namespace: \"a.b\" is not a DNS label"),
            ("/metadata/labels", json!({"-a": "x"}), "metadata.labels.-a: the key has a name"),
            ("/metadata/labels", json!({"a": "x y"}), "metadata.labels.a: \"x y\" is neither empty nor"),
            ("/metadata/annotations", json!({"a/b/c": ""}), "metadata.annotations.a/b/c: the key"),
            (
                "/metadata/annotations",
                json!({"a": "x".repeat(256 * 1024)}),
                "metadata.annotations: have 262145 bytes together",
            ),
        ] {
            let text = refused(&with(pointer, value));
            assert!(text.starts_with(message), "{text}");
        }
    }

    #[test]
    fn a_generated_name_is_not_made_up() {
        let mut manifest = with("/metadata/generateName", json!("web-"));
        assert_eq!(read(&manifest).unwrap().name, "p");
        manifest["metadata"]["name"].take();
        let text = refused(&manifest);
        assert!(
            text.starts_with("metadata.generateName: not supported") && text.contains("\"web-1\""),
            "{text}"
        );
    }
}
