//! The levels that the kubelet makes (`pkg/kubelet/cm`: `cgroup_manager_linux.go`, `qos_container_manager_linux.go`).
//!
//! With cgroupfs they are `kubepods/[CLASS/]podUID`. With systemd each level repeats those above, joined by dashes, so that the
//! dashes of the uid become underscores: `kubepods.slice/kubepods-CLASS.slice/kubepods-CLASS-podUID.slice`. A
//! `--cgroup-root`, as kind has, stands before all of them: `kubelet.slice/kubelet-kubepods.slice/...`.

use super::QosClass;
use super::id;

/// Name of the kubelet's level of all pods.
const ROOT: &str = "kubepods";

/// A level of the kubelet's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// All pods.
    Root,
    /// The pods of a class.
    Class(QosClass),
    /// A pod; the class where the name has it.
    Pod(String, Option<QosClass>),
}

/// The level that a name means wherever it stands: all of systemd's, and `kubepods`.
pub(super) fn anywhere(name: &str) -> Option<Level> {
    if name == ROOT {
        return Some(Level::Root);
    }
    let stem = name.strip_suffix(".slice")?;
    if stem == ROOT || stem.ends_with("-kubepods") {
        return Some(Level::Root);
    }
    let (above, below) = stem.rsplit_once("kubepods-")?;
    if !above.is_empty() && !above.ends_with('-') {
        return None;
    }
    if let Some(class) = class(below) {
        return Some(Level::Class(class));
    }
    match below.split_once('-') {
        Some((first, rest)) if let Some(class) = class(first) => Some(Level::Pod(pod(rest)?, Some(class))),
        // Older kubelets left the dashes of the uid as they are.
        _ => Some(Level::Pod(pod(below)?, Some(QosClass::Guaranteed))),
    }
}

/// The level that a name means below [`Level::Root`].
pub(super) fn below_root(name: &str) -> Option<Level> {
    let class = class(name).map(Level::Class);
    class.or_else(|| pod(name).map(|uid| Level::Pod(uid, None))).or_else(|| anywhere(name))
}

fn class(name: &str) -> Option<QosClass> {
    match name {
        "burstable" => Some(QosClass::Burstable),
        "besteffort" => Some(QosClass::BestEffort),
        _ => None,
    }
}

fn pod(name: &str) -> Option<String> {
    id::pod_uid(name.strip_prefix("pod")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

    #[test]
    fn slices_repeat_what_is_above() {
        let pod = |class| Some(Level::Pod(UID.to_owned(), Some(class)));
        let uid = UID.replace('-', "_");
        assert_eq!(anywhere("kubelet-kubepods.slice"), Some(Level::Root));
        assert_eq!(anywhere("kubepods-besteffort.slice"), Some(Level::Class(QosClass::BestEffort)));
        assert_eq!(anywhere(&format!("kubepods-pod{uid}.slice")), pod(QosClass::Guaranteed));
        assert_eq!(anywhere(&format!("kubepods-pod{UID}.slice")), pod(QosClass::Guaranteed));
        assert_eq!(anywhere(&format!("a-b-kubepods-burstable-pod{uid}.slice")), pod(QosClass::Burstable));
        assert_eq!(anywhere(&format!("kubepods-burstable-pod{UID}.slice")), pod(QosClass::Burstable));
    }

    #[test]
    fn names_that_only_look_like_it() {
        for name in
            ["kubepods-", "kubepods-.slice", "kubepods-pod.slice", "kubepods-podX.slice", "notkubepods.slice"]
        {
            assert_eq!(anywhere(name), None, "{name}");
        }
        assert_eq!(anywhere(&format!("mykubepods-pod{UID}.slice")), None);
        assert_eq!(anywhere("burstable"), None);
        assert_eq!(below_root("pod"), None);
    }
}
