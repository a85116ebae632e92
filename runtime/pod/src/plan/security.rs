//! Users, capabilities and masks of a container.

use serde_json::{Value, json};

use crate::spec::SecuritySpec;

/// The capabilities that container engines give by default (docker's documentation, "Runtime privilege and Linux capabilities").
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

const ALL: &str = "ALL";

/// What would tell a container about the node, or let it change the node.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The capabilities of a container; `known` are all that the kernel has.
///
/// `ALL` in one list is modified by the names in the other, as the CRI defines it.
#[must_use]
pub fn capabilities(security: &SecuritySpec, known: &[String]) -> Vec<String> {
    if security.is_privileged {
        return known.to_vec();
    }
    let has = |list: &[String], name: &str| list.iter().any(|entry| entry == name);
    let (add, drop) = (&security.add_capabilities, &security.drop_capabilities);
    let mut result: Vec<String> = if has(add, ALL) {
        known.to_vec()
    } else if has(drop, ALL) {
        Vec::new()
    } else {
        DEFAULT_CAPABILITIES.map(str::to_owned).to_vec()
    };
    result.retain(|name| !has(drop, name));
    for name in add.iter().filter(|name| *name != ALL) {
        if !result.contains(name) {
            result.push(name.clone());
        }
    }
    result.sort();
    result
}

/// `linux.maskedPaths` and `linux.readonlyPaths`.
#[must_use]
pub fn masks(security: &SecuritySpec) -> (Value, Value) {
    if security.is_privileged || security.is_proc_unmasked {
        return (json!([]), json!([]));
    }
    (json!(MASKED), json!(READONLY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> Vec<String> {
        let owned = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let security = SecuritySpec {
            add_capabilities: owned(add),
            drop_capabilities: owned(drop),
            ..Default::default()
        };
        capabilities(&security, &["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN"].map(str::to_owned))
    }

    #[test]
    fn lists_modify_the_default() {
        assert_eq!(names(&[], &[]), DEFAULT_CAPABILITIES);
        assert!(names(&["CAP_SYS_ADMIN"], &[]).contains(&"CAP_SYS_ADMIN".to_owned()));
        assert!(!names(&[], &["CAP_KILL"]).contains(&"CAP_KILL".to_owned()));
    }

    #[test]
    fn all_in_one_list_is_modified_by_the_other() {
        assert_eq!(names(&["CAP_KILL"], &["ALL"]), ["CAP_KILL"]);
        assert_eq!(names(&["ALL"], &["CAP_KILL"]), ["CAP_CHOWN", "CAP_SYS_ADMIN"]);
    }

    #[test]
    fn what_tells_of_the_node_is_masked() {
        let (masked, readonly) = masks(&SecuritySpec::default());
        for path in ["/proc/kcore", "/sys/devices/virtual/powercap", "/sys/firmware"] {
            assert!(masked.as_array().unwrap().contains(&json!(path)), "{path}");
        }
        assert!(readonly.as_array().unwrap().contains(&json!("/proc/sys")));
    }

    #[test]
    fn a_privileged_container_has_all() {
        let security = SecuritySpec { is_privileged: true, ..Default::default() };
        assert_eq!(capabilities(&security, &["CAP_BPF".to_owned()]), ["CAP_BPF"]);
        assert_eq!(masks(&security), (json!([]), json!([])));
    }
}
