//! `volumes`: emptyDir and hostPath.

use std::collections::HashSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource, Volume};

use super::error::Offences;
use super::quantity::Unit;
use super::resources::amount;
use super::{HostPathKind, VolumeSource, VolumeSpec, names};

const NO_API: &str =
    "there is no API server to read it from; write the files into a directory and mount it with hostPath";
const NO_STORAGE: &str = "podrt attaches no storage; mount it on the node and name it with hostPath";

pub(super) fn read(volumes: Option<Vec<Volume>>, at: &str, offences: &mut Offences) -> Vec<VolumeSpec> {
    let mut list: Vec<VolumeSpec> = Vec::new();
    let mut names = HashSet::new();
    for (index, volume) in volumes.unwrap_or_default().into_iter().enumerate() {
        let volume = one(volume, &format!("{at}[{index}]"), offences);
        if !volume.name.is_empty() && !names.insert(volume.name.clone()) {
            offences
                .invalid(format!("{at}[{index}].name"), format!("{:?} is already a volume's", volume.name));
        }
        list.push(volume);
    }
    list
}

fn one(volume: Volume, at: &str, offences: &mut Offences) -> VolumeSpec {
    let Volume {
        aws_elastic_block_store,
        azure_disk,
        azure_file,
        cephfs,
        cinder,
        config_map,
        csi,
        downward_api,
        empty_dir,
        ephemeral,
        fc,
        flex_volume,
        flocker,
        gce_persistent_disk,
        git_repo,
        glusterfs,
        host_path,
        image,
        iscsi,
        name,
        nfs,
        persistent_volume_claim,
        photon_persistent_disk,
        portworx_volume,
        projected,
        quobyte,
        rbd,
        scale_io,
        secret,
        storageos,
        vsphere_volume,
    } = volume;
    if name.is_empty() {
        offences.missing(format!("{at}.name"));
    } else if let Some(fault) = names::label_fault(&name) {
        offences.invalid(format!("{at}.name"), format!("{name:?} {fault}"));
    }
    offences.refuse(
        at,
        &[
            ("awsElasticBlockStore", aws_elastic_block_store.is_some(), NO_STORAGE),
            ("azureDisk", azure_disk.is_some(), NO_STORAGE),
            ("azureFile", azure_file.is_some(), NO_STORAGE),
            ("cephfs", cephfs.is_some(), NO_STORAGE),
            ("cinder", cinder.is_some(), NO_STORAGE),
            ("configMap", config_map.is_some(), NO_API),
            ("csi", csi.is_some(), NO_STORAGE),
            ("downwardAPI", downward_api.is_some(), NO_API),
            ("ephemeral", ephemeral.is_some(), NO_STORAGE),
            ("fc", fc.is_some(), NO_STORAGE),
            ("flexVolume", flex_volume.is_some(), NO_STORAGE),
            ("flocker", flocker.is_some(), NO_STORAGE),
            ("gcePersistentDisk", gce_persistent_disk.is_some(), NO_STORAGE),
            (
                "gitRepo",
                git_repo.is_some(),
                "podrt clones nothing; clone it on the node and name it with hostPath",
            ),
            ("glusterfs", glusterfs.is_some(), NO_STORAGE),
            (
                "image",
                image.is_some(),
                "an image is no volume yet; unpack it on the node and name it with hostPath",
            ),
            ("iscsi", iscsi.is_some(), NO_STORAGE),
            ("nfs", nfs.is_some(), NO_STORAGE),
            ("persistentVolumeClaim", persistent_volume_claim.is_some(), NO_STORAGE),
            ("photonPersistentDisk", photon_persistent_disk.is_some(), NO_STORAGE),
            ("portworxVolume", portworx_volume.is_some(), NO_STORAGE),
            ("projected", projected.is_some(), NO_API),
            ("quobyte", quobyte.is_some(), NO_STORAGE),
            ("rbd", rbd.is_some(), NO_STORAGE),
            ("scaleIO", scale_io.is_some(), NO_STORAGE),
            ("secret", secret.is_some(), NO_API),
            ("storageos", storageos.is_some(), NO_STORAGE),
            ("vsphereVolume", vsphere_volume.is_some(), NO_STORAGE),
        ],
    );
    if empty_dir.is_some() && host_path.is_some() {
        offences.invalid(at, "is both an emptyDir and a hostPath; write two volumes");
    }
    let source = match host_path {
        Some(source) => host_directory(source, &format!("{at}.hostPath"), offences),
        // The API's default for a volume that says nothing.
        None => empty_directory(empty_dir.unwrap_or_default(), &format!("{at}.emptyDir"), offences),
    };
    VolumeSpec { name, source }
}

fn empty_directory(source: EmptyDirVolumeSource, at: &str, offences: &mut Offences) -> VolumeSource {
    let EmptyDirVolumeSource { medium, size_limit } = source;
    let path = format!("{at}.medium");
    let is_memory = match medium.as_deref() {
        Some(medium) if medium.starts_with("HugePages") => {
            offences.unsupported(path, "podrt mounts no huge pages; write Memory");
            None
        }
        medium => offences.word(&path, medium, &[("", false), ("Memory", true)]),
    };
    let limit = size_limit.and_then(|size| amount(&size.0, Unit::One, format!("{at}.sizeLimit"), offences));
    VolumeSource::EmptyDir {
        is_memory: is_memory.unwrap_or_default(),
        // 0 is no limit, as the kubelet has it.
        size_limit_bytes: limit.filter(|limit| *limit > 0),
    }
}

fn host_directory(source: HostPathVolumeSource, at: &str, offences: &mut Offences) -> VolumeSource {
    let HostPathVolumeSource { path, type_ } = source;
    let field = format!("{at}.path");
    if path.is_empty() {
        offences.missing(field.clone());
    } else if !path.starts_with('/') {
        offences.invalid(field.clone(), format!("{path:?} is not an absolute path"));
    } else if path.split('/').any(|part| part == "..") {
        offences.invalid(field.clone(), format!("{path:?} contains .., which the API does not allow"));
    }
    offences.check_no_nul(|| field, &path);
    let kinds = [
        ("", HostPathKind::Any),
        ("DirectoryOrCreate", HostPathKind::DirectoryOrCreate),
        ("Directory", HostPathKind::Directory),
        ("FileOrCreate", HostPathKind::FileOrCreate),
        ("File", HostPathKind::File),
        ("Socket", HostPathKind::Socket),
        ("CharDevice", HostPathKind::CharDevice),
        ("BlockDevice", HostPathKind::BlockDevice),
    ];
    let kind = offences.word(&format!("{at}.type"), type_.as_deref(), &kinds);
    VolumeSource::HostPath { path: PathBuf::from(path), kind: kind.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::spec::samples::{read as read_manifest, refused, with_spec};

    fn volumes(list: Value) -> Vec<VolumeSource> {
        let spec = read_manifest(&with_spec("volumes", list)).unwrap();
        spec.volumes.into_iter().map(|volume| volume.source).collect()
    }

    #[test]
    fn empty_directories() {
        let empty = |is_memory, size_limit_bytes| VolumeSource::EmptyDir { is_memory, size_limit_bytes };
        let list = volumes(json!([
            {"name": "a", "emptyDir": {}},
            {"name": "b", "emptyDir": null},
            {"name": "c"},
            {"name": "d", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "e", "emptyDir": {"medium": "", "sizeLimit": 0}},
        ]));
        let plain = empty(false, None);
        assert_eq!(list, [plain.clone(), plain.clone(), plain.clone(), empty(true, Some(1 << 20)), plain]);
    }

    #[test]
    fn paths_of_the_node_of_every_kind() {
        for (word, kind) in [
            ("", HostPathKind::Any),
            ("DirectoryOrCreate", HostPathKind::DirectoryOrCreate),
            ("FileOrCreate", HostPathKind::FileOrCreate),
            ("BlockDevice", HostPathKind::BlockDevice),
        ] {
            let list = volumes(json!([{"name": "v", "hostPath": {"path": "/srv/x y", "type": word}}]));
            assert_eq!(list, [VolumeSource::HostPath { path: "/srv/x y".into(), kind }]);
        }
    }

    #[test]
    fn each_bad_volume_is_named() {
        for (volume, message) in [
            (json!({"name": "A"}), ".name: \"A\" is not a DNS label"),
            (json!({"emptyDir": {}}), ".name: required"),
            (json!({"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}), ": is both"),
            (
                json!({"name": "v", "emptyDir": {"medium": "Disk"}}),
                ".emptyDir.medium: \"Disk\" is none of Memory",
            ),
            (
                json!({"name": "v", "emptyDir": {"medium": "HugePages-2Mi"}}),
                ".emptyDir.medium: not supported",
            ),
            (
                json!({"name": "v", "emptyDir": {"sizeLimit": "-1"}}),
                ".emptyDir.sizeLimit: \"-1\" is negative",
            ),
            (json!({"name": "v", "hostPath": {}}), ".hostPath.path: required"),
            (
                json!({"name": "v", "hostPath": {"path": "x"}}),
                ".hostPath.path: \"x\" is not an absolute path",
            ),
            (
                json!({"name": "v", "hostPath": {"path": "/a/../b"}}),
                ".hostPath.path: \"/a/../b\" contains ..",
            ),
            (json!({"name": "v", "hostPath": {"path": "/a\0"}}), ".hostPath.path: \"/a\\0\" contains a NUL"),
            (
                json!({"name": "v", "hostPath": {"path": "/a", "type": "Fifo"}}),
                ".hostPath.type: \"Fifo\" is none of",
            ),
            (json!({"name": "v", "configMap": {"name": "x"}}), ".configMap: not supported"),
        ] {
            let text = refused(&with_spec("volumes", json!([volume])));
            assert!(text.starts_with(&format!("spec.volumes[0]{message}")), "{text}");
        }
        let text = refused(&with_spec("volumes", json!([{"name": "v"}, {"name": "v"}])));
        assert_eq!(text, "spec.volumes[1].name: \"v\" is already a volume's");
    }
}
