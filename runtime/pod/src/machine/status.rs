//! What is known of the pod, in the words of the Kubernetes API.

use super::Machine;
use super::backoff::duration_text;
use super::container::{Container, Life};
use super::stop::StopCause;
use crate::spec::ContainerKind;
use crate::status::{ContainerState, ContainerStatus, Phase, PodStatus};

impl Machine {
    /// The pod's status as of the last event.
    ///
    /// As with the kubelet, the phases `Succeeded` and `Failed`, and the reason, come when the last container has ended, not before.
    #[must_use]
    pub fn status(&self) -> PodStatus {
        let (reason, message) = self
            .reason()
            .map_or((None, None), |(reason, message)| (Some(reason.to_owned()), Some(message.to_owned())));
        PodStatus {
            phase: self.phase(reason.is_some()),
            reason,
            message,
            containers: self.containers.iter().map(|container| self.container_status(container)).collect(),
        }
    }

    /// Why the pod failed, if not for its containers.
    fn reason(&self) -> Option<(&'static str, &str)> {
        let stop = self.stop.as_ref().filter(|_| self.is_finished)?;
        match &stop.cause {
            StopCause::Done | StopCause::Asked => None,
            StopCause::DeadlineExceeded => {
                Some(("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"))
            }
            StopCause::Evicted(message) => Some(("Evicted", message)),
            StopCause::SandboxEnded => Some(("SandboxEnded", "the process of the sandbox ended by itself")),
        }
    }

    fn phase(&self, has_reason: bool) -> Phase {
        if self.is_finished {
            // A container that was never started has no code: its pod did not do what it was for.
            let mut ending =
                self.containers.iter().filter(|container| container.kind != ContainerKind::Sidecar);
            let is_success = !has_reason && ending.all(|container| container.final_code() == Some(0));
            return if is_success { Phase::Succeeded } else { Phase::Failed };
        }
        let is_unstarted = |container: &Container| {
            container.kind == ContainerKind::Main
                && container.termination.is_none()
                && !matches!(container.life, Life::Running(_))
        };
        if self.containers.iter().any(is_unstarted) { Phase::Pending } else { Phase::Running }
    }

    fn container_status(&self, container: &Container) -> ContainerStatus {
        let (state, last) = match (&container.life, &container.termination) {
            (Life::Running(run), last) => (ContainerState::Running { started_at: run.started_at }, last),
            (Life::Ended, Some(termination)) => {
                (ContainerState::Terminated(termination.clone()), &container.earlier_termination)
            }
            (_, last) => (self.waiting_state(container), last),
        };
        ContainerStatus {
            name: container.name.clone(),
            state,
            last_termination: last.clone(),
            restart_count: container.n_restarts,
            is_ready: matches!(&container.life, Life::Running(run) if run.is_ready),
        }
    }

    fn waiting_state(&self, container: &Container) -> ContainerState {
        let (reason, message) = match (&container.life, &container.start_failure) {
            (Life::Waiting { backoff: Some(wait), .. }, _) if !wait.is_zero() => {
                let (wait, name, pod) = (duration_text(*wait), &container.name, &self.pod);
                ("CrashLoopBackOff", format!("back-off {wait} restarting failed container={name} pod={pod}"))
            }
            (_, Some((reason, message))) => (reason.as_str(), message.clone()),
            _ if container.termination.is_none() && self.has_init_containers() => {
                ("PodInitializing", String::new())
            }
            _ => ("ContainerCreating", String::new()),
        };
        ContainerState::Waiting { reason: reason.to_owned(), message }
    }

    fn has_init_containers(&self) -> bool {
        self.containers.iter().any(|container| container.kind != ContainerKind::Main)
    }
}
