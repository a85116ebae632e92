//! The plan of an `exec`: a further process in a container that runs.
//!
//! Nothing is made that could outlive the process but the pid file: the process is born in the container's cgroup, and goes
//! with it. The runtime enters the pid namespace for its next child only; every other namespace is entered by the new
//! process itself, all at once and with the node's privileges, through the descriptor of the container's process.

use std::path::Path;

use super::{Action, Actor, KernelFeatures, Plan, PlanError, SeccompFilter, Step, Undo};
use crate::cgroup::CgroupPath;
use crate::spec::{ContainerSpec, NsKind, ProcessSpec, SpecError};

/// Makes the plan of an exec of `process` in a container made from `spec`.
///
/// `namespaces` are the kinds of which the container's process is in another than the runtime.
///
/// # Errors
/// When this kernel cannot do what is asked.
pub fn exec(
    spec: &ContainerSpec,
    process: &ProcessSpec,
    cgroup: &CgroupPath,
    namespaces: &[NsKind],
    pid_file: Option<&Path>,
    kernel: &KernelFeatures,
) -> Result<Plan, PlanError> {
    if !kernel.has_cgroup2 {
        return Err(PlanError::NoCgroup2);
    }
    super::check_apparmor(process, kernel)?;
    let mut warnings = Vec::new();
    let capabilities = super::grantable(spec, process, kernel, &mut warnings);
    let mut steps = Vec::new();
    if namespaces.contains(&NsKind::Pid) {
        steps.push(Step::runtime(Action::Join(NsKind::Pid), Undo::Nothing));
    }
    steps.push(Step::runtime(Action::Clone { new: Vec::new() }, Undo::KillProcess));
    if let Some(score) = process.oom_score_adj {
        steps.push(Step::runtime(Action::OomScore(score), Undo::WithProcess));
    }
    let mut push = |action| steps.push(Step { actor: Actor::Init, action, undo: Undo::WithProcess });
    push(Action::Session);
    push(Action::Keyring);
    if let Some(profile) = &process.apparmor_profile {
        push(Action::AppArmor(profile.clone()));
    }
    let others: Vec<NsKind> = namespaces.iter().copied().filter(|kind| *kind != NsKind::Pid).collect();
    if !others.is_empty() {
        push(Action::JoinProcess(others));
    }
    if namespaces.contains(&NsKind::User) {
        push(Action::BecomeRoot);
    }
    if process.has_terminal {
        let ProcessSpec { console_size: size, uid, .. } = *process;
        push(Action::Terminal { is_console: false, size, uid });
    }
    push(Action::ExistingDirectory(process.cwd.clone()));
    // As for the container's own process: without no_new_privs the filter takes a capability.
    let filter = filter(spec)?;
    let is_final = process.no_new_privileges || filter.is_none();
    let at_first = if is_final { capabilities } else { capabilities.with_permitted(super::CAP_SYS_ADMIN) };
    super::identity_steps(process, spec.personality, at_first, &mut push);
    super::limit_steps(process, &mut steps);
    if let Some(path) = pid_file {
        steps.push(Step::runtime(Action::PidFile(path.to_owned()), Undo::RemovePidFile));
    }
    if let Some(filter) = filter {
        let action = Action::Seccomp { filter, then: (!is_final).then_some(capabilities) };
        steps.push(Step { actor: Actor::Released, action, undo: Undo::WithProcess });
    }
    Ok(Plan { steps, cgroup: cgroup.clone(), warnings })
}

/// The container's own filter. Nobody hands a listener of it over.
fn filter(spec: &ContainerSpec) -> Result<Option<SeccompFilter>, SpecError> {
    let filter = super::filter(spec)?;
    if filter.as_ref().is_some_and(|filter| filter.has_listener) {
        return Err(SpecError::Unsupported { path: "linux.seccomp.listenerPath of an exec".to_owned() });
    }
    Ok(filter)
}
