//! A container of the manifest.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    OCI_VERSION, Places, Sandbox, annotations, cgroup, mounts, namespace, pod_namespaces, seccomp, security,
};
use crate::image::{ImageConfig, UserIds};
use crate::spec::{ContainerSpec, PodSpec, SeccompProfile};

/// Why a container cannot be made of its image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to execute.
    #[error("neither the manifest (command, args) nor the image (entrypoint, cmd) names a program")]
    NoProgram,
    /// `runAsNonRoot`.
    #[error("securityContext.runAsNonRoot: the user is 0; set runAsUser, or give the image another user")]
    Root,
    /// `runAsNonRoot`, and only the image's own files tell who its user is.
    #[error(
        "securityContext.runAsNonRoot: the image's user {user:?} is a name, which cannot be verified not to be root; set runAsUser, \
         or give the image a number"
    )]
    NamedUser {
        /// As the image has it, without a group.
        user: String,
    },
}

/// What is known about a container only when it is started.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Defaults of its image.
    pub image: &'a ImageConfig,
    /// Its user, found in the image.
    pub user: &'a UserIds,
    /// The sandbox that it joins.
    pub sandbox: Sandbox,
    /// Memory of the node in bytes.
    pub node_memory_bytes: u64,
    /// Cgroups have `memory.swap.max`.
    pub has_swap_max: bool,
    /// Names of all capabilities of the kernel.
    pub capabilities: &'a [String],
    /// The text of `seccompProfile.localhostProfile`, parsed.
    pub seccomp: Option<&'a Value>,
}

/// Its configuration. The root file system is the bundle's `rootfs`.
///
/// # Errors
/// Why there can be no such container.
pub fn config(
    spec: &PodSpec,
    container: &ContainerSpec,
    places: &Places,
    facts: &Facts<'_>,
) -> Result<Value, PlanError> {
    let security = &container.security;
    if security.must_not_be_root {
        expect_other_than_root(container, facts)?;
    }
    let capabilities = security::capabilities(security, facts.capabilities);
    let mut process = json!({
        "user": {"uid": facts.user.uid, "gid": facts.user.gid, "additionalGids": groups(container, facts.user)},
        "args": args(container, facts.image)?,
        "env": env(spec, container, facts),
        "cwd": working_dir(container, facts.image),
        "capabilities": {"bounding": &capabilities, "effective": &capabilities, "permitted": &capabilities},
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": cgroup::oom_score_adj(spec, container, facts.node_memory_bytes),
    });
    if let Some(profile) = &security.apparmor_profile {
        process["apparmorProfile"] = json!(profile);
    }
    let (masked, readonly) = security::masks(security);
    let mut linux = json!({
        "namespaces": namespaces(spec, facts.sandbox),
        "cgroupsPath": places.cgroup.join(&container.name),
        "resources": cgroup::of_container(&container.resources, facts.has_swap_max),
        "maskedPaths": masked,
        "readonlyPaths": readonly,
    });
    if security.is_privileged {
        linux["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    }
    match &security.seccomp {
        SeccompProfile::Unconfined => {}
        SeccompProfile::RuntimeDefault => linux["seccomp"] = seccomp::runtime_default(&capabilities),
        SeccompProfile::Localhost(_) => linux["seccomp"] = facts.seccomp.cloned().unwrap_or_default(),
    }
    Ok(json!({
        "ociVersion": OCI_VERSION,
        "root": {"path": "rootfs", "readonly": security.is_root_readonly},
        "process": process,
        "mounts": mounts::of(spec, container, places),
        "annotations": annotations(spec, &container.name),
        "linux": linux,
    }))
}

/// As the kubelet, which looks at the image's configuration only: the files of the image could call any name root.
fn expect_other_than_root(container: &ContainerSpec, facts: &Facts<'_>) -> Result<(), PlanError> {
    if facts.user.uid == 0 {
        return Err(PlanError::Root);
    }
    let named = facts.image.user.as_deref().filter(|_| container.security.user.is_none());
    let user = named.and_then(|user| user.split(':').next()).unwrap_or_default();
    if user.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(PlanError::NamedUser { user: user.to_owned() })
}

fn namespaces(spec: &PodSpec, sandbox: Sandbox) -> Vec<Value> {
    let mut list = pod_namespaces(spec, Some(sandbox));
    list.extend([namespace("mount", "mnt", None), namespace("cgroup", "cgroup", None)]);
    if !spec.is_host_pid {
        list.push(namespace("pid", "pid", spec.shares_pids.then_some(sandbox)));
    }
    list
}

/// `command` replaces entrypoint and cmd of the image, `args` only the cmd.
fn args(container: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>, PlanError> {
    let list: Vec<String> = match (&container.command, &container.args) {
        (Some(command), args) => command.iter().chain(args.iter().flatten()).cloned().collect(),
        (None, Some(args)) => image.entrypoint.iter().chain(args).cloned().collect(),
        (None, None) => image.entrypoint.iter().chain(&image.cmd).cloned().collect(),
    };
    if list.is_empty() { Err(PlanError::NoProgram) } else { Ok(list) }
}

/// The image's, then the manifest's over it; `PATH`, `HOME` and `HOSTNAME` where neither has them.
fn env(spec: &PodSpec, container: &ContainerSpec, facts: &Facts<'_>) -> Vec<String> {
    let mut list: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match list.iter_mut().find(|(have, _)| have == name) {
        Some((_, old)) => value.clone_into(old),
        None => list.push((name.to_owned(), value.to_owned())),
    };
    set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    set("HOSTNAME", &spec.hostname);
    let home = facts.user.home.as_deref().and_then(Path::to_str).unwrap_or("/");
    set("HOME", home);
    for (name, value) in facts.image.env.iter().chain(&container.env) {
        set(name, value);
    }
    list.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn working_dir(container: &ContainerSpec, image: &ImageConfig) -> PathBuf {
    let directory = container.working_dir.as_ref().or(image.working_dir.as_ref());
    directory.filter(|path| path.is_absolute()).cloned().unwrap_or_else(|| PathBuf::from("/"))
}

fn groups(container: &ContainerSpec, user: &UserIds) -> Vec<u32> {
    let mut list: Vec<u32> = user.additional_gids.clone();
    list.extend(&container.security.supplemental_groups);
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::samples::{read, with_container};

    /// What becomes of a container with this `securityContext` and an image with this user, whose files call it `uid`.
    fn made(security: Value, image: Option<&str>, uid: u32) -> Result<Value, PlanError> {
        let mut manifest = with_container("securityContext", security);
        manifest["spec"]["containers"][0]["command"] = json!(["/bin/true"]);
        let spec = read(&manifest).unwrap();
        let image = ImageConfig { user: image.map(str::to_owned), ..Default::default() };
        let facts = Facts {
            image: &image,
            user: &UserIds { uid, gid: 0, additional_gids: Vec::new(), home: None },
            sandbox: Sandbox { pid: 1 },
            node_memory_bytes: 1 << 30,
            has_swap_max: true,
            capabilities: &[],
            seccomp: None,
        };
        let places = Places { cgroup: "/c".into(), pod: "/pod".into() };
        config(&spec, &spec.containers[0], &places, &facts)
    }

    #[test]
    fn who_must_not_be_root_has_a_number() {
        let non_root = || json!({"runAsNonRoot": true});
        for user in ["1000", "1000:0", "1000:web"] {
            assert!(made(non_root(), Some(user), 1000).is_ok(), "{user}");
        }
        for user in ["web", "web:1000", "1000x"] {
            let name = user.split(':').next().unwrap().to_owned();
            assert_eq!(made(non_root(), Some(user), 1000), Err(PlanError::NamedUser { user: name }));
        }
        for user in [None, Some("0"), Some("root")] {
            assert_eq!(made(non_root(), user, 0), Err(PlanError::Root), "{user:?}");
        }
        assert!(made(json!({}), Some("web"), 1000).is_ok(), "nobody minds");
        let own = json!({"runAsNonRoot": true, "runAsUser": 1000});
        assert!(made(own, Some("web"), 1000).is_ok(), "the manifest has a number");
    }
}
