//! Any text as the manifest of a pod: it is refused with the paths of what is wrong, or becomes a specification whose names
//! are safe as names of files and whose paths do not depend on the working directory.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use pod::spec::{ImageRef, PodSpec, VolumeSource, names, parse};

fuzz_target!(|text: &str| {
    match parse(text, Path::new("/pods")) {
        Ok(spec) => check(&spec),
        Err(error) => {
            assert!(!error.offences.is_empty(), "a refusal without a reason");
            let is_told = error.offences.iter().all(|offence| !offence.path().is_empty());
            assert!(is_told && !error.to_string().is_empty(), "an offence without a place");
        }
    }
});

fn check(spec: &PodSpec) {
    assert!(names::subdomain_fault(&spec.name).is_none(), "{:?} as a file", spec.name);
    assert!(names::label_fault(&spec.namespace).is_none(), "{:?} as a file", spec.namespace);
    assert!(spec.hostname.len() <= 64 && !spec.hostname.contains(|c: char| c.is_whitespace() || c == '/'));
    let is_line = |text: &String| !text.contains(|c: char| c.is_whitespace() || c.is_control());
    let aliases = spec.host_aliases.iter().flat_map(|alias| &alias.names);
    assert!(aliases.chain(&spec.dns.searches).chain(&spec.dns.options).all(is_line), "a line of its own");
    for volume in &spec.volumes {
        assert!(names::label_fault(&volume.name).is_none(), "{:?} as a file", volume.name);
        if let VolumeSource::HostPath { path, .. } = &volume.source {
            assert!(is_plain(path) && path.is_absolute(), "{path:?} of the node");
        }
    }
    for container in &spec.containers {
        assert!(names::label_fault(&container.name).is_none(), "{:?} as a file", container.name);
        let (ImageRef::Directory(image) | ImageRef::Oci { path: image, .. }) = &container.image;
        assert!(image.is_absolute(), "an image whose place depends on the working directory");
        for mount in &container.mounts {
            assert!(mount.path.is_absolute() && is_plain(&mount.path), "{:?} as a target", mount.path);
            let is_below = mount.sub_path.as_ref().is_none_or(|path| path.is_relative() && is_plain(path));
            assert!(is_below, "{:?} below a volume", mount.sub_path);
            assert!(spec.volumes.iter().any(|volume| volume.name == mount.volume), "a mount of no volume");
        }
        let arguments = container.command.iter().chain(&container.args).flatten();
        let values = container.env.iter().map(|(_, value)| value);
        assert!(arguments.chain(values).all(|text| !text.contains('\0')), "a text that execve cannot take");
        assert!(container.env.iter().all(|(name, _)| !name.is_empty() && !name.contains(['=', '\0'])));
    }
}

fn is_plain(path: &Path) -> bool {
    let has_nul = path.as_os_str().as_encoded_bytes().contains(&0);
    !has_nul && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}
