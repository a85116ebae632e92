//! The bundles: one root file system, and a configuration for each kind of container.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::measure::Res;

const DIR: &str = "/run/bench";

/// Where they are.
#[derive(Debug)]
pub(crate) struct Bundles {
    /// Its program ends at once.
    pub(crate) ending: PathBuf,
    /// Its program waits for a signal.
    pub(crate) sleeping: PathBuf,
    /// As `sleeping`, to be written anew with the namespaces that it joins.
    pub(crate) joining: PathBuf,
}

impl Bundles {
    /// Makes them in `DIR`, with `true` of this busybox and this pause.
    pub(crate) fn make(busybox: &Path, pause: &Path) -> Res<Self> {
        let root = Path::new(DIR).join("rootfs");
        for dir in ["bin", "dev", "proc", "sys"] {
            fs::create_dir_all(root.join(dir))?;
        }
        fs::copy(busybox, root.join("bin/busybox"))?;
        fs::copy(pause, root.join("bin/pause"))?;
        symlink("busybox", root.join("bin/true"))?;
        let namespaces: Vec<Value> = NAMESPACES.iter().map(|kind| json!({ "type": kind })).collect();
        Ok(Self {
            ending: write("ending", "/bin/true", &namespaces)?,
            sleeping: write("sleeping", "/bin/pause", &namespaces)?,
            joining: write("joining", "/bin/pause", &namespaces)?,
        })
    }

    /// Writes the bundle of containers that join the namespaces of this process.
    pub(crate) fn join(&self, sandbox: i32) -> Res<&Path> {
        let namespaces: Vec<Value> = NAMESPACES
            .iter()
            .map(|kind| match *kind {
                "network" => json!({ "type": kind, "path": format!("/proc/{sandbox}/ns/net") }),
                "ipc" | "uts" => json!({ "type": kind, "path": format!("/proc/{sandbox}/ns/{kind}") }),
                _ => json!({ "type": kind }),
            })
            .collect();
        write("joining", "/bin/pause", &namespaces)?;
        Ok(&self.joining)
    }
}

/// Those of the floor, and the cgroup namespace, which engines ask for.
const NAMESPACES: [&str; 6] = ["pid", "mount", "ipc", "uts", "network", "cgroup"];

fn write(name: &str, program: &str, namespaces: &[Value]) -> Res<PathBuf> {
    let bundle = Path::new(DIR).join(name);
    fs::create_dir_all(&bundle)?;
    let safe = ["nosuid", "noexec", "nodev"];
    let config = json!({
        "ociVersion": "1.0.2",
        "root": { "path": format!("{DIR}/rootfs"), "readonly": true },
        "process": {
            "user": { "uid": 0, "gid": 0 }, "args": [program], "env": ["PATH=/bin"], "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": safe },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "namespaces": namespaces,
            "resources": { "memory": { "limit": 268_435_456 }, "pids": { "limit": 100 } },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    fs::write(bundle.join("config.json"), config.to_string())?;
    Ok(bundle)
}
