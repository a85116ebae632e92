//! `mounts` and the propagation words.
//!
//! Options follow mount(8); each is turned into what the kernel's mount calls take: attributes of the mount
//! (mount_setattr(2)), propagation, or parameters of the file system (fsconfig(2)).

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use super::namespaces;
use super::options::MountOption;
use super::{IdMapping, SpecError};

/// Where a mount passes on, and takes, changes below it (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropagationMode {
    /// Neither way.
    Private,
    /// Both ways.
    Shared,
    /// Takes, never gives.
    Slave,
    /// Private, and cannot be the source of a bind.
    Unbindable,
}

impl PropagationMode {
    /// The `MS_*` value that `mount_attr.propagation` takes.
    #[must_use]
    pub fn flag(self) -> u64 {
        match self {
            Self::Private => libc::MS_PRIVATE,
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// A propagation word: `slave` or `rslave`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagation {
    /// Mode.
    pub mode: PropagationMode,
    /// Also for the mounts below.
    pub is_recursive: bool,
}

impl Propagation {
    /// Reads one of the eight words.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let mode = |word| match word {
            "private" => Some(PropagationMode::Private),
            "shared" => Some(PropagationMode::Shared),
            "slave" => Some(PropagationMode::Slave),
            "unbindable" => Some(PropagationMode::Unbindable),
            _ => None,
        };
        if let Some(mode) = mode(word) {
            return Some(Self { mode, is_recursive: false });
        }
        let mode = mode(word.strip_prefix('r')?)?;
        Some(Self { mode, is_recursive: true })
    }
}

/// Attributes to set and to clear on a mount (`MOUNT_ATTR_*`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes {
    /// To set.
    pub set: u64,
    /// To clear.
    pub clear: u64,
}

impl Attributes {
    fn apply(&mut self, change: Self) {
        self.set = (self.set & !change.clear) | change.set;
        self.clear = (self.clear & !change.set) | change.clear;
    }

    /// True when there is nothing to do.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A new instance of a file system.
    Filesystem {
        /// Type, as in `/proc/filesystems`.
        fstype: String,
        /// Source as shown in mountinfo.
        source: String,
        /// Parameters of the file system: a flag, or a key with its value.
        parameters: Vec<(String, Option<String>)>,
    },
    /// A directory or file of the host.
    Bind {
        /// On the host, absolute.
        source: PathBuf,
        /// With the mounts below it.
        is_recursive: bool,
    },
    /// The container's own cgroup.
    Cgroup,
    /// The mount that is there already.
    Remount {
        /// Parameters of its file system; `None` leaves that as it is.
        parameters: Option<Vec<(String, Option<String>)>>,
    },
}

/// The ids of a mount (mount_setattr(2), ID-mapped mounts).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// User ids.
    pub uid: Vec<IdMapping>,
    /// Group ids.
    pub gid: Vec<IdMapping>,
    /// Of the mounts below too.
    pub is_recursive: bool,
}

/// One entry of `mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// Position in the list, for messages.
    pub index: usize,
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// What is mounted.
    pub kind: MountKind,
    /// Attributes of the mount.
    pub attributes: Attributes,
    /// Attributes of the mount and of all below it.
    pub recursive_attributes: Attributes,
    /// Propagation changes, in order.
    pub propagation: Vec<Propagation>,
    /// The ids that files have there, where they are not those of the source.
    pub id_map: Option<IdMap>,
    /// What the directory held before is copied into the file system.
    pub has_copy_up: bool,
}

/// Reads `mounts`; `container` are the maps of the container's new user namespace, if it has one.
///
/// # Errors
/// A destination that is not absolute, or an option without a meaning.
pub(super) fn read(
    list: &[oci::Mount],
    bundle: &Path,
    container: Option<&IdMap>,
) -> Result<Vec<MountSpec>, SpecError> {
    let mut mounts: Vec<MountSpec> = Vec::new();
    for (index, mount) in list.iter().enumerate() {
        let spec = read_one(index, mount, bundle, container)?;
        if let MountKind::Remount { parameters: Some(_) } = &spec.kind {
            check_remount(&spec, &mounts)?;
        }
        mounts.push(spec);
    }
    Ok(mounts)
}

/// File systems of which every mount of a container is its own. Others may be the node's: a change would reach it.
const PRIVATE_FILESYSTEMS: [&str; 4] = ["devpts", "proc", "ramfs", "tmpfs"];

/// Refuses to change a file system that an earlier entry did not make.
fn check_remount(spec: &MountSpec, earlier: &[MountSpec]) -> Result<(), SpecError> {
    let there = earlier.iter().rev().find(|mount| {
        mount.destination == spec.destination && !matches!(mount.kind, MountKind::Remount { .. })
    });
    match there.map(|mount| &mount.kind) {
        Some(MountKind::Filesystem { fstype, .. }) if PRIVATE_FILESYSTEMS.contains(&fstype.as_str()) => {
            Ok(())
        }
        _ => Err(SpecError::invalid(
            format!("mounts[{}].options", spec.index),
            "\"remount\" would change a file system that the container may share with the node; add \"bind\" to change the \
             mount alone",
        )),
    }
}

fn read_one(
    index: usize,
    mount: &oci::Mount,
    bundle: &Path,
    container: Option<&IdMap>,
) -> Result<MountSpec, SpecError> {
    let field = |name: &str| format!("mounts[{index}].{name}");
    let destination = absolute(&field("destination"), mount.destination())?;
    let options: &[String] = mount.options().as_deref().unwrap_or_default();
    let fstype = mount.typ().as_deref().unwrap_or_default();
    let source = mount.source().clone().unwrap_or_default();

    let has = |word: &str| options.iter().any(|option| option == word);
    let is_bind = fstype == "bind" || has("bind") || has("rbind");
    let mut spec = MountSpec {
        index,
        destination,
        kind: MountKind::Cgroup,
        attributes: Attributes::default(),
        recursive_attributes: Attributes::default(),
        propagation: Vec::new(),
        id_map: id_map(&field, mount, is_bind && !has("remount"), container)?,
        has_copy_up: has("tmpcopyup"),
    };
    let mut parameters = Vec::new();
    for option in options {
        match MountOption::of(option) {
            MountOption::Kind | MountOption::Neutral => {}
            MountOption::Attribute(change) => spec.attributes.apply(change),
            MountOption::Recursive(change) => spec.recursive_attributes.apply(change),
            MountOption::Propagation(propagation) => spec.propagation.push(propagation),
            MountOption::Parameter if is_bind => {
                return Err(SpecError::invalid(
                    field("options"),
                    format!("{option:?} means nothing for a bind mount"),
                ));
            }
            MountOption::Parameter => parameters.push(match option.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (option.clone(), None),
            }),
        }
    }
    if spec.has_copy_up && (is_bind || fstype != "tmpfs") {
        return Err(SpecError::invalid(field("options"), "\"tmpcopyup\" needs the type tmpfs"));
    }
    if spec.has_copy_up && has("remount") {
        return Err(SpecError::invalid(
            field("options"),
            "\"tmpcopyup\" needs a new mount, and \"remount\" changes one that is there",
        ));
    }
    spec.kind = if has("remount") {
        MountKind::Remount { parameters: (!is_bind).then_some(parameters) }
    } else if is_bind {
        if source.as_os_str().is_empty() {
            return Err(SpecError::invalid(field("source"), "a bind mount needs one"));
        }
        MountKind::Bind { source: bundle.join(source), is_recursive: has("rbind") }
    } else if matches!(fstype, "cgroup" | "cgroup2") {
        if let Some((key, _)) = parameters.first() {
            return Err(SpecError::invalid(
                field("options"),
                format!(
                    "{key:?} would be set for the node's whole hierarchy; a cgroup mount takes flags only"
                ),
            ));
        }
        MountKind::Cgroup
    } else if fstype.is_empty() {
        return Err(SpecError::invalid(field("type"), "required, unless the options have bind or rbind"));
    } else {
        let source = source.to_string_lossy().into_owned();
        MountKind::Filesystem { fstype: fstype.to_owned(), source, parameters }
    };
    Ok(spec)
}

/// The ids of a mount that has its own: those of the mount, or those of the container.
fn id_map(
    field: &impl Fn(&str) -> String,
    mount: &oci::Mount,
    is_bind: bool,
    container: Option<&IdMap>,
) -> Result<Option<IdMap>, SpecError> {
    let has = |word: &str| mount.options().iter().flatten().any(|option| option == word);
    let uid = namespaces::mappings(&field("uidMappings"), mount.uid_mappings().as_ref())?;
    let gid = namespaces::mappings(&field("gidMappings"), mount.gid_mappings().as_ref())?;
    let is_recursive = has("ridmap");
    let map = match (uid.is_empty(), gid.is_empty()) {
        (true, true) if !has("idmap") && !is_recursive => return Ok(None),
        (true, true) => match container {
            Some(map) => IdMap { is_recursive, ..map.clone() },
            None => {
                return Err(SpecError::invalid(
                    field("options"),
                    "idmap needs uidMappings and gidMappings, of the mount or of a new user namespace in linux",
                ));
            }
        },
        (false, false) => IdMap { uid, gid, is_recursive },
        (true, false) => return Err(SpecError::invalid(field("uidMappings"), "gidMappings need them too")),
        (false, true) => return Err(SpecError::invalid(field("gidMappings"), "uidMappings need them too")),
    };
    if !is_bind {
        return Err(SpecError::invalid(field("uidMappings"), "only bind mounts can have ids of their own"));
    }
    Ok(Some(map))
}

/// Refuses a path that is relative or climbs: what it means would depend on who reads it.
pub(super) fn absolute(field: &str, path: &Path) -> Result<PathBuf, SpecError> {
    if !path.is_absolute() {
        Err(SpecError::invalid(field, format!("{} is not an absolute path", path.display())))
    } else if path.components().any(|part| part == Component::ParentDir) {
        Err(SpecError::invalid(field, format!("{} has a .. in it", path.display())))
    } else {
        Ok(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mount(json: &str) -> Result<MountSpec, SpecError> {
        read_one(3, &serde_json::from_str(json).unwrap(), Path::new("/bundle"), None)
    }

    #[test]
    fn options_are_sorted_by_who_takes_them() {
        let spec = mount(
            r#"{"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "ro", "rw", "strictatime", "mode=755", "size=64k", "noswap", "rslave"]}"#,
        )
        .unwrap();
        assert_eq!(spec.attributes.set, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_STRICTATIME);
        assert_eq!(spec.attributes.clear, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOATIME | 0x40);
        assert_eq!(spec.propagation, [Propagation { mode: PropagationMode::Slave, is_recursive: true }]);
        let MountKind::Filesystem { parameters, .. } = spec.kind else { panic!("{:?}", spec.kind) };
        assert_eq!(
            parameters,
            [
                ("mode".into(), Some("755".into())),
                ("size".into(), Some("64k".into())),
                ("noswap".into(), None)
            ]
        );
    }

    #[test]
    fn recursive_words_reach_the_mounts_below() {
        let spec =
            mount(r#"{"destination": "/d", "source": "data", "options": ["rbind", "rro", "rnosuid"]}"#)
                .unwrap();
        assert_eq!(spec.kind, MountKind::Bind { source: "/bundle/data".into(), is_recursive: true });
        assert_eq!(spec.recursive_attributes.set, libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID);
        assert!(spec.attributes.is_empty());
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        for (json, text) in [
            (r#"{"destination": "d", "type": "proc"}"#, "mounts[3].destination: d is not an absolute path"),
            (r#"{"destination": "/a/../b", "type": "proc"}"#, "mounts[3].destination: /a/../b has a .."),
            (
                r#"{"destination": "/d", "type": "bind", "source": "/s", "options": ["size=1"]}"#,
                "mounts[3].options",
            ),
            (
                r#"{"destination": "/d", "type": "proc", "options": ["tmpcopyup"]}"#,
                "mounts[3].options: \"tmpcopyup\" needs the type tmpfs",
            ),
            (
                r#"{"destination": "/d", "type": "bind", "source": "/s", "options": ["idmap"]}"#,
                "mounts[3].options: idmap needs uidMappings",
            ),
            (
                r#"{"destination": "/d", "type": "bind", "source": "/s",
                    "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}"#,
                "mounts[3].gidMappings: uidMappings need them too",
            ),
            (
                r#"{"destination": "/d", "type": "tmpfs",
                    "uidMappings": [{"containerID": 0, "hostID": 1, "size": 1}],
                    "gidMappings": [{"containerID": 0, "hostID": 1, "size": 1}]}"#,
                "mounts[3].uidMappings: only bind mounts",
            ),
            (r#"{"destination": "/d", "source": "/s"}"#, "mounts[3].type: required"),
        ] {
            let message = mount(json).unwrap_err().to_string();
            assert!(message.starts_with(text), "{message}");
        }
    }

    #[test]
    fn ids_are_the_mounts_or_the_containers() {
        let own = IdMapping { container_id: 0, host_id: 5, size: 1 };
        let container = IdMap { uid: vec![own], gid: vec![own], is_recursive: false };
        let json = r#"{"destination": "/d", "type": "bind", "source": "/s", "options": ["rbind", "ridmap"]}"#;
        let spec =
            read_one(0, &serde_json::from_str(json).unwrap(), Path::new("/"), Some(&container)).unwrap();
        assert_eq!(spec.id_map, Some(IdMap { is_recursive: true, ..container }));
        let mapped = mount(
            r#"{"destination": "/d", "type": "bind", "source": "/s",
                "uidMappings": [{"containerID": 1, "hostID": 2, "size": 3}],
                "gidMappings": [{"containerID": 4, "hostID": 5, "size": 6}]}"#,
        )
        .unwrap();
        let map = mapped.id_map.unwrap();
        assert_eq!((map.uid[0].host_id, map.gid[0].size, map.is_recursive), (2, 6, false));
    }

    #[test]
    fn only_what_is_the_containers_own_is_remounted() {
        let list =
            |json: &str| read(&serde_json::from_str::<Vec<oci::Mount>>(json).unwrap(), Path::new("/"), None);
        let remount = r#"{"destination": "/d", "type": "x", "options": ["remount", "size=1"]}"#;
        list(&format!(r#"[{{"destination": "/d", "type": "tmpfs"}}, {remount}]"#)).unwrap();
        for earlier in [
            r#"{"destination": "/e", "type": "tmpfs"}"#,
            r#"{"destination": "/d", "type": "sysfs"}"#,
            r#"{"destination": "/d", "type": "bind", "source": "/s"}"#,
        ] {
            let error = list(&format!("[{earlier}, {remount}]")).unwrap_err().to_string();
            assert!(error.contains("add \"bind\" to change the mount alone"), "{error}");
        }
        let bound = list(r#"[{"destination": "/d", "options": ["remount", "bind", "ro"]}]"#).unwrap();
        assert_eq!(bound[0].kind, MountKind::Remount { parameters: None });
    }

    proptest! {
        #[test]
        fn a_target_that_is_taken_is_absolute_and_goes_down_only(text in "(/|\\.|\\.\\.|[a-z\u{e4}]|\n| ){0,24}") {
            let value = serde_json::json!({"destination": text, "type": "tmpfs", "source": "tmpfs"});
            if let Ok(spec) = mount(&value.to_string()) {
                prop_assert!(spec.destination.is_absolute());
                prop_assert!(spec.destination.components().all(|part| part != Component::ParentDir));
            }
        }
    }
}
