//! The names of the kubelet's log files (`pkg/kubelet/kuberuntime`: `helpers.go`, `legacy.go`).
//!
//! ```text
//! ROOT/pods/NAMESPACE_POD_UID/CONTAINER/N.log
//! ROOT/containers/POD_NAMESPACE_CONTAINER-ID.log    a symlink, for collectors of logs
//! ```
//!
//! No name of the API has an underscore. Nothing is opened or followed. The kubelet cuts a name of the second form to 255 bytes,
//! and with it the id: such a container is known by its pod's uid only. A pod's directory stays until the kubelet has removed the
//! pod, so there are names of containers that have ended.

use std::collections::HashMap;
use std::path::Path;

use super::{MetadataError, bounded};
use crate::identity::{FULL_ID_LEN, MAX_LABEL, MAX_NAME, is_full_id, is_label, is_subdomain, pod_uid};
use crate::model::Names;

/// What the log files tell.
#[derive(Debug, Default)]
pub struct LogNames {
    /// Pods by uid, as `Identity::pod_uid` has it.
    pub pods: HashMap<String, PodName>,
    /// Containers by id, as `Identity::container_id` has it. Sandboxes have no logs.
    pub containers: HashMap<String, Names>,
    /// What could not be read.
    pub faults: Vec<MetadataError>,
}

/// What a pod is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub pod: String,
}

impl PodName {
    /// The kubelet can link the logs of all its containers, however they are called, without cutting a name.
    pub(crate) fn has_whole_links(&self) -> bool {
        let names = self.pod.len() + "_".len() + self.namespace.len() + "_".len() + MAX_LABEL + "-".len();
        names + FULL_ID_LEN + ".log".len() <= MAX_NAME
    }
}

/// Reads the directories below `root`, which is `/var/log` on a node. Names of another form are somebody else's.
#[must_use]
pub fn read(root: &Path) -> LogNames {
    let mut faults = Vec::new();
    let names = bounded::names(&root.join("pods"), &mut faults);
    let pods = names.iter().filter_map(|name| pod(name.to_str()?)).collect();
    let names = bounded::names(&root.join("containers"), &mut faults);
    let containers = names.iter().filter_map(|name| container(name.to_str()?)).collect();
    LogNames { pods, containers, faults }
}

fn pod(name: &str) -> Option<(String, PodName)> {
    let (namespace, rest) = name.split_once('_')?;
    let (pod, uid) = rest.split_once('_')?;
    if !is_label(namespace) || !is_subdomain(pod) {
        return None;
    }
    Some((pod_uid(uid)?, PodName { namespace: namespace.to_owned(), pod: pod.to_owned() }))
}

fn container(name: &str) -> Option<(String, Names)> {
    let (names, id) = name.strip_suffix(".log")?.rsplit_once('-')?;
    let (pod, rest) = names.split_once('_')?;
    let (namespace, container) = rest.split_once('_')?;
    let is_ours = is_full_id(id) && is_subdomain(pod) && is_label(namespace) && is_label(container);
    let [namespace, pod, container] = [namespace, pod, container].map(str::to_owned);
    is_ours.then(|| (id.to_owned(), Names { namespace, pod, container }))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, create_dir_all};
    use std::os::unix::fs::symlink;

    use super::*;

    const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
    const HASH: &str = "09a70ae9ccc491e651e5c773579b3490";

    #[test]
    fn a_node_without_logs_knows_nothing() {
        let root = tempfile::tempdir().unwrap();
        let names = read(root.path());
        assert!(names.pods.is_empty() && names.containers.is_empty() && names.faults.is_empty());
    }

    #[test]
    fn names_are_read_from_directories_and_links() {
        let root = tempfile::tempdir().unwrap();
        let (pods, containers) = (root.path().join("pods"), root.path().join("containers"));
        create_dir_all(pods.join(format!("kube-system_coredns-6f6b679f8f-x2x7k_{UID}/coredns"))).unwrap();
        create_dir_all(pods.join(format!("kube-system_etcd-kind.control_{HASH}/etcd"))).unwrap();
        create_dir_all(&containers).unwrap();
        let link = format!("coredns-6f6b679f8f-x2x7k_kube-system_core-dns-{ID}.log");
        symlink("/var/log/pods/gone", containers.join(link)).unwrap();

        let names = read(root.path());
        assert!(names.faults.is_empty());
        let pod = |uid: &str| names.pods.get(uid).map(|name| (name.namespace.as_str(), name.pod.as_str()));
        assert_eq!(pod(UID), Some(("kube-system", "coredns-6f6b679f8f-x2x7k")));
        assert_eq!(pod(HASH), Some(("kube-system", "etcd-kind.control")));
        let [namespace, pod, container] =
            ["kube-system", "coredns-6f6b679f8f-x2x7k", "core-dns"].map(str::to_owned);
        assert_eq!(names.containers.get(ID), Some(&Names { namespace, pod, container }));
    }

    #[test]
    fn other_names_are_passed_over() {
        for name in [
            UID.to_owned(),
            format!("a_b_c_{UID}"),
            format!("A_b_{UID}"),
            format!("a_b_{UID}x"),
            "__".to_owned(),
        ] {
            assert_eq!(pod(&name), None, "{name}");
        }
        for name in [
            format!("a_b_c-{ID}"),
            format!("a_b_c-{}.log", &ID[1..]),
            format!("a_b_c_d-{ID}.log"),
            format!("a_b_\n-{ID}.log"),
            format!("a_b-{ID}.log"),
            ".log".to_owned(),
        ] {
            assert_eq!(container(&name), None, "{name}");
        }
    }

    #[test]
    fn a_file_in_place_of_a_directory_is_a_fault() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("pods"), "").unwrap();
        assert!(matches!(read(root.path()).faults[..], [MetadataError::Io { op: "list", .. }]));
    }
}
