//! What will be done: specification and kernel features in, an ordered list of steps out.
//!
//! The functions are pure. Everything that can be decided before the container's process exists is decided here, so
//! that [`crate::launch`] only executes. The order is part of the result, and the reasons for it stand beside
//! the groups in [`plan`]. Each step names its undo.

mod devices;
pub mod exec;
pub mod features;
mod process;
pub mod step;

use std::ops::Range;
use std::path::Path;

pub use features::KernelFeatures;
pub use step::{Action, Actor, SeccompFilter, Step, TreeSlot, Undo};

use crate::cgroup::CgroupPath;
use crate::spec::mounts::MountKind;
use crate::spec::resources::devices as device_rules;
use crate::spec::{CapabilitySpec, ContainerId, ContainerSpec, HookKind, NsKind, ProcessSpec, SpecError};
use devices::device_nodes;
use process::{CAP_SYS_ADMIN, check_apparmor, filter, grantable, identity_steps, limit_steps};

/// Why no plan is possible on this kernel.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The host has no pure cgroup v2 hierarchy.
    #[error(
        "/sys/fs/cgroup is not a cgroup v2 file system, and podrt needs one for every container; boot with \
         systemd.unified_cgroup_hierarchy=1, or mount cgroup2 there"
    )]
    NoCgroup2,
    /// A limit needs a controller that the hierarchy does not have.
    #[error("{field}: needs the cgroup controller {controller}, and this host offers only: {offered}")]
    MissingController {
        /// Field that asks for the limit.
        field: String,
        /// Controller.
        controller: String,
        /// `cgroup.controllers` of the root.
        offered: String,
    },
    /// A profile that could not protect.
    #[error(
        "process.apparmorProfile: {profile:?} asks for AppArmor, which this host has not switched on; boot with \
         apparmor=1 security=apparmor, or remove the field"
    )]
    NoAppArmor {
        /// The profile.
        profile: String,
    },
    /// A value that can only be judged together with others.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// The steps of one `create`, in order, then those that its process takes when it is started; and remarks for the user.
///
/// Rows of init's steps are its turns: it and the runtime hand over to each other.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// The container's cgroup.
    pub cgroup: CgroupPath,
    /// What will not be as asked, though the start goes on.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The same plan for a container that keeps the caller's session keyring.
    #[must_use]
    pub fn without_keyring(mut self) -> Self {
        self.steps.retain(|step| step.action != Action::Keyring);
        self
    }

    /// The same plan with chroot(2) in place of pivot_root(2), which the initial ramfs refuses. The node's mounts stay below.
    #[must_use]
    pub fn without_pivot(mut self) -> Self {
        for step in self.steps.iter_mut().filter(|step| step.action == Action::PivotRoot) {
            step.action = Action::ChangeRoot;
        }
        self.warnings.push(
            "--no-pivot: the node's mounts stay below those of the container, where CAP_SYS_CHROOT gives a way to them"
                .to_owned(),
        );
        self
    }

    /// Init's turns, as ranges of steps.
    #[must_use]
    pub fn turns(&self) -> Vec<Range<usize>> {
        let mut turns: Vec<Range<usize>> = Vec::new();
        for (index, _) in self.steps.iter().enumerate().filter(|(_, step)| step.actor == Actor::Init) {
            match turns.last_mut() {
                Some(turn) if turn.end == index => turn.end += 1,
                _ => turns.push(index..index + 1),
            }
        }
        turns
    }
}

/// Makes the plan.
///
/// # Errors
/// When this kernel or cgroup layout cannot do what is asked.
pub fn plan(
    id: &ContainerId,
    spec: &ContainerSpec,
    pid_file: Option<&Path>,
    kernel: &KernelFeatures,
) -> Result<Plan, PlanError> {
    if !kernel.has_cgroup2 {
        return Err(PlanError::NoCgroup2);
    }
    check_apparmor(&spec.process, kernel)?;
    let cgroup = CgroupPath::resolve(spec.cgroups_path.as_deref(), id)?;
    let mut warnings = spec.warnings.clone();
    let capabilities = grantable(spec, &spec.process, kernel, &mut warnings);
    let mounts = resolve_mounts(spec, &cgroup);

    let mut steps = Vec::new();
    steps.push(Step::runtime(Action::StateDirectory, Undo::RemoveStateDirectory));
    // What may be refused without a trace comes before what has to be undone.
    for ns in spec.namespaces.iter().filter(|ns| ns.path.is_some()) {
        steps.push(Step::runtime(Action::OpenNamespace(ns.clone()), Undo::Close));
    }
    steps.push(Step::runtime(
        Action::OpenTree {
            slot: TreeSlot::Rootfs,
            field: "root.path".to_owned(),
            source: spec.rootfs.clone(),
            is_recursive: true,
        },
        Undo::Close,
    ));
    cgroup_steps(spec, &cgroup, kernel, &mut steps)?;
    // Sources are opened by the runtime: the container's user need not be able to reach them.
    for mount in &mounts {
        if let MountKind::Bind { source, is_recursive } = &mount.kind {
            let slot = TreeSlot::Mount(mount.index);
            let field = format!("mounts[{}].source", mount.index);
            let action =
                Action::OpenTree { slot, field, source: source.clone(), is_recursive: *is_recursive };
            steps.push(Step::runtime(action, Undo::Close));
            if let Some(map) = &mount.id_map {
                let action = Action::IdMapTree { index: mount.index, map: map.clone() };
                steps.push(Step::runtime(action, Undo::Close));
            }
        }
    }
    steps.push(Step::runtime(Action::Barrier, Undo::WithStateDirectory));
    clone_steps(spec, &mut steps);
    // Without no_new_privs the filter takes a capability that the program need not have.
    let filter = filter(spec)?;
    let is_final = spec.process.no_new_privileges || filter.is_none();
    let at_first = if is_final { capabilities } else { capabilities.with_permitted(CAP_SYS_ADMIN) };
    init_steps(spec, &mounts, at_first, &mut steps);
    // Not before: init makes nodes that the container itself may not make.
    let rules = device_rules::complete(&spec.device_rules);
    steps.push(Step::runtime(Action::DeviceFilter(rules), Undo::WithCgroup));
    limit_steps(&spec.process, &mut steps);
    if let Some(path) = pid_file {
        steps.push(Step::runtime(Action::PidFile(path.to_owned()), Undo::RemovePidFile));
    }
    steps.push(Step::runtime(Action::Commit, Undo::WithStateDirectory));
    for hook in spec.hooks.of(HookKind::StartContainer) {
        steps.push(Step {
            actor: Actor::Released,
            action: Action::Hook(hook.clone()),
            undo: Undo::WithProcess,
        });
    }
    // The last of all: what comes after it is filtered.
    if let Some(filter) = filter {
        let then = (!is_final).then_some(capabilities);
        let action = Action::Seccomp { filter, then };
        steps.push(Step { actor: Actor::Released, action, undo: Undo::WithProcess });
    }
    Ok(Plan { steps, cgroup, warnings })
}

fn cgroup_steps(
    spec: &ContainerSpec,
    cgroup: &CgroupPath,
    kernel: &KernelFeatures,
    steps: &mut Vec<Step>,
) -> Result<(), PlanError> {
    let mut controllers: Vec<String> = Vec::new();
    for setting in &spec.cgroup_settings {
        let Some(controller) = &setting.controller else { continue };
        if !kernel.controllers.contains(controller) {
            return Err(PlanError::MissingController {
                field: setting.field.clone(),
                controller: controller.clone(),
                offered: kernel.controllers.join(" "),
            });
        }
        if !controllers.contains(controller) {
            controllers.push(controller.clone());
        }
    }
    steps.push(Step::runtime(Action::Cgroup(cgroup.clone()), Undo::RemoveCgroup));
    if !controllers.is_empty() {
        // Not undone: another container below the same parent may have come to rely on it.
        let action = Action::Controllers { cgroup: cgroup.clone(), names: controllers };
        steps.push(Step::runtime(action, Undo::Nothing));
    }
    for setting in &spec.cgroup_settings {
        steps.push(Step::runtime(Action::CgroupSetting(setting.clone()), Undo::WithCgroup));
    }
    Ok(())
}

/// Joining, cloning, and what only the runtime may do to the new process.
fn clone_steps(spec: &ContainerSpec, steps: &mut Vec<Step>) {
    let mut joined: Vec<NsKind> =
        spec.namespaces.iter().filter(|ns| ns.path.is_some()).map(|ns| ns.kind).collect();
    // The user namespace comes last: after it the process has no rights over the others any more.
    joined.sort_by_key(|kind| *kind == NsKind::User);
    // A pid namespace takes in only children of who joins it, and what is new must belong to the user namespace that
    // is joined: then a process in between joins and clones. It is never the runtime itself, which keeps
    // its namespaces.
    let has_user = spec.namespace(NsKind::User).is_some();
    let actor = if joined.contains(&NsKind::Pid) || (has_user && !joined.is_empty()) {
        Actor::Joiner
    } else {
        Actor::Init
    };
    // A process that is in a cgroup namespace can be born only in cgroups below the root of that, wherever the hierarchy has
    // nsdelegate (cgroup_namespaces(7)); the container's own need not be. After a user namespace it is too late to join.
    let (before, by_init): (Vec<NsKind>, Vec<NsKind>) =
        joined.into_iter().partition(|kind| actor == Actor::Joiner && (has_user || *kind != NsKind::Cgroup));
    let joins = |kinds: Vec<NsKind>, actor| {
        let join = move |kind| Step { actor, action: Action::Join(kind), undo: Undo::WithProcess };
        kinds.into_iter().map(join)
    };
    // The cgroup namespace is made later, by init: its root is the cgroup that its maker is in.
    // So is a time namespace with offsets: they must be set before anybody is in it (time_namespaces(7)).
    let is_later = |kind| match kind {
        NsKind::Cgroup => true,
        NsKind::Time => !spec.time_offsets.is_empty(),
        _ => false,
    };
    let new: Vec<NsKind> =
        NsKind::ALL.into_iter().filter(|kind| spec.has_new(*kind) && !is_later(*kind)).collect();
    let clone = Step::runtime(Action::Clone { new }, Undo::KillProcess);
    let mut after = Vec::new();
    if spec.has_new(NsKind::User) {
        after.push(Step::runtime(
            Action::IdMaps { uid: spec.uid_mappings.clone(), gid: spec.gid_mappings.clone() },
            Undo::WithProcess,
        ));
    }
    if let Some(score) = spec.process.oom_score_adj {
        after.push(Step::runtime(Action::OomScore(score), Undo::WithProcess));
    }
    steps.extend(joins(before, Actor::Joiner));
    steps.push(clone);
    steps.extend(after);
    steps.extend(joins(by_init, Actor::Init));
}

/// What the new process does to itself, up to the moment at which it waits for `start`.
fn init_steps(
    spec: &ContainerSpec,
    mounts: &[crate::spec::MountSpec],
    capabilities: CapabilitySpec,
    steps: &mut Vec<Step>,
) {
    let mut push = |action| steps.push(Step { actor: Actor::Init, action, undo: Undo::WithProcess });
    push(Action::Session);
    push(Action::Keyring);
    if !spec.time_offsets.is_empty() {
        // While still the owner of its files in /proc.
        push(Action::TimeNamespace(spec.time_offsets.clone()));
    }
    if spec.namespace(NsKind::User).is_some() {
        push(Action::BecomeRoot);
    }
    if spec.has_new(NsKind::Cgroup) {
        push(Action::CgroupNamespace);
    }
    if spec.has_new(NsKind::Network) {
        push(Action::LoopbackUp);
    }
    if let Some(name) = &spec.hostname {
        push(Action::Hostname(name.clone()));
    }
    if let Some(name) = &spec.domainname {
        push(Action::Domainname(name.clone()));
    }
    // Before the root changes: the node's /proc shows init its own namespaces, and cannot be masked.
    for (name, value) in &spec.sysctl {
        push(Action::Sysctl { name: name.clone(), value: value.clone() });
    }
    push(Action::AttachRootfs { propagation: spec.rootfs_propagation });
    for mount in mounts {
        push(Action::Mount(mount.clone()));
    }
    for device in device_nodes(spec) {
        push(device);
    }
    if spec.process.has_terminal {
        let ProcessSpec { console_size: size, uid, .. } = spec.process;
        push(Action::Terminal { is_console: true, size, uid });
    }
    // Masks come after everything that could be mounted over them.
    for path in &spec.readonly_paths {
        push(Action::ReadonlyPath(path.clone()));
    }
    for path in &spec.masked_paths {
        push(Action::MaskedPath(path.clone()));
    }
    // The mounts are there, and the old root too, for hooks that want to reach both.
    hook_steps(spec, steps);
    let mut push = |action| steps.push(Step { actor: Actor::Init, action, undo: Undo::WithProcess });
    if let Some(profile) = &spec.process.apparmor_profile {
        // Through the node's /proc, since the container's may be no proc at all; but late: the next exec takes it.
        push(Action::AppArmor(profile.clone()));
    }
    push(Action::PivotRoot);
    if let Some(propagation) = spec.rootfs_propagation {
        push(Action::RootPropagation(propagation));
    }
    // May have to make it.
    push(Action::WorkingDirectory(spec.process.cwd.clone()));
    if spec.rootfs_readonly {
        push(Action::ReadonlyRoot);
    }
    identity_steps(&spec.process, spec.personality, capabilities, &mut push);
}

/// The hooks that `create` runs: first those in the namespaces of the runtime.
fn hook_steps(spec: &ContainerSpec, steps: &mut Vec<Step>) {
    for kind in [HookKind::Prestart, HookKind::CreateRuntime] {
        for hook in spec.hooks.of(kind) {
            steps.push(Step::runtime(Action::Hook(hook.clone()), Undo::RunPoststop));
        }
    }
    for hook in spec.hooks.of(HookKind::CreateContainer) {
        let action = Action::Hook(hook.clone());
        steps.push(Step { actor: Actor::Init, action, undo: Undo::RunPoststop });
    }
}

/// Decides how the container's cgroup is shown, where that is asked for.
fn resolve_mounts(spec: &ContainerSpec, cgroup: &CgroupPath) -> Vec<crate::spec::MountSpec> {
    let has_namespace = spec.namespace(NsKind::Cgroup).is_some();
    let resolve = |mount: &crate::spec::MountSpec| {
        let mut mount = mount.clone();
        if mount.kind == MountKind::Cgroup {
            mount.kind = if has_namespace {
                MountKind::Filesystem {
                    fstype: "cgroup2".to_owned(),
                    source: "cgroup".to_owned(),
                    parameters: Vec::new(),
                }
            } else {
                // A new mount would show the node's whole hierarchy, and change its options.
                MountKind::Bind { source: cgroup.directory(), is_recursive: true }
            };
        }
        mount
    };
    spec.mounts.iter().map(resolve).collect()
}
