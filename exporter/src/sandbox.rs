//! Which container of a pod of the kubelet is its sandbox, where no runtime tells.
//!
//! Its path is that of any other container, and it has no log; but others may be without one for a moment (the kubelet makes the link
//! once a container has started) or for good (a link whose name was cut). What is certain: the sandbox is made before all others of
//! its pod, and each of these has its log before the next is made. So a container without a log, after some time, is the sandbox when
//!
//! - of the pod's containers that are there none is older: the ids of cgroups grow (`kernfs_new_node`);
//! - a younger one has a log, or all that is in it is a pause process;
//! - no link to a log of its pod can have been cut.
//!
//! Who makes pods chooses names of pods and processes, and must not pass a container off as a sandbox by them: without the third
//! rule an engine that makes no sandboxes (CRI-O, unless a pod shares its pid namespace) would let a pod of a long name do so.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use crate::identity::{Identity, Kind, identify};
use crate::metadata::log_dir::{LogNames, PodName};

/// The cgroups of now.
pub(crate) struct Cgroups<'a> {
    /// Ids by path below the mount point.
    pub(crate) ids: &'a BTreeMap<PathBuf, u64>,
    /// All that is in this one is a pause process.
    pub(crate) is_pause: &'a dyn Fn(&Path) -> bool,
}

/// Whether a container is the sandbox of its pod. `path` is its own cgroup.
pub(crate) fn is_sandbox(
    path: &Path,
    identity: &Identity,
    pod: &PodName,
    logs: &LogNames,
    there: &Cgroups<'_>,
) -> bool {
    let has_log =
        |one: &Identity| one.container_id.as_ref().is_some_and(|id| logs.containers.contains_key(id));
    let Some(own_id) = there.ids.get(path) else { return false };
    if has_log(identity) || !pod.has_whole_links() {
        return false;
    }
    let mut is_one_named = false;
    for (other, id) in others(path, identity, there) {
        if id < *own_id {
            return false;
        }
        is_one_named |= has_log(&other);
    }
    is_one_named || (there.is_pause)(path)
}

/// The other containers of the pod, which are all in one cgroup, with their ids of cgroups.
fn others(path: &Path, identity: &Identity, there: &Cgroups<'_>) -> impl Iterator<Item = (Identity, u64)> {
    let parent = path.parent().unwrap_or(Path::new(""));
    let below = there.ids.range::<Path, _>((Bound::Excluded(parent), Bound::Unbounded));
    let beside = below
        .take_while(move |(other, _)| other.starts_with(parent))
        .filter(move |(other, _)| *other != path && other.parent() == Some(parent));
    let containers = beside.filter_map(|(other, id)| Some((identify(other)?, *id)));
    containers.filter(|(other, _)| other.kind == Kind::Container && other.pod_uid == identity.pod_uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::nearest;
    use crate::model::Names;

    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

    fn id(digit: &str) -> String {
        digit.repeat(64)
    }

    /// Cgroups of the containers a, b, c of a pod by both drivers, and of what is beside them.
    fn trees(ids: [u64; 3]) -> [BTreeMap<PathBuf, u64>; 3] {
        let dashed = UID.replace('-', "_");
        let layouts = [
            (format!("kubepods/burstable/pod{UID}"), "", ""),
            (
                format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{dashed}.slice"),
                "cri-containerd-",
                ".scope",
            ),
            (format!("kubepods.slice/kubepods-pod{dashed}.slice"), "crio-", ".scope"),
        ];
        layouts.map(|(pod, prefix, suffix)| {
            let pod = Path::new(&pod);
            let own = ["a", "b", "c"].into_iter().zip(ids);
            let own = own.map(|(digit, id)| (pod.join(format!("{prefix}{}{suffix}", self::id(digit))), id));
            let monitor = (pod.join(format!("crio-conmon-{}.scope", id("c"))), 1);
            let other_pod = (
                pod.with_file_name("kubepods-pod00000000_b29f_11e7_9350_020968147796.slice")
                    .join(format!("crio-{}.scope", id("d"))),
                2,
            );
            own.chain([(pod.to_owned(), 3), monitor, other_pod]).collect()
        })
    }

    /// Which of a, b and c are the sandbox, if these have logs and those hold a pause process; the same by each driver.
    fn sandboxes(ids: [u64; 3], logs: &[&str], pauses: &[&str], pod: &str) -> String {
        let name = |digit: &&str| (id(digit), Names::new("shop", pod, "main"));
        let logs = LogNames { containers: logs.iter().map(name).collect(), ..LogNames::default() };
        let pod = PodName { namespace: "shop".to_owned(), pod: pod.to_owned() };
        let found = trees(ids).map(|ids| {
            let holds = |path: &Path, digit: &str| path.to_string_lossy().contains(&id(digit));
            let is_pause = |path: &Path| pauses.iter().any(|digit| holds(path, digit));
            let there = Cgroups { ids: &ids, is_pause: &is_pause };
            let is_one = |digit: &&str| {
                let path = ids.keys().find(|path| holds(path, digit) && identify(path).is_some());
                let (top, identity) = nearest(path.unwrap()).unwrap();
                is_sandbox(&top, &identity, &pod, &logs, &there)
            };
            ["a", "b", "c"].into_iter().filter(is_one).collect::<String>()
        });
        let [first, second, third] = found;
        assert!(first == second && second == third, "{first:?} {second:?} {third:?}");
        first
    }

    fn of(ids: [u64; 3], logs: &[&str], pauses: &[&str]) -> String {
        sandboxes(ids, logs, pauses, "web-0")
    }

    #[test]
    fn the_oldest_without_a_log_is_the_sandbox_of_those_that_have_one() {
        assert_eq!(of([10, 20, 30], &["b", "c"], &[]), "a");
        // By age, not by name.
        assert_eq!(of([30, 10, 20], &["a", "c"], &[]), "b");
        // An ephemeral container whose log comes late is younger.
        assert_eq!(of([10, 20, 30], &["b"], &[]), "a");
    }

    #[test]
    fn without_any_log_a_pause_process_tells() {
        assert_eq!(of([10, 20, 30], &[], &[]), "");
        assert_eq!(of([10, 20, 30], &[], &["a"]), "a");
        // A process of this name in a container that is younger than another proves nothing.
        assert_eq!(of([10, 20, 30], &[], &["b", "c"]), "");
    }

    #[test]
    fn where_the_oldest_has_a_log_there_is_no_sandbox() {
        // It is gone, or the engine made none.
        assert_eq!(of([20, 10, 30], &["b", "c"], &["a"]), "");
    }

    #[test]
    fn a_link_that_may_have_been_cut_proves_nothing() {
        let of = |len: usize| sandboxes([10, 20, 30], &["b"], &["a"], &"x".repeat(len));
        assert_eq!([of(117), of(118)], ["a", ""]);
    }
}
