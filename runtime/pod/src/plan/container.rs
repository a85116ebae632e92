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
    if security.must_not_be_root && facts.user.uid == 0 {
        return Err(PlanError::Root);
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
