//! From the path of a cgroup to the pod and container that it belongs to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::identity::{Identity, Kind, QosClass, handed_over, is_full_id, nearest, outermost};
use crate::metadata::MetadataError;
use crate::metadata::cri::{Cri, CriNames};
use crate::metadata::log_dir::{self, LogNames, PodName};
use crate::metadata::podrt::{self, Part, PodrtPod, PodrtPods};
use crate::model::{Names, Owner, Role, Source};
use crate::sandbox::{Cgroups, is_sandbox};

/// So many characters of an engine's id stand for a container without a name.
const SHORT_ID: usize = 12;

/// Where names come from.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// A runtime that is asked first.
    cri: Option<Cri>,
    /// The directory that has the kubelet's `pods` and `containers`, if it is asked.
    logs: Option<PathBuf>,
    /// podrt's root, if it is asked.
    podrt: Option<PathBuf>,
}

/// The names that the node knows at one moment.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    cri: Arc<CriNames>,
    /// A runtime is asked, which may know more names a moment later.
    is_asked: bool,
    cri_fault: Option<Arc<MetadataError>>,
    logs: LogNames,
    podrt: PodrtPods,
}

/// Whose a cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) owner: Owner,
    /// It is the container's or pod's own, not one below it.
    pub(crate) is_top: bool,
    /// Its names are not known, and may be a moment later.
    pub(crate) is_provisional: bool,
    /// Who knew the names; `None` for the host.
    pub(crate) source: Option<Source>,
}

impl Resolver {
    /// Sources are read when they are needed; one that is absent knows nothing.
    #[must_use]
    pub fn new(cri: Option<Cri>, logs: Option<PathBuf>, podrt: Option<PathBuf>) -> Self {
        Self { cri, logs, podrt }
    }

    /// All names of now. What is damaged is left out.
    pub(crate) fn read(&self) -> Directory {
        let (cri, cri_fault) = self.cri.as_ref().map(Cri::read).unwrap_or_default();
        let is_asked = self.cri.is_some();
        Directory {
            cri,
            is_asked,
            cri_fault,
            logs: self.logs.as_deref().map(log_dir::read).unwrap_or_default(),
            podrt: self.podrt.as_deref().map(podrt::read).unwrap_or_default(),
        }
    }
}

impl Directory {
    /// What could not be read, with the source that it is of.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (Source, &MetadataError)> {
        let cri = self.cri_fault.iter().map(|fault| (Source::Cri, &**fault));
        let logs = self.logs.faults.iter().map(|fault| (Source::LogDir, fault));
        cri.chain(logs).chain(self.podrt.faults.iter().map(|fault| (Source::OciState, fault)))
    }

    /// Whether a runtime is asked, which may know more names a moment later.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Whose the cgroup at a path below the mount point is. Once it has waited for its names, what else is there may tell.
    pub(crate) fn resolve(&self, path: &Path, there: Option<&Cgroups<'_>>) -> Found {
        if let Some((pod, part)) = self.podrt.of_cgroup(path) {
            return of_podrt(pod, part, path);
        }
        let Some(mut found) = nearest(path) else {
            return Found { owner: Owner::host(), is_top: false, is_provisional: false, source: None };
        };
        // Whoever is in a container chooses the names below it; they must not become those of another pod.
        if found.1.is_delegated
            && let Some(own) = outermost(path).filter(|(_, identity)| !identity.is_delegated)
        {
            found = own;
        }
        let (top, mut identity) = found;
        let (names, source) = match (identity.is_delegated, self.asked(&identity)) {
            (true, _) => (None, Source::CgroupPath),
            (false, Some((names, kind))) => {
                identity.kind = kind;
                (Some(names), Source::Cri)
            }
            (false, None) => match self.names(&identity) {
                Some(names) => (Some(names), Source::LogDir),
                None => match self.sandbox(&top, &identity, there) {
                    Some(names) => {
                        identity.kind = Kind::Sandbox;
                        (Some(names), Source::LogDir)
                    }
                    None => (None, Source::CgroupPath),
                },
            },
        };
        let may_have_names = identity.pod_uid.is_some() || self.is_asked;
        Found {
            is_top: top == path,
            is_provisional: names.is_none() && may_have_names,
            source: Some(source),
            owner: owner(&identity, names.unwrap_or_else(|| self.without_names(&identity, path))),
        }
    }

    /// What the CRI runtime calls it, which also knows a sandbox from a container.
    fn asked(&self, identity: &Identity) -> Option<(Names, Kind)> {
        let id = identity.container_id.as_ref()?;
        let container = self.cri.containers.get(id).map(|names| (names, Kind::Container));
        let (names, kind) = container.or_else(|| Some((self.cri.sandboxes.get(id)?, Kind::Sandbox)))?;
        Some((names.clone(), kind))
    }

    fn names(&self, identity: &Identity) -> Option<Names> {
        let container = identity.container_id.as_ref().and_then(|id| self.logs.containers.get(id));
        if let Some(names) = container {
            return Some(names.clone());
        }
        let pod = self.pod(identity)?;
        match identity.kind {
            Kind::Pod => Some(Names::new(&pod.namespace, &pod.pod, "")),
            // A container of a known pod without a log is not told from its sandbox yet.
            Kind::Container | Kind::Sandbox => None,
        }
    }

    /// The kubelet's pod that it is or belongs to. podrt's are known by names, which may look like uids.
    fn pod(&self, identity: &Identity) -> Option<&PodName> {
        let is_kubelet_s = !identity.is_delegated && identity.runtime != "podrt";
        self.logs.pods.get(identity.pod_uid.as_ref()?).filter(|_| is_kubelet_s)
    }

    /// What a sandbox is called, if a container of the kubelet without a log is one.
    fn sandbox(&self, path: &Path, identity: &Identity, there: Option<&Cgroups<'_>>) -> Option<Names> {
        let pod = self.pod(identity)?;
        let is_one = is_sandbox(path, identity, pod, &self.logs, there?);
        is_one.then(|| Names::new(&pod.namespace, &pod.pod, Names::SANDBOX))
    }

    /// The ids that the path has, and what is known of the pod.
    fn without_names(&self, identity: &Identity, path: &Path) -> Names {
        let container = name_by_id(identity);
        if identity.is_delegated {
            return of_others(path, identity, container);
        }
        match self.pod(identity) {
            Some(pod) => Names::new(&pod.namespace, &pod.pod, container),
            None => Names::new("", identity.pod_uid.as_deref().unwrap_or_default(), container),
        }
    }
}

/// Ids that somebody else than the node's root chose, who may take them from a container of root. The level that was handed over stands
/// before the first of them: with its slash no id and no name is the same.
fn of_others(path: &Path, identity: &Identity, container: &str) -> Names {
    let level = handed_over(path).unwrap_or_default();
    match &identity.pod_uid {
        Some(uid) => Names::new("", &format!("{level}/{uid}"), container),
        None => Names::new("", "", &format!("{level}/{container}")),
    }
}

fn of_podrt(pod: &PodrtPod, part: Part<'_>, path: &Path) -> Found {
    let own = |name: &str| pod.cgroup.join(name);
    let (container, role, top) = match part {
        Part::Pod => ("", Role::Pod, pod.cgroup.clone()),
        Part::Sandbox => (Names::SANDBOX, Role::Sandbox, own(podrt::SANDBOX)),
        Part::Container(container) => {
            let role = if container.is_init { Role::Init } else { Role::App };
            (container.names.container.as_str(), role, container.cgroup.clone())
        }
    };
    let owner = Owner {
        names: Names::new(&pod.namespace, &pod.name, container),
        role,
        container_id: if matches!(part, Part::Container(_)) { container.to_owned() } else { String::new() },
        pod_uid: pod.uid.clone(),
        runtime: "podrt".to_owned(),
        qos_class: String::new(),
    };
    let is_top = top == Path::new("/").join(path);
    Found { owner, is_top, is_provisional: false, source: Some(Source::OciState) }
}

fn owner(identity: &Identity, names: Names) -> Owner {
    let role = match identity.kind {
        Kind::Pod => Role::Pod,
        Kind::Sandbox => Role::Sandbox,
        // Neither a path, nor the kubelet's logs, nor CRI tells an init container from the others.
        Kind::Container => Role::App,
    };
    let qos_class = match identity.qos_class {
        Some(QosClass::Guaranteed) => "guaranteed",
        Some(QosClass::Burstable) => "burstable",
        Some(QosClass::BestEffort) => "best_effort",
        None => "",
    };
    Owner {
        names,
        role,
        container_id: identity.container_id.clone().unwrap_or_default(),
        pod_uid: identity.pod_uid.clone().unwrap_or_default(),
        runtime: identity.runtime.to_owned(),
        qos_class: qos_class.to_owned(),
    }
}

/// An id that somebody chose is a name, of which every character may tell it from another; one of an engine is random.
fn name_by_id(identity: &Identity) -> &str {
    let id = identity.container_id.as_deref().unwrap_or_default();
    if is_full_id(id) { &id[..SHORT_ID] } else { id }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

    fn read(root: &Path) -> Directory {
        Resolver::new(None, Some(root.join("log")), Some(root.join("podrt"))).read()
    }

    #[test]
    fn a_container_of_the_kubelet_gets_its_names_when_its_log_is_there() {
        let root = tempfile::tempdir().unwrap();
        let path = format!("kubepods/burstable/pod{UID}/{ID}");
        let early = read(root.path()).resolve(Path::new(&path), None);
        assert!(early.is_provisional && early.is_top);
        assert_eq!(early.owner.names, Names::new("", UID, "9bca8d63d5fa"));

        let logs = root.path().join("log");
        fs::create_dir_all(logs.join("containers")).unwrap();
        fs::create_dir_all(logs.join(format!("pods/shop_web-0_{UID}"))).unwrap();
        symlink("/x", logs.join(format!("containers/web-0_shop_nginx-{ID}.log"))).unwrap();
        let late = read(root.path()).resolve(Path::new(&path), None);
        assert!(!late.is_provisional && late.is_top);
        assert_eq!(late.owner.names, Names::new("shop", "web-0", "nginx"));
        assert_eq!((late.owner.qos_class.as_str(), late.owner.role), ("burstable", Role::App));

        let below = read(root.path()).resolve(&Path::new(&path).join("inner"), None);
        assert_eq!((&below.owner, below.is_top), (&late.owner, false));
        let pod = read(root.path()).resolve(Path::new(&path).parent().unwrap(), None);
        assert_eq!((pod.owner.names, pod.owner.role), (Names::new("shop", "web-0", ""), Role::Pod));
    }

    #[test]
    fn podrt_tells_which_containers_come_first() {
        let root = tempfile::tempdir().unwrap();
        let pod = root.path().join("podrt/pods/web");
        fs::create_dir_all(&pod).unwrap();
        let record = format!(
            r#"{{"spec": {{"name": "web", "namespace": "shop", "containers": [
                {{"name": "migrate", "kind": "Init"}}, {{"name": "main", "kind": "Main"}}]}},
                "uid": "{UID}", "cgroup_parent": "/podrt-pods"}}"#
        );
        fs::write(pod.join("pod.json"), record).unwrap();
        let directory = read(root.path());
        let of = |path: &str| {
            let owner = directory.resolve(Path::new(path), None).owner;
            (owner.role, owner.container_id)
        };
        assert_eq!(of("podrt-pods/web/migrate"), (Role::Init, "migrate".to_owned()));
        assert_eq!(of("podrt-pods/web/main"), (Role::App, "main".to_owned()));
        assert_eq!(of("podrt-pods/web/_sandbox"), (Role::Sandbox, String::new()));
        assert_eq!(Role::Init.label(), "init");
    }

    #[test]
    fn a_name_chosen_in_a_container_is_not_taken_for_a_pod() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("log");
        fs::create_dir_all(logs.join(format!("pods/shop_web-0_{UID}"))).unwrap();
        let path = format!("docker/{}/kubepods/pod{UID}", "a".repeat(64));
        let found = read(root.path()).resolve(Path::new(&path), None);
        assert_eq!(found.owner.names, Names::new("", "", "aaaaaaaaaaaa"));
        assert!(!found.is_top);
    }

    #[test]
    fn what_a_user_makes_is_never_counted_for_a_container_of_root() {
        let root = tempfile::tempdir().unwrap();
        let directory = read(root.path());
        let names = |path: &str| directory.resolve(Path::new(path), None).owner.names;
        let user = "user.slice/user-1000.slice/user@1000.service";
        for own in [
            format!("docker-{ID}.scope"),
            format!("docker/{ID}"),
            "runc-web.scope".to_owned(),
            format!("kubepods/pod{UID}/{ID}"),
            format!("kubepods/pod{UID}"),
            "podrt-pods/web/main".to_owned(),
        ] {
            let of_root = if own.ends_with(".scope") { format!("system.slice/{own}") } else { own.clone() };
            let [root, one, other] = [
                of_root,
                format!("{user}/app.slice/{own}"),
                format!("{}/app.slice/{own}", user.replace("1000", "1001")),
            ]
            .map(|path| names(&path));
            assert!(root != one && root != other && one != other, "{own}: {root:?}, {one:?}, {other:?}");
            assert_ne!(one, Names::default());
        }
        let below = names(&format!("{user}/user.slice/libpod-{ID}.scope/inner"));
        assert_eq!(below, Names::new("", "", "user@1000.service/9bca8d63d5fa"));
        let of_pod = names(&format!("{user}/kubepods/pod{UID}/{ID}"));
        assert_eq!(of_pod, Names::new("", &format!("user@1000.service/{UID}"), "9bca8d63d5fa"));
        let of_system = names(&format!("lxc.payload.web/docker/{ID}"));
        assert_eq!(of_system, Names::new("", "", "lxc.payload.web/9bca8d63d5fa"));
    }

    #[test]
    fn a_sandbox_of_the_kubelet_is_told_once_it_has_waited() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("log");
        fs::create_dir_all(logs.join("containers")).unwrap();
        fs::create_dir_all(logs.join(format!("pods/shop_web-0_{UID}"))).unwrap();
        symlink("/x", logs.join(format!("containers/web-0_shop_nginx-{ID}.log"))).unwrap();
        let pod = PathBuf::from(format!("kubepods/burstable/pod{UID}"));
        let (pause, late) = (pod.join("d".repeat(64)), pod.join("e".repeat(64)));
        let ids = [(pause.clone(), 1), (pod.join(ID), 2), (late.clone(), 3)].into();
        let there = Cgroups { ids: &ids, is_pause: &|_| false };
        let directory = read(root.path());
        let of = |path: &Path, there| {
            let Found { owner, is_provisional, source, .. } = directory.resolve(path, there);
            (owner.names.container, owner.role, is_provisional, source)
        };
        let short = |digit: &str| digit.repeat(SHORT_ID);
        assert_eq!(of(&pause, None), (short("d"), Role::App, true, Some(Source::CgroupPath)));
        let sandbox = (Names::SANDBOX.to_owned(), Role::Sandbox, false, Some(Source::LogDir));
        assert_eq!(of(&pause, Some(&there)), sandbox);
        assert_eq!(of(&pause.join("inner"), Some(&there)), sandbox);
        assert_eq!(of(&late, Some(&there)), (short("e"), Role::App, true, Some(Source::CgroupPath)));
        // The pod is known before its containers are.
        let owner = directory.resolve(&late, None).owner;
        assert_eq!(owner.names, Names::new("shop", "web-0", &short("e")));
    }

    #[test]
    fn ids_that_were_chosen_are_names_in_full() {
        let root = tempfile::tempdir().unwrap();
        let directory = read(root.path());
        let names = |path: &str| directory.resolve(Path::new(path), None).owner.names;
        for (path, name) in [
            ("podrt/webserver-prod-1", "webserver-prod-1"),
            ("podrt/webserver-prod-2", "webserver-prod-2"),
            ("default/webserver-prod-1", "webserver-prod-1"),
            ("docker/buildkit/t4x1k0webserver", "t4x1k0webserver"),
            ("system.slice/runc-webserver-prod-1.scope", "webserver-prod-1"),
            ("user.slice/crun-webserver-prod-2.scope", "webserver-prod-2"),
            ("system.slice/youki-569d5ce3afe1074769f67.scope", "569d5ce3afe1074769f67"),
        ] {
            assert_eq!(names(path), Names::new("", "", name), "{path}");
        }
        for path in [format!("podrt/{ID}"), format!("system.slice/docker-{ID}.scope")] {
            assert_eq!(names(&path), Names::new("", "", &ID[..12]), "{path}");
        }
        // Pods of podrt whose state cannot be read.
        for (path, wanted) in [
            ("podrt-pods/web-1", ("web-1", "")),
            ("podrt-pods/web-1/main", ("web-1", "main")),
            ("podrt-pods/web-2/main", ("web-2", "main")),
            ("podrt-pods/web-2/_sandbox", ("web-2", "_sandbox")),
        ] {
            assert_eq!(names(path), Names::new("", wanted.0, wanted.1), "{path}");
        }
    }

    #[test]
    fn a_runtime_that_was_asked_knows_best() {
        let root = tempfile::tempdir().unwrap();
        let path = format!("kubepods/burstable/pod{UID}/{ID}");
        let names = Names::new("shop", "web-0", Names::SANDBOX);
        let cri = CriNames { sandboxes: [(ID.to_owned(), names.clone())].into(), ..CriNames::default() };
        let directory = Directory { cri: Arc::new(cri), ..read(root.path()) };
        let found = directory.resolve(Path::new(&path), None);
        assert_eq!((found.owner.names, found.owner.role), (names, Role::Sandbox));
        assert_eq!((found.is_provisional, found.source), (false, Some(Source::Cri)));
        let inside = format!("docker/{}/kubepods/pod{UID}/{ID}", "a".repeat(64));
        assert_eq!(
            directory.resolve(Path::new(&inside), None).owner.names,
            Names::new("", "", "aaaaaaaaaaaa")
        );
        let other = Path::new("system.slice").join(format!("cri-containerd-{}.scope", "b".repeat(64)));
        assert!(!directory.resolve(&other, None).is_provisional);
        assert!(Directory { is_asked: true, ..directory }.resolve(&other, None).is_provisional);
    }

    #[test]
    fn services_are_the_host_s() {
        let root = tempfile::tempdir().unwrap();
        let found = read(root.path()).resolve(Path::new("system.slice/sshd.service"), None);
        let host = Found { owner: Owner::host(), is_top: false, is_provisional: false, source: None };
        assert_eq!(found, host);
    }
}
