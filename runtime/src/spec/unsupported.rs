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
    "process.terminal",
    "process.apparmorProfile",
    "process.selinuxLabel",
    "process.ioPriority",
    "process.scheduler",
    "process.execCPUAffinity",
    "linux.intelRdt",
    "linux.mountLabel",
    "linux.personality",
    "linux.timeOffsets",
    "linux.netDevices",
    "linux.memoryPolicy",
    "linux.resources.devices",
    "linux.resources.blockIO",
    "linux.resources.hugepageLimits",
    "linux.resources.network",
    "linux.resources.rdma",
    "linux.resources.cpu.realtimeRuntime",
    "linux.resources.cpu.realtimePeriod",
    "linux.resources.cpu.cpus",
    "linux.resources.cpu.mems",
    "linux.resources.memory.kernel",
    "linux.resources.memory.kernelTCP",
    "linux.resources.memory.swappiness",
    "linux.resources.memory.disableOOMKiller",
    "linux.resources.memory.useHierarchy",
    "linux.resources.memory.checkBeforeUpdate",
];

/// Refuses the first unsupported property that has a meaning.
///
/// # Errors
/// [`SpecError::Unsupported`] with the path of the property.
pub(super) fn check(config: &Value) -> Result<(), SpecError> {
    match UNSUPPORTED.iter().find(|path| find(config, path).is_some_and(asks_for_something)) {
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
            (json!({"linux": {"memoryPolicy": {"mode": "MPOL_BIND"}}}), "linux.memoryPolicy"),
            (json!({"process": {"apparmorProfile": "x"}}), "process.apparmorProfile"),
            (json!({"process": {"terminal": true}}), "process.terminal"),
            (json!({"linux": {"resources": {"cpu": {"cpus": "0"}}}}), "linux.resources.cpu.cpus"),
        ] {
            assert!(refused(config).starts_with(&format!("{path}: not supported")), "{path}");
        }
    }

    #[test]
    fn what_asks_for_nothing_is_no_error() {
        for config in [
            json!({"process": {"terminal": false, "apparmorProfile": ""}}),
            json!({"linux": {"resources": {"devices": [], "memory": {"disableOOMKiller": false}}}}),
        ] {
            check(&config).unwrap();
        }
    }
}
