//! What becomes of the program's process: limits, user, capabilities, filter of system calls. The same for the container's own
//! and for one of an `exec`.

use super::{Action, KernelFeatures, PlanError, SeccompFilter, Step, Undo};
use crate::spec::{CapSet, CapabilitySpec, ContainerSpec, NsKind, ProcessSpec, SpecError};

pub(super) fn check_apparmor(process: &ProcessSpec, kernel: &KernelFeatures) -> Result<(), PlanError> {
    match &process.apparmor_profile {
        Some(profile) if !kernel.has_apparmor => Err(PlanError::NoAppArmor { profile: profile.clone() }),
        _ => Ok(()),
    }
}

/// Limits come last: a small one must not hinder the set-up. The runtime sets them, with the node's privileges.
pub(super) fn limit_steps(process: &ProcessSpec, steps: &mut Vec<Step>) {
    let priority = process.io_priority.map(Action::IoPriority);
    let scheduler = process.scheduler.map(Action::Scheduler);
    let limits = process.rlimits.iter().map(|limit| Action::Rlimit(*limit));
    let actions = priority.into_iter().chain(scheduler).chain(limits);
    steps.extend(actions.map(|action| Step::runtime(action, Undo::WithProcess)));
}

/// `CAP_SYS_ADMIN` (capabilities(7)).
pub(super) const CAP_SYS_ADMIN: u8 = 21;

/// How many instructions the kernel takes (`BPF_MAXINSNS`).
const INSTRUCTIONS_MAX: usize = 4096;

pub(super) fn filter(spec: &ContainerSpec) -> Result<Option<SeccompFilter>, SpecError> {
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

/// Becoming the program's user, the same for the container's own process and for one of an `exec`.
pub(super) fn identity_steps(
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
    // Common behaviour of runtimes, which images and containerd rely on.
    if !process.has_home() {
        push(Action::FindHome);
    }
    // As the user of the container: whether a file can be executed is a question of who asks.
    push(Action::FindProgram);
}

/// Takes out of each set what cannot be given, with a warning for each capability.
pub(super) fn grantable(
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
