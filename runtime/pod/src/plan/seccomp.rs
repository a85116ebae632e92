//! `seccompProfile.type: RuntimeDefault`.
//!
//! Refused with `EPERM` are the system calls that container engines refuse by default (docker's documentation, "Significant
//! syscalls blocked by the default profile", and its profile, `default.json`); what a capability governs, or a namespace confines, is
//! allowed to those that have it. The engines' profiles list what is allowed, this one what is denied: a call that neither
//! has is allowed here.

use serde_json::{Value, json};

/// Refused to everybody.
const NEVER: [&str; 27] = [
    "_sysctl",
    "add_key",
    "create_module",
    "get_kernel_syms",
    "get_mempolicy",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "keyctl",
    "kexec_file_load",
    "kexec_load",
    "mbind",
    "migrate_pages",
    "move_pages",
    "nfsservctl",
    "query_module",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "swapoff",
    "swapon",
    "sysfs",
    "uselib",
    "userfaultfd",
    "ustat",
    "vm86",
    "vm86old",
];

/// Refused without the capability.
const WITH: [(&str, &[&str]); 11] = [
    ("CAP_BPF", &["bpf"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    (
        "CAP_SYS_ADMIN",
        &[
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "pivot_root",
            "quotactl",
            "quotactl_fd",
            "setns",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_MODULE", &["delete_module", "finit_module", "init_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    (
        "CAP_SYS_TIME",
        &["clock_adjtime", "clock_adjtime64", "clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    ("CAP_SYSLOG", &["syslog"]),
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

/// The bits of personality(2) that may be set, each or both: `PER_LINUX32` and `UNAME26`. Beside them docker lets the question
/// for the present one pass, which has all bits.
const PERSONALITY: [u32; 2] = [3, 17];

/// Refuses every other personality. A rule that holds two conditions on one argument means either of them, so each of these compares
/// two bits: of a number with some other bit set, but not all bits, one has a bit that is set before one that is not.
fn personalities() -> Vec<Value> {
    let others: Vec<u32> = (0..u32::BITS).filter(|bit| !PERSONALITY.contains(bit)).collect();
    let next = others.iter().cycle().skip(1);
    let of_others = others.iter().zip(next).map(|(set, clear)| (*set, *clear));
    let of_all = PERSONALITY.iter().map(|clear| (0, *clear));
    let rule = |(set, clear): (u32, u32)| {
        let (value, mask) = (1_u64 << set, (1_u64 << set) | (1 << clear));
        json!({
            "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM,
            "args": [{"index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}],
        })
    };
    of_others.chain(of_all).map(rule).collect()
}

/// The profile in the form of `linux.seccomp`, for a container with these capabilities.
#[must_use]
pub fn runtime_default(capabilities: &[String]) -> Value {
    let has = |name: &str| capabilities.iter().any(|capability| capability == name);
    let errno =
        |names: &[&str], errno: i32| json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno});
    let mut rules = vec![errno(&NEVER, libc::EPERM)];
    rules.extend(personalities());
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use runtime::seccomp::table;

    use super::*;

    /// The names that a profile refuses whatever their arguments.
    fn refused(capabilities: &[&str]) -> BTreeSet<String> {
        let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
        let profile = runtime_default(&capabilities);
        let rules = profile["syscalls"].as_array().unwrap().iter().filter(|rule| rule["args"].is_null());
        let names = rules.flat_map(|rule| rule["names"].as_array().unwrap());
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn every_name_is_that_of_a_system_call() {
        for name in refused(&[]) {
            assert!(table::is_known(&name), "{name}");
        }
    }

    #[test]
    fn what_a_capability_governs_is_allowed_with_it() {
        let all = refused(&[]);
        for (capability, name) in [
            ("CAP_SYS_ADMIN", "lookup_dcookie"),
            ("CAP_SYS_ADMIN", "umount"),
            ("CAP_SYS_PTRACE", "kcmp"),
            ("CAP_SYSLOG", "syslog"),
            ("CAP_SYS_TIME", "clock_adjtime"),
            ("CAP_SYS_TIME", "clock_settime64"),
            ("CAP_SYS_TIME", "stime"),
        ] {
            assert!(all.contains(name) && !refused(&[capability]).contains(name), "{name}");
        }
        let every: Vec<&str> = WITH.iter().map(|(capability, _)| *capability).collect();
        assert_eq!(refused(&every), NEVER.map(str::to_owned).into());
    }

    #[test]
    fn a_personality_is_one_of_dockers_or_refused() {
        let rules = personalities();
        let is_refused = |value: u32| {
            rules.iter().map(|rule| &rule["args"][0]).any(|arg| {
                let number = |key: &str| arg[key].as_u64().unwrap();
                u64::from(value) & number("value") == number("valueTwo")
            })
        };
        let allowed = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
        for value in allowed {
            assert!(!is_refused(value), "{value:#x}");
        }
        // All with one and two bits set or clear; ADDR_NO_RANDOMIZE is 0x40000.
        let bits = || (0..u32::BITS).map(|bit| 1_u32 << bit);
        for some in bits().flat_map(|one| bits().map(move |two| one | two)) {
            for value in [some, !some] {
                assert_eq!(is_refused(value), !allowed.contains(&value), "{value:#x}");
            }
        }
    }
}
