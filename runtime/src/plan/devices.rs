//! The device nodes and links that every container has, and those of the bundle.

use std::path::{Path, PathBuf};

use super::Action;
use crate::spec::mounts::MountKind;
use crate::spec::{ContainerSpec, DeviceKind, DeviceSpec, NsKind};

/// The device nodes that every container has (config-linux.md, default devices).
const DEFAULT_DEVICES: [(&str, u64, u64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links that every container has (runtime-linux.md, dev symbolic links), and that of devpts.
const DEFAULT_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// The steps that make them.
pub(super) fn device_nodes(spec: &ContainerSpec) -> Vec<Action> {
    // Who binds a /dev of their own gets that one, untouched.
    let has_own_dev = spec
        .mounts
        .iter()
        .any(|mount| mount.destination == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. }));
    // mknod(2) of a device is refused in a user namespace: the node's own are bound there.
    let is_bound = spec.namespace(NsKind::User).is_some();
    let mut actions = Vec::new();
    if !has_own_dev {
        for (path, major, minor) in DEFAULT_DEVICES {
            let path = PathBuf::from(path);
            if spec.devices.iter().all(|device| device.path != path) {
                let device =
                    DeviceSpec { path, kind: DeviceKind::Char, major, minor, mode: 0o666, uid: 0, gid: 0 };
                actions.push(Action::Device { device, is_bound });
            }
        }
    }
    for device in &spec.devices {
        let is_bound = is_bound && device.kind != DeviceKind::Fifo;
        actions.push(Action::Device { device: device.clone(), is_bound });
    }
    if !has_own_dev {
        for (path, target) in DEFAULT_LINKS {
            actions.push(Action::Link { path: path.into(), target: target.into() });
        }
    }
    actions
}
