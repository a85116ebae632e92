//! Removing what interrupted commands and supervisors left.
//!
//! | found | taken for | done |
//! |---|---|---|
//! | a pod that a command has locked | at work | nothing |
//! | no record, or no report and no supervisor | an interrupted create, or rm | removed |
//! | a report, no supervisor, containers that run | an unsupervised pod | told |
//! | a report, no supervisor, nothing that runs | an ended supervisor | its remains but the directory are removed |
//! | an unpacked layer that no pod uses | an image that nobody needs | removed |
//! | a lease without a pod | an interrupted rm | removed |
//! | a cgroup with the mark of a pod that is gone | an interrupted rm | removed when empty, else told |

use anyhow::Result;
use runtime::cgroup::{owner, remove as cgroup};
use runtime::launch;

use super::observe::{Observed, PodState, observe};
use super::remove;
use crate::image::ImageStore;
use crate::net::{self, LeaseEntry};
use crate::state::{PodDir, PodRoot, StateError};

/// What a clean-up did, in words.
#[derive(Debug, Default)]
pub struct Collected {
    /// What was removed, and why.
    pub removed: Vec<String>,
    /// What needs a decision, or could not be removed.
    pub left: Vec<String>,
}

/// Cleans up below one root.
///
/// # Errors
/// When the root cannot be read; a failure on one pod is told in the result.
pub fn gc(root: &PodRoot) -> Result<Collected> {
    let mut collected = Collected::default();
    for pod in root.list()? {
        match collect(root, &pod) {
            Ok(Found::Nothing) => {}
            Ok(Found::Removed(what)) => collected.removed.push(format!("pod {}: {what}", pod.name())),
            Ok(Found::Left(what)) => collected.left.push(format!("pod {}: {what}", pod.name())),
            Err(error) => collected.left.push(format!("pod {}: {error:#}", pod.name())),
        }
    }
    collect_leases(root, &mut collected)?;
    collect_cgroups(root, &mut collected)?;
    collect_images(root, &mut collected)?;
    Ok(collected)
}

enum Found {
    Nothing,
    Removed(String),
    Left(String),
}

fn collect(root: &PodRoot, pod: &PodDir) -> Result<Found> {
    let _lock = match pod.try_lock() {
        // At work, or removed meanwhile.
        Ok(None) | Err(StateError::Unknown { .. }) => return Ok(Found::Nothing),
        result => result?,
    };
    let observed = observe(pod)?;
    Ok(match observed.state {
        PodState::Creating => {
            remove::destroy(root, pod)?;
            Found::Removed("its create was interrupted".to_owned())
        }
        PodState::Unsupervised => Found::Left(format!(
            "its supervisor is gone, and its containers run; podrt pod rm --force {} ends them",
            pod.name()
        )),
        PodState::Lost | PodState::Rebooted | PodState::Succeeded | PodState::Failed => {
            match remains(pod, &observed)? {
                0 => Found::Nothing,
                n => Found::Removed(format!("{n} remains of its containers")),
            }
        }
        PodState::Created | PodState::Pending | PodState::Running => Found::Nothing,
    })
}

/// Removes containers and cgroups of a pod of which nothing runs; how many there were.
fn remains(pod: &PodDir, observed: &Observed) -> Result<usize> {
    let mut n = 0;
    let containers = pod.containers();
    for id in containers.entries()?.0 {
        launch::delete(&containers, &id, true)?;
        n += 1;
    }
    let cgroups = observed.record.iter().flat_map(|record| [record.supervisor_cgroup(), record.cgroup()]);
    for path in cgroups.flatten().filter(|path| path.directory().exists()) {
        cgroup::remove(&path, &pod.owner())?;
        n += 1;
    }
    Ok(n)
}

fn collect_leases(root: &PodRoot, collected: &mut Collected) -> Result<()> {
    for entry in net::leases(&root.network())? {
        if has_pod(root, &entry) {
            continue;
        }
        let name = &entry.pod;
        // Asked again: a pod has its directory before it takes a lease, which may be this one.
        match net::disconnect_if(&root.network(), name, || !has_pod(root, &entry)) {
            Ok(false) => {}
            Ok(true) => collected.removed.push(format!("the address of pod {name}: the pod is gone")),
            Err(error) => {
                collected.left.push(format!("the address of pod {name}: {:#}", anyhow::Error::from(error)))
            }
        }
    }
    collected.removed.extend(net::collect(&root.network())?);
    Ok(())
}

/// True when the pod of a lease exists, or nobody can tell.
fn has_pod(root: &PodRoot, entry: &LeaseEntry) -> bool {
    match root.pod(&entry.pod) {
        Ok(pod) => pod.path().exists(),
        // The lease of a long name.
        Err(_) => root.list().map_or(true, |pods| pods.iter().any(|pod| entry.is_of(pod.name()))),
    }
}

/// Cgroups of pods of this root whose directory is gone.
fn collect_cgroups(root: &PodRoot, collected: &mut Collected) -> Result<()> {
    for (path, owner) in owner::marked()? {
        if owner.directory().parent() != Some(root.pods_canonical().as_path()) || owner.directory().exists() {
            continue;
        }
        let of = owner.directory().display();
        if owner::is_populated(&path.directory())? {
            let what = format!(
                "cgroup {path}: has processes, and {of} is gone; write 1 to its cgroup.kill, then gc"
            );
            collected.left.push(what);
            continue;
        }
        match cgroup::remove_empty(&path) {
            Ok(()) => collected.removed.push(format!("cgroup {path}: {of} is gone")),
            Err(error) => collected.left.push(format!("cgroup {path}: {error}")),
        }
    }
    Ok(())
}

fn collect_images(root: &PodRoot, collected: &mut Collected) -> Result<()> {
    // Before the pods are read: what is resolved from now on waits.
    let Some(collector) = ImageStore::new(root.images()).collector()? else { return Ok(()) };
    let mut in_use = Vec::new();
    for pod in root.list()? {
        match pod.record() {
            Ok(record) => in_use.extend(record.images.into_iter().flat_map(|image| image.layers)),
            Err(StateError::Unknown { .. }) => {}
            // Nobody knows what it uses.
            Err(_) => return Ok(()),
        }
    }
    for path in collector.remove_unused(&in_use)? {
        collected.removed.push(format!("{}: no pod uses it", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::net::Bridge;

    #[test]
    fn a_pod_that_cannot_be_locked_is_told() {
        let temp = tempfile::tempdir().unwrap();
        let root = PodRoot::new(temp.path().to_owned());
        fs::create_dir(temp.path().join("pods")).unwrap();
        symlink("loop", temp.path().join("pods/loop")).unwrap();
        let error = collect(&root, &root.pod("loop").unwrap()).err().unwrap();
        assert!(error.to_string().contains("pods/loop"), "{error:#}");
        assert!(matches!(collect(&root, &root.pod("absent").unwrap()), Ok(Found::Nothing)));
    }

    #[test]
    fn the_lease_of_a_pod_that_exists_is_the_pods() {
        let temp = tempfile::tempdir().unwrap();
        let root = PodRoot::new(temp.path().to_owned());
        let long = format!("{0}.{0}.{0}.{1}", "x".repeat(63), "y".repeat(61));
        for name in ["short", &long] {
            net::lease(&root.network(), name, &Bridge::default()).unwrap();
            let entries = net::leases(&root.network()).unwrap();
            let entry = entries.iter().find(|entry| entry.is_of(name)).unwrap();
            assert!(!has_pod(&root, entry), "{name}");
            fs::create_dir_all(temp.path().join("pods").join(name)).unwrap();
            assert!(has_pod(&root, entry), "{name}");
        }
    }

    #[test]
    fn a_lease_that_a_new_pod_has_taken_is_left() {
        let temp = tempfile::tempdir().unwrap();
        let lease = net::lease(temp.path(), "again", &Bridge::default()).unwrap();
        assert!(!net::disconnect_if(temp.path(), "again", || false).unwrap());
        assert_eq!(net::find(temp.path(), "again").unwrap(), Some(lease));
    }
}
