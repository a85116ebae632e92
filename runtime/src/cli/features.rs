//! `podrt features` (the specification's features document).

use serde_json::json;

use super::state::print_json;
use crate::spec::{NsKind, config};

/// Prints what podrt knows, whatever this kernel can do.
///
/// # Errors
/// What writing gives.
pub fn features() -> anyhow::Result<()> {
    let off = json!({"enabled": false});
    print_json(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": config::OCI_VERSION,
        "hooks": [],
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": NsKind::ALL.map(NsKind::oci_name),
            "cgroup": {"v1": false, "v2": true, "systemd": false, "systemdUser": false, "rdma": false},
            "seccomp": off,
            "apparmor": off,
            "selinux": off,
            "intelRdt": off,
            "mountExtensions": {"idmap": off},
        },
    }))
}

/// Options that podrt itself understands; a file system may take others.
const MOUNT_OPTIONS: &[&str] = &[
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "rexec",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnorelatime",
    "rnostrictatime",
    "rnosuid",
    "rnosymfollow",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rstrictatime",
    "rsuid",
    "rsymfollow",
    "runbindable",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "suid",
    "symfollow",
    "unbindable",
];
