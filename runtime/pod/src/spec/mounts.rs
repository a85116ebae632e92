//! `volumeMounts`: volumes in a container.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::VolumeMount;

use super::VolumeMountSpec;
use super::env::{Allowance, Env};
use super::error::Offences;

/// Reads the mounts of one container.
pub(super) fn read(
    mounts: Option<Vec<VolumeMount>>,
    at: &str,
    volumes: &HashSet<&str>,
    env: &Env,
    allowance: &mut Allowance,
    offences: &mut Offences,
) -> Vec<VolumeMountSpec> {
    let mut list: Vec<VolumeMountSpec> = Vec::new();
    let mut paths = HashSet::new();
    for (index, mount) in mounts.unwrap_or_default().into_iter().enumerate() {
        let at = format!("{at}[{index}]");
        let mount = one(mount, &at, volumes, env, allowance, offences);
        // Compared part by part: /a and /a/ are one place.
        if !mount.path.as_os_str().is_empty() && !paths.insert(mount.path.clone()) {
            offences.invalid(format!("{at}.mountPath"), format!("{:?} is already a mount's", mount.path));
        }
        list.push(mount);
    }
    list
}

fn one(
    mount: VolumeMount,
    at: &str,
    volumes: &HashSet<&str>,
    env: &Env,
    allowance: &mut Allowance,
    offences: &mut Offences,
) -> VolumeMountSpec {
    let VolumeMount {
        mount_path,
        mount_propagation,
        name,
        read_only,
        recursive_read_only,
        sub_path,
        sub_path_expr,
    } = mount;
    if name.is_empty() {
        offences.missing(format!("{at}.name"));
    } else if !volumes.contains(name.as_str()) {
        offences.invalid(format!("{at}.name"), format!("there is no volume {name:?} in spec.volumes"));
    }
    check_target(&mount_path, &format!("{at}.mountPath"), offences);
    let is_readonly = read_only.unwrap_or(false);
    let propagation = format!("{at}.mountPropagation");
    let is_host_to_container = if mount_propagation.as_deref() == Some("Bidirectional") {
        let reason = "mounts of a container never reach the node; write HostToContainer or None";
        offences.unsupported(propagation, reason);
        false
    } else {
        let words = [("None", false), ("HostToContainer", true)];
        offences.word(&propagation, mount_propagation.as_deref(), &words).unwrap_or_default()
    };
    let recursive = format!("{at}.recursiveReadOnly");
    let words = [("Disabled", false), ("IfPossible", true), ("Enabled", true)];
    let is_recursively_readonly =
        offences.word(&recursive, recursive_read_only.as_deref(), &words).unwrap_or_default();
    if is_recursively_readonly && !is_readonly {
        offences.invalid(recursive, "may only be set when readOnly is true");
    } else if is_recursively_readonly && is_host_to_container {
        offences.invalid(recursive, "may only be set when mountPropagation is None");
    }
    let sub_path = sub_path.filter(|path| !path.is_empty());
    let sub_path_expr = sub_path_expr.filter(|path| !path.is_empty());
    let expression = format!("{at}.subPathExpr");
    let sub_path = match (sub_path, sub_path_expr) {
        (Some(_), Some(_)) => {
            offences.invalid(expression, "and subPath are both set; remove one");
            None
        }
        (Some(path), None) => check_sub_path(path, format!("{at}.subPath"), offences),
        (None, Some(text)) => {
            let path = env.expand_path(&text, &expression, allowance, offences);
            check_sub_path(path, expression, offences)
        }
        (None, None) => None,
    };
    VolumeMountSpec {
        volume: name,
        path: Path::new(&mount_path).components().collect(),
        sub_path,
        is_readonly,
        is_recursively_readonly,
        is_host_to_container,
    }
}

/// An absolute path below the root, as plain as it gets.
fn check_target(path: &str, field: &str, offences: &mut Offences) {
    let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    if path.is_empty() {
        offences.missing(field);
    } else if !path.starts_with('/') {
        offences.invalid(field, format!("{path:?} is not an absolute path"));
    } else if path.contains(':') {
        offences.invalid(field, format!("{path:?} contains :, which the API does not allow"));
    } else if parts.clone().any(|part| part == "..") {
        offences.invalid(field, format!("{path:?} contains ..; write where it leads to"));
    } else if parts.next().is_none() {
        offences.invalid(field, "is the root of the container, which is its image's");
    }
    offences.check_no_nul(|| field.to_owned(), path);
}

/// A path that stays in its volume by its words; that no link leads out of it is seen to at the mount.
fn check_sub_path(path: String, field: String, offences: &mut Offences) -> Option<PathBuf> {
    if path.starts_with('/') {
        offences.invalid(field.clone(), format!("{path:?} is not a relative path"));
    } else if path.split('/').any(|part| part == "..") {
        offences.invalid(field.clone(), format!("{path:?} contains .., which the API does not allow"));
    }
    offences.check_no_nul(|| field, &path);
    // `.` alone, or what an expression leaves empty, is the whole volume.
    let path: PathBuf = Path::new(&path).components().filter(|part| part.as_os_str() != ".").collect();
    (!path.as_os_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::samples::{read as read_manifest, refused, set, with_spec};

    fn with_mounts(mounts: &Value) -> Value {
        let mut manifest = with_spec("volumes", json!([{"name": "v"}]));
        set(&mut manifest, "/spec/containers/0/volumeMounts", mounts.clone());
        set(
            &mut manifest,
            "/spec/containers/0/env",
            json!([{"name": "A", "value": "a/../.."}, {"name": "B", "value": "b"}]),
        );
        manifest
    }

    fn mounts(mounts: &Value) -> Vec<VolumeMountSpec> {
        read_manifest(&with_mounts(mounts)).unwrap().containers.remove(0).mounts
    }

    #[test]
    fn a_mount_with_everything() {
        let list = mounts(&json!([
            {"name": "v", "mountPath": "/data//x/", "subPathExpr": "./$(B)/$$(B)", "readOnly": true, "recursiveReadOnly": "IfPossible"},
            {"name": "v", "mountPath": "/other", "subPath": "c", "mountPropagation": "HostToContainer"},
        ]));
        assert_eq!(list[0].path, Path::new("/data/x"));
        assert_eq!(list[0].sub_path.as_deref(), Some(Path::new("b/$(B)")));
        assert!(list[0].is_readonly && list[0].is_recursively_readonly && !list[0].is_host_to_container);
        assert_eq!(list[1].sub_path.as_deref(), Some(Path::new("c")));
        assert!(!list[1].is_readonly && list[1].is_host_to_container);
    }

    #[test]
    fn each_bad_mount_is_named() {
        for (mount, message) in [
            (json!({"name": "w", "mountPath": "/x"}), "name: there is no volume \"w\""),
            (json!({"mountPath": "/x"}), "name: required"),
            (json!({"name": "v"}), "mountPath: required"),
            (json!({"name": "v", "mountPath": "x"}), "mountPath: \"x\" is not an absolute path"),
            (json!({"name": "v", "mountPath": "/x:y"}), "mountPath: \"/x:y\" contains :"),
            (json!({"name": "v", "mountPath": "/x/../y"}), "mountPath: \"/x/../y\" contains .."),
            (json!({"name": "v", "mountPath": "//."}), "mountPath: is the root"),
            (json!({"name": "v", "mountPath": "/x\0"}), "mountPath: \"/x\\0\" contains a NUL"),
            (
                json!({"name": "v", "mountPath": "/x", "subPath": "/y"}),
                "subPath: \"/y\" is not a relative path",
            ),
            (
                json!({"name": "v", "mountPath": "/x", "subPath": "a/../.."}),
                "subPath: \"a/../..\" contains ..",
            ),
            (
                json!({"name": "v", "mountPath": "/x", "subPathExpr": "$(A)"}),
                "subPathExpr: \"a/../..\" contains ..",
            ),
            (
                json!({"name": "v", "mountPath": "/x", "subPathExpr": "$(C)"}),
                "subPathExpr: refers to the variable \"C\"",
            ),
            (
                json!({"name": "v", "mountPath": "/x", "subPath": "a", "subPathExpr": "a"}),
                "subPathExpr: and subPath",
            ),
            (
                json!({"name": "v", "mountPath": "/x", "mountPropagation": "Bidirectional"}),
                "mountPropagation: not supported",
            ),
            (
                json!({"name": "v", "mountPath": "/x", "recursiveReadOnly": "Enabled"}),
                "recursiveReadOnly: may only",
            ),
        ] {
            let text = refused(&with_mounts(&json!([mount])));
            assert!(text.starts_with(&format!("spec.containers[0].volumeMounts[0].{message}")), "{text}");
        }
        let twice = json!([{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x/"}]);
        let text = refused(&with_mounts(&twice));
        assert_eq!(text, "spec.containers[0].volumeMounts[1].mountPath: \"/x\" is already a mount's");
    }
}
