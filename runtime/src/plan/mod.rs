//! What will be done: specification and kernel features in, an ordered list of steps out.
//!
//! The functions are pure. Everything that can be decided before the container's process exists is decided here, so
//! that [`crate::launch`] only executes. The order is part of the result, and the reasons for it stand beside
//! the groups in [`plan`]. Each step names its undo.

pub mod exec;
pub mod features;
pub mod step;

use std::ops::Range;
use std::path::{Path, PathBuf};

pub use features::KernelFeatures;
pub use step::{Action, Actor, SeccompFilter, Step, TreeSlot, Undo};

use crate::cgroup::CgroupPath;
use crate::spec::mounts::MountKind;
use crate::spec::resources::devices;
use crate::spec::{
    CapSet, CapabilitySpec, ContainerId, ContainerSpec, DeviceKind, DeviceSpec, HookKind, NsKind,
    ProcessSpec, SpecError,
};

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
    let rules = devices::complete(&spec.device_rules);
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

fn check_apparmor(process: &ProcessSpec, kernel: &KernelFeatures) -> Result<(), PlanError> {
    match &process.apparmor_profile {
        Some(profile) if !kernel.has_apparmor => Err(PlanError::NoAppArmor { profile: profile.clone() }),
        _ => Ok(()),
    }
}

/// Limits come last: a small one must not hinder the set-up. The runtime sets them, with the node's privileges.
fn limit_steps(process: &ProcessSpec, steps: &mut Vec<Step>) {
    let priority = process.io_priority.map(Action::IoPriority);
    let scheduler = process.scheduler.map(Action::Scheduler);
    let limits = process.rlimits.iter().map(|limit| Action::Rlimit(*limit));
    let actions = priority.into_iter().chain(scheduler).chain(limits);
    steps.extend(actions.map(|action| Step::runtime(action, Undo::WithProcess)));
}

/// `CAP_SYS_ADMIN` (capabilities(7)).
const CAP_SYS_ADMIN: u8 = 21;

/// How many instructions the kernel takes (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

fn filter(spec: &ContainerSpec) -> Result<Option<SeccompFilter>, SpecError> {
    let Some(seccomp) = &spec.seccomp else { return Ok(None) };
    let program = crate::seccomp::compile(&seccomp.profile);
    if program.len() > INSTRUCTIONS_MAX {
        return Err(SpecError::invalid(
            "linux.seccomp.syscalls",
            format!(
                "makes a filter of {} instructions, and the kernel takes {INSTRUCTIONS_MAX}; use fewer rules with \
                 args",
                program.len()
            ),
        ));
    }
    Ok(Some(SeccompFilter { program, flags: seccomp.flags, has_listener: seccomp.listener.is_some() }))
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
    let joins =
        joined.into_iter().map(|kind| Step { actor, action: Action::Join(kind), undo: Undo::WithProcess });
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
    if actor == Actor::Joiner {
        steps.extend(joins);
        steps.push(clone);
        steps.extend(after);
    } else {
        steps.push(clone);
        steps.extend(after);
        steps.extend(joins);
    }
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

/// Becoming the program's user, the same for the container's own process and for one of an `exec`.
fn identity_steps(
    process: &ProcessSpec,
    personality: Option<libc::c_int>,
    capabilities: CapabilitySpec,
    push: &mut impl FnMut(Action),
) {
    if let Some(domain) = personality {
        push(Action::Personality(domain));
    }
    // The bounding set needs CAP_SETPCAP, which the change of user takes away.
    push(Action::BoundingSet { bounding: capabilities.bounding, inheritable: capabilities.inheritable });
    push(Action::User {
        uid: process.uid,
        gid: process.gid,
        groups: process.additional_gids.clone(),
        umask: process.umask,
    });
    push(Action::Capabilities(capabilities));
    if process.no_new_privileges {
        push(Action::NoNewPrivileges);
    }
    // As the user of the container: whether a file can be executed is a question of who asks.
    push(Action::FindProgram);
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

/// Takes out of each set what cannot be given, with a warning for each capability.
fn grantable(
    spec: &ContainerSpec,
    process: &ProcessSpec,
    kernel: &KernelFeatures,
    warnings: &mut Vec<String>,
) -> CapabilitySpec {
    // In a user namespace of its own a process has every capability that the kernel knows.
    let known = CapSet(u64::MAX >> (63 - u32::from(kernel.last_capability.min(63))));
    let available = if spec.namespace(NsKind::User).is_some() {
        known
    } else {
        CapSet(known.0 & kernel.grantable_capabilities.0)
    };
    let asked = process.capabilities;
    let all =
        asked.bounding.0 | asked.effective.0 | asked.inheritable.0 | asked.permitted.0 | asked.ambient.0;
    for number in CapSet(all & !available.0).numbers() {
        warnings.push(format!(
            "process.capabilities: capability number {number} cannot be granted here, left out"
        ));
    }
    let cut = |set: CapSet| CapSet(set.0 & available.0);
    CapabilitySpec {
        bounding: cut(asked.bounding),
        effective: cut(asked.effective),
        inheritable: cut(asked.inheritable),
        permitted: cut(asked.permitted),
        ambient: cut(asked.ambient),
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

/// The device nodes that every container has (config-linux.md, default devices).
const DEFAULT_DEVICES: [(&str, u64, u64); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The links that every container has (runtime-linux.md, dev symbolic links), and that of devpts.
const DEFAULT_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

fn device_nodes(spec: &ContainerSpec) -> Vec<Action> {
    // Who binds a /dev of their own gets that one, untouched.
    let has_own_dev = spec
        .mounts
        .iter()
        .any(|mount| mount.destination == Path::new("/dev") && matches!(mount.kind, MountKind::Bind { .. }));
    // mknod(2) of a device is refused in a user namespace: the node's own are bound there.
    let is_bound = spec.namespace(NsKind::User).is_some();
    let mut actions = Vec::new();
    if !has_own_dev {
        for (path, major, minor) in DEFAULT_DEVICES {
            let path = PathBuf::from(path);
            if spec.devices.iter().all(|device| device.path != path) {
                let device =
                    DeviceSpec { path, kind: DeviceKind::Char, major, minor, mode: 0o666, uid: 0, gid: 0 };
                actions.push(Action::Device { device, is_bound });
            }
        }
    }
    for device in &spec.devices {
        let is_bound = is_bound && device.kind != DeviceKind::Fifo;
        actions.push(Action::Device { device: device.clone(), is_bound });
    }
    if !has_own_dev {
        for (path, target) in DEFAULT_LINKS {
            actions.push(Action::Link { path: path.into(), target: target.into() });
        }
    }
    actions
}
