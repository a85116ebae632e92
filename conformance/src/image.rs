//! OCI images (image-spec): an image layout with one image, made of one layer that is not compressed.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Writes a layout into a directory: an image of this root file system, with this `config` (image-spec config.md).
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn write(dir: &Path, root: &Path, config: &Value) -> io::Result<()> {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer = blob(&blobs, "application/vnd.oci.image.layer.v1.tar", &layer(root)?)?;
    let document = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": config,
        // The digest of the layer before its compression, of which there is none.
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] }
    });
    let config = blob(&blobs, "application/vnd.oci.image.config.v1+json", document.to_string().as_bytes())?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let manifest = blob(&blobs, kind, manifest.to_string().as_bytes())?;
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(dir.join("index.json"), index.to_string())?;
    fs::write(dir.join("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }).to_string())
}

/// A directory tree as an archive, owned by root.
fn layer(root: &Path) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.mode(tar::HeaderMode::Deterministic);
    archive.append_dir_all("", root)?;
    archive.into_inner()
}

/// Writes a blob; its descriptor (image-spec descriptor.md).
fn blob(dir: &Path, kind: &str, bytes: &[u8]) -> io::Result<Value> {
    let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(dir.join(&sum), bytes)?;
    Ok(json!({ "mediaType": kind, "digest": format!("sha256:{sum}"), "size": bytes.len() }))
}

/// This machine's, in the words of Go.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_descriptor_leads_to_its_blob() {
        let dir = tempfile::tempdir().unwrap();
        let (root, layout) = (dir.path().join("root"), dir.path().join("layout"));
        fs::create_dir(&root).unwrap();
        fs::write(root.join("file"), "text").unwrap();
        std::os::unix::fs::symlink("/proc/self/mounts", root.join("mtab")).unwrap();
        write(&layout, &root, &json!({ "StopSignal": "SIGUSR2" })).unwrap();
        let read = |path: &Path| fs::read(path).unwrap();
        let follow = |descriptor: &Value| {
            let sum = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
            let bytes = read(&layout.join("blobs/sha256").join(sum));
            assert_eq!(descriptor["size"], bytes.len());
            bytes
        };
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let manifest = json(&follow(&json(&read(&layout.join("index.json")))["manifests"][0]));
        let config = json(&follow(&manifest["config"]));
        assert_eq!(config["config"]["StopSignal"], "SIGUSR2");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = follow(&manifest["layers"][0]);
        let mut archive = tar::Archive::new(layer.as_slice());
        let mut members: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|member| {
                let member = member.unwrap();
                let header = member.header();
                let link = member.link_name().unwrap().map(|link| link.display().to_string());
                (member.path().unwrap().display().to_string(), link, header.uid().unwrap())
            })
            .collect();
        members.sort();
        assert_eq!(
            members,
            [("file".to_owned(), None, 0), ("mtab".to_owned(), Some("/proc/self/mounts".to_owned()), 0)]
        );
    }
}
