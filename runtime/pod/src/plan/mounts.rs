//! The mounts of a container.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Places;
use crate::spec::{ContainerSpec, PodSpec, VolumeMountSpec};

/// `mounts`, in order: those that every container has, then the pod's own files and the volumes by the depth of their targets, as
/// containerd orders them. A volume at `/etc` or `/dev` hides nothing of what the pod puts there, and one at the very place of a
/// file of the pod stands in its place.
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
    let mut binds: Vec<(&Path, Value)> = pod_files(spec, container, places);
    binds.retain(|(target, _)| container.mounts.iter().all(|mount| mount.path != *target));
    binds.extend(container.mounts.iter().enumerate().filter_map(|(index, mount)| {
        let sub_path = mount.sub_path.as_ref().map(|_| places.sub_path(&container.name, index));
        Some((mount.path.as_path(), volume(spec, mount, sub_path, places)?))
    }));
    // A mount below another's target has to come after it.
    binds.sort_by_key(|(target, _)| target.components().count());
    list.extend(binds.into_iter().map(|(_, bind)| bind));
    list
}

/// What a pod has in each container beside its volumes, with its targets.
fn pod_files<'a>(spec: &PodSpec, container: &'a ContainerSpec, places: &Places) -> Vec<(&'a Path, Value)> {
    let shm = Path::new("/dev/shm");
    let mut list = vec![if spec.is_host_ipc {
        (shm, bind(shm, shm, &["rw"]))
    } else {
        (shm, bind(&places.shm(), shm, &["rw", "nosuid", "noexec", "nodev"]))
    }];
    let options: &[&str] = if container.security.is_root_readonly { &["ro"] } else { &["rw"] };
    for (name, target) in
        [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")]
    {
        list.push((Path::new(target), bind(&places.etc(name), Path::new(target), options)));
    }
    let message = container.termination_message_path.as_path();
    list.push((message, bind(&places.message(&container.name), message, &["rw"])));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::samples::{read, set, with_container};

    /// The targets of the binds of a container with volumes at these places, each with what is mounted there.
    fn binds(targets: &[&str]) -> Vec<(String, String)> {
        let volumes = targets.iter().map(|target| json!({"name": "v", "mountPath": target})).collect();
        let mut manifest = with_container("volumeMounts", Value::Array(volumes));
        set(&mut manifest, "/spec/volumes", json!([{"name": "v"}]));
        let spec = read(&manifest).unwrap();
        let places = Places { cgroup: "/c".into(), pod: "/pod".into() };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        of(&spec, &spec.containers[0], &places)
            .iter()
            .filter(|mount| mount["type"] == "bind")
            .map(|mount| (text(&mount["destination"]), text(&mount["source"])))
            .collect()
    }

    #[test]
    fn a_volume_hides_none_of_the_pods_files() {
        let found = binds(&["/etc/below", "/etc", "/dev"]);
        let targets: Vec<&str> = found.iter().map(|(target, _)| target.as_str()).collect();
        let at = |target: &str| targets.iter().position(|have| *have == target).unwrap();
        assert_eq!(targets.len(), 8, "{targets:?}");
        for name in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/below"] {
            assert!(at("/etc") < at(name), "{targets:?}");
        }
        for name in ["/dev/shm", "/dev/termination-log"] {
            assert!(at("/dev") < at(name), "{targets:?}");
        }
    }

    #[test]
    fn a_volume_at_the_place_of_a_pods_file_is_what_is_there() {
        let own = ["/dev/shm", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/termination-log"];
        let mut found = binds(&own);
        found.sort();
        let mut wanted = own.map(|target| (target.to_owned(), "/pod/volumes/v".to_owned()));
        wanted.sort();
        assert_eq!(found, wanted);
    }
}
