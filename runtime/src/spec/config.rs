//! From the text of `config.json` to a [`ContainerSpec`].

use std::path::Path;

use oci_spec::runtime as oci;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::mounts::{Propagation, absolute};
use super::{ContainerSpec, IdMap, NsKind, SpecError};
use super::{
    capabilities, devices, hooks, mounts, namespaces, process, resources, seccomp, sysctl, time, unsupported,
};

/// The newest version of the specification that podrt knows; what it declares in `features`.
pub const OCI_VERSION: &str = "1.2.1";

/// Reads and checks a configuration.
///
/// `bundle` is the absolute path of the directory that relative paths start from.
///
/// # Errors
/// The first field that is wrong, missing or unsupported, by its path.
pub fn parse(text: &str, bundle: &Path) -> Result<ContainerSpec, SpecError> {
    let syntax = |source| SpecError::Syntax { path: "config.json".to_owned(), source };
    let mut value: Value = serde_json::from_str(text).map_err(syntax)?;
    check_version(&value)?;
    unsupported::check(&value)?;
    let mut warnings = value.get_mut("process").map(capabilities::take_unknown).unwrap_or_default();
    // As it was written where that is possible: errors tell lines.
    let changed = (!warnings.is_empty()).then(|| value.to_string());
    let (spec, ignored) = typed::<oci::Spec>(changed.as_deref().unwrap_or(text))?;
    warnings.extend(ignored);
    let linux = spec.linux().as_ref().ok_or(SpecError::Missing { path: "linux" })?;
    let root = spec.root().as_ref().ok_or(SpecError::Missing { path: "root" })?;
    let process = spec.process().as_ref().ok_or(SpecError::Missing { path: "process" })?;
    if root.path().as_os_str().is_empty() {
        return Err(SpecError::Missing { path: "root.path" });
    }
    let namespaces = namespaces::read(linux.namespaces().as_deref().unwrap_or_default())?;
    for (field, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        if name.as_ref().is_some_and(|name| !name.is_empty())
            && !namespaces.iter().any(|ns| ns.kind == NsKind::Uts)
        {
            return Err(SpecError::invalid(
                field,
                "needs a uts namespace in linux.namespaces; it would rename the node",
            ));
        }
    }
    let paths = |field: &str, list: &Option<Vec<String>>| {
        list.iter()
            .flatten()
            .enumerate()
            .map(|(index, path)| absolute(&format!("linux.{field}[{index}]"), Path::new(path)))
            .collect::<Result<Vec<_>, _>>()
    };
    let raw = value.pointer("/linux/resources").unwrap_or(&Value::Null);
    let resources = resources::read(linux.resources().as_ref(), raw)?;
    warnings.extend(resources.warnings);
    let uid_mappings = namespaces::read_mappings("uidMappings", linux.uid_mappings().as_ref(), &namespaces)?;
    let gid_mappings = namespaces::read_mappings("gidMappings", linux.gid_mappings().as_ref(), &namespaces)?;
    let has_own_ids = namespaces.iter().any(|ns| ns.kind == NsKind::User && ns.path.is_none());
    let id_map = has_own_ids.then(|| IdMap {
        uid: uid_mappings.clone(),
        gid: gid_mappings.clone(),
        is_recursive: false,
    });
    Ok(ContainerSpec {
        document: text.to_owned(),
        oci_version: spec.version().clone(),
        rootfs: bundle.join(root.path()),
        rootfs_readonly: root.readonly().unwrap_or(false),
        rootfs_propagation: propagation(linux)?,
        mounts: mounts::read(spec.mounts().as_deref().unwrap_or_default(), bundle, id_map.as_ref())?,
        hostname: spec.hostname().clone().filter(|name| !name.is_empty()),
        domainname: spec.domainname().clone().filter(|name| !name.is_empty()),
        uid_mappings,
        gid_mappings,
        devices: devices::read(linux.devices().as_deref().unwrap_or_default())?,
        masked_paths: paths("maskedPaths", linux.masked_paths())?,
        readonly_paths: paths("readonlyPaths", linux.readonly_paths())?,
        sysctl: sysctl::read(linux.sysctl().as_ref(), &namespaces)?,
        time_offsets: time::read(linux.time_offsets().as_ref(), &namespaces)?,
        namespaces,
        cgroups_path: linux.cgroups_path().clone().filter(|path| !path.as_os_str().is_empty()),
        cgroup_settings: resources.settings,
        device_rules: resources.devices,
        seccomp: seccomp::read(linux.seccomp().as_ref(), &mut warnings)?,
        hooks: hooks::read(spec.hooks().as_ref())?,
        process: process::read(process)?,
        personality: personality(linux.personality().as_ref())?,
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        warnings,
    })
}

/// Parses into the specification's types; unknown properties become warnings.
pub(super) fn typed<T: DeserializeOwned>(text: &str) -> Result<(T, Vec<String>), SpecError> {
    let mut warnings = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let result: Result<T, _> = serde_ignored::deserialize(tracked, |path| {
        warnings.push(format!("{}: unknown property, ignored", field_path(&path)));
    });
    let spec = result.map_err(|source| SpecError::Syntax { path: track.path().to_string(), source })?;
    Ok((spec, warnings))
}

/// The path of an ignored property in the notation of the other messages: `mounts[1].frobnicate`.
fn field_path(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path as P;
    match path {
        P::Root => String::new(),
        P::Seq { parent, index } => format!("{}[{index}]", field_path(parent)),
        P::Map { parent, key } => match field_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        P::Some { parent } | P::NewtypeStruct { parent } | P::NewtypeVariant { parent } => field_path(parent),
    }
}

/// A version 1 configuration is one that podrt can read, whatever its minor version.
fn check_version(config: &Value) -> Result<(), SpecError> {
    let version = config.get("ociVersion").ok_or(SpecError::Missing { path: "ociVersion" })?;
    let text = version.as_str().unwrap_or_default();
    let mut parts = text.split(['.', '-', '+']);
    let numbers: Vec<u64> = parts.by_ref().take(3).map_while(|part| part.parse().ok()).collect();
    match numbers[..] {
        [1, _, _] => Ok(()),
        [_, _, _] => Err(SpecError::invalid(
            "ociVersion",
            format!("{text} is not a version that podrt reads; it reads 1.x, up to {OCI_VERSION} in full"),
        )),
        _ => Err(SpecError::invalid("ociVersion", format!("{version} is not of the form 1.2.0"))),
    }
}

fn personality(personality: Option<&oci::LinuxPersonality>) -> Result<Option<libc::c_int>, SpecError> {
    let Some(personality) = personality else { return Ok(None) };
    if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
        // The specification has the field and no value for it.
        return Err(SpecError::Unsupported { path: "linux.personality.flags".to_owned() });
    }
    // As linux/personality.h numbers them.
    Ok(Some(match personality.domain() {
        oci::LinuxPersonalityDomain::PerLinux => 0,
        oci::LinuxPersonalityDomain::PerLinux32 => 8,
    }))
}

fn propagation(linux: &oci::Linux) -> Result<Option<Propagation>, SpecError> {
    match linux.rootfs_propagation().as_deref() {
        None | Some("") => Ok(None),
        Some(word) => Propagation::from_word(word).map(Some).ok_or_else(|| {
            SpecError::invalid("linux.rootfsPropagation", format!("{word:?} is not a propagation"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The smallest configuration that is valid.
    fn minimal() -> Value {
        json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}]},
        })
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut config = minimal();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
        config
    }

    fn read(config: &Value) -> Result<ContainerSpec, SpecError> {
        parse(&config.to_string(), Path::new("/bundle"))
    }

    fn refused(pointer: &str, value: Value) -> String {
        // With its cause, as a user sees it.
        format!("{:#}", anyhow::Error::from(read(&with(pointer, value)).unwrap_err()))
    }

    #[test]
    fn the_smallest_configuration_gets_the_defaults() {
        let spec = read(&minimal()).unwrap();
        assert_eq!(spec.rootfs, Path::new("/bundle/rootfs"));
        assert_eq!(spec.process.umask, 0o022);
        assert!(!spec.rootfs_readonly && spec.warnings.is_empty() && spec.process.env.is_empty());
    }

    #[test]
    fn unknown_properties_are_ignored_with_a_warning_that_names_them() {
        let spec = read(&with("/process/frobnicate", json!(1))).unwrap();
        assert_eq!(spec.warnings, ["process.frobnicate: unknown property, ignored"]);
        let spec = read(&with("/mounts", json!([{"destination": "/p", "type": "proc", "x": 1}]))).unwrap();
        assert_eq!(spec.warnings, ["mounts[0].x: unknown property, ignored"]);
    }

    #[test]
    fn a_wrong_value_is_named_by_its_path() {
        for (pointer, value, message) in [
            ("/process/args", json!([]), "process.args: required"),
            ("/process/cwd", json!("tmp"), "process.cwd: tmp is not an absolute path"),
            ("/process/env", json!(["A"]), "process.env[0]: is not of the form"),
            ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj: 1001"),
            (
                "/process/rlimits",
                json!([{"type": "RLIMIT_X", "hard": 1, "soft": 1}]),
                "process.rlimits[0].type",
            ),
            ("/linux/namespaces", json!([{"type": "pid"}]), "linux.namespaces: no mount namespace"),
            (
                "/linux/namespaces",
                json!([{"type": "mnt"}]),
                "linux.namespaces[0].type: unknown variant `mnt`",
            ),
            (
                "/linux/namespaces",
                json!([{"type": "mount"}, {"type": "ipc"}, {"type": "ipc"}]),
                "linux.namespaces[2].type: ipc is already listed at [1]",
            ),
            (
                "/linux/namespaces",
                json!([{"type": "mount"}, {"type": "ipc", "path": "x"}]),
                "linux.namespaces[1].path: x is not an absolute path",
            ),
            (
                "/linux/uidMappings",
                json!([{"hostID": 1, "containerID": 0, "size": 1}]),
                "linux.uidMappings: needs",
            ),
            ("/linux/rootfsPropagation", json!("sideways"), "linux.rootfsPropagation: \"sideways\""),
            (
                "/linux/seccomp",
                json!({"defaultAction": "SCMP_ACT_NO"}),
                "linux.seccomp.defaultAction: unknown",
            ),
            ("/linux/intelRdt", json!({"closID": "x"}), "linux.intelRdt: not supported"),
            ("/hostname", json!("h"), "hostname: needs a uts namespace"),
            ("/ociVersion", json!("2.0.0"), "ociVersion: 2.0.0 is not a version"),
            ("/ociVersion", json!("1"), "ociVersion: \"1\" is not of the form"),
        ] {
            let text = refused(pointer, value);
            assert!(text.starts_with(message), "{text}");
        }
    }

    #[test]
    fn a_new_user_namespace_needs_both_maps() {
        let namespaces = json!([{"type": "mount"}, {"type": "user"}]);
        assert!(
            refused("/linux/namespaces", namespaces).starts_with("linux.uidMappings: a new user namespace")
        );
    }
}
