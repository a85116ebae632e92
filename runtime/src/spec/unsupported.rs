//! The properties that the OCI runtime specification defines and podrt does not implement.
//!
//! Ignoring one silently would start a container with less protection or fewer limits than it asked for.

use serde_json::Value;

use super::SpecError;

/// Paths into `config.json`.
const UNSUPPORTED: &[&str] = &[
    "solaris",
    "windows",
    "vm",
    "zos",
    "freebsd",
    "process.selinuxLabel",
    "process.commandLine",
    "process.user.username",
    "process.execCPUAffinity",
    "linux.intelRdt",
    "linux.mountLabel",
    "linux.netDevices",
    "linux.memoryPolicy",
    "linux.resources.network",
];

/// Refuses the first unsupported property that has a meaning.
///
/// # Errors
/// [`SpecError::Unsupported`] with the path of the property.
pub(super) fn check(config: &Value) -> Result<(), SpecError> {
    let asked = |path: &str| match find(config, path) {
        // The name of a device asks for it already.
        Some(Value::Object(devices)) if path == "linux.netDevices" => !devices.is_empty(),
        value => value.is_some_and(asks_for_something),
    };
    match UNSUPPORTED.iter().find(|path| asked(path)) {
        Some(path) => Err(SpecError::Unsupported { path: (*path).to_owned() }),
        None => Ok(()),
    }
}

fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

/// `null`, `false`, an empty text, list or object ask for nothing that an absent property would not.
fn asks_for_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => map.values().any(asks_for_something),
        Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(config: Value) -> String {
        check(&config).unwrap_err().to_string()
    }

    #[test]
    fn each_is_named_by_its_path() {
        for (config, path) in [
            (json!({"linux": {"mountLabel": "x"}}), "linux.mountLabel"),
            (json!({"linux": {"netDevices": {"eth0": {"name": "e"}}}}), "linux.netDevices"),
            (json!({"linux": {"netDevices": {"eth0": {}}}}), "linux.netDevices"),
            (json!({"linux": {"memoryPolicy": {"mode": "MPOL_BIND"}}}), "linux.memoryPolicy"),
            (json!({"process": {"selinuxLabel": "x"}}), "process.selinuxLabel"),
            (json!({"process": {"user": {"uid": 0, "username": "app"}}}), "process.user.username"),
            (json!({"process": {"commandLine": "a b"}}), "process.commandLine"),
            (json!({"process": {"execCPUAffinity": {"initial": "0"}}}), "process.execCPUAffinity"),
            (json!({"linux": {"resources": {"network": {"classID": 5}}}}), "linux.resources.network"),
        ] {
            assert!(refused(config).starts_with(&format!("{path}: not supported")), "{path}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_no_error() {
        for config in [
            json!({"process": {"selinuxLabel": ""}}),
            json!({"linux": {"resources": {"network": {"priorities": []}}}}),
        ] {
            check(&config).unwrap();
        }
    }
}
