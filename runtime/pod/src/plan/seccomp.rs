//! `seccompProfile.type: RuntimeDefault`.
//!
//! Refused with `EPERM` are the system calls that container engines refuse by default (docker's documentation, "Significant
//! syscalls blocked by the default profile"); what a capability governs, or a namespace confines, is allowed to those that have it.

use serde_json::{Value, json};

/// Refused to everybody.
const NEVER: [&str; 15] = [
    "add_key",
    "get_mempolicy",
    "keyctl",
    "kexec_file_load",
    "kexec_load",
    "mbind",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "swapoff",
    "swapon",
    "userfaultfd",
];

/// Refused without the capability.
const WITH: [(&str, &[&str]); 9] = [
    ("CAP_BPF", &["bpf"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setns",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    ("CAP_SYS_TIME", &["clock_settime", "settimeofday"]),
];

/// Every `CLONE_NEW*` flag of clone(2).
const CLONE_NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The profile in the form of `linux.seccomp`, for a container with these capabilities.
#[must_use]
pub fn runtime_default(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let errno =
        |names: &[&str], errno: i32| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
    let mut rules = vec![errno(&NEVER, libc::EPERM)];
    for (capability, names) in WITH.iter().filter(|(capability, _)| !has(capability)) {
        // The kernel takes the older of the two as well.
        let is_general = matches!(*capability, "CAP_BPF" | "CAP_PERFMON") && has("CAP_SYS_ADMIN");
        if !is_general {
            rules.push(errno(names, libc::EPERM));
        }
    }
    if !has("CAP_SYS_ADMIN") {
        // One rule per flag: a rule can only compare for equality.
        for flag in CLONE_NAMESPACES {
            rules.push(json!({
                "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM,
                "args": [{"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}],
            }));
        }
        // Its flags are in memory, where no filter can look; with ENOSYS the C library falls back to clone.
        rules.push(errno(&["clone3"], libc::ENOSYS));
    }
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}
