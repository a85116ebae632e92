//! The mounts of a container.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Places;
use crate::spec::{ContainerSpec, PodSpec, VolumeMountSpec};

/// `mounts`, in order: those that every container has, then the volumes by depth of their targets.
#[must_use]
pub fn of(spec: &PodSpec, container: &ContainerSpec, places: &Places) -> Vec<Value> {
    let is_privileged = container.security.is_privileged;
    let sys = if is_privileged { "rw" } else { "ro" };
    let mut list = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", sys]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", sys]),
    ];
    if spec.is_host_ipc {
        list.push(bind(Path::new("/dev/shm"), Path::new("/dev/shm"), &["rw"]));
    } else {
        list.push(bind(&places.shm(), Path::new("/dev/shm"), &["rw", "nosuid", "noexec", "nodev"]));
    }
    let covers = |target: &str| container.mounts.iter().any(|mount| mount.path == Path::new(target));
    for name in ["hosts", "hostname", "resolv.conf"] {
        let target = format!("/etc/{name}");
        // What the manifest mounts there is what the user wants.
        if !covers(&target) {
            let options: &[&str] = if container.security.is_root_readonly { &["ro"] } else { &["rw"] };
            list.push(bind(&places.etc(name), Path::new(&target), options));
        }
    }
    list.push(bind(&places.message(&container.name), &container.termination_message_path, &["rw"]));
    let mut mounts: Vec<(usize, &VolumeMountSpec)> = container.mounts.iter().enumerate().collect();
    // A mount below another's target has to come after it.
    mounts.sort_by_key(|(_, mount)| mount.path.components().count());
    list.extend(mounts.into_iter().filter_map(|(index, mount)| {
        let sub_path = mount.sub_path.as_ref().map(|_| places.sub_path(&container.name, index));
        volume(spec, mount, sub_path, places)
    }));
    list
}

fn volume(
    spec: &PodSpec,
    mount: &VolumeMountSpec,
    sub_path: Option<PathBuf>,
    places: &Places,
) -> Option<Value> {
    let volume = spec.volumes.iter().find(|volume| volume.name == mount.volume)?;
    let source = sub_path.unwrap_or_else(|| places.source(volume));
    let mut options = vec![if mount.is_readonly { "ro" } else { "rw" }];
    if mount.is_recursively_readonly {
        options.push("rro");
    }
    options.push(if mount.is_host_to_container { "rslave" } else { "rprivate" });
    Some(bind(&source, &mount.path, &options))
}

fn mount(target: &str, kind: &str, options: &[&str]) -> Value {
    json!({"destination": target, "type": kind, "source": kind, "options": options})
}

fn bind(source: &Path, target: &Path, options: &[&str]) -> Value {
    let options: Vec<&str> = ["rbind"].into_iter().chain(options.iter().copied()).collect();
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}
