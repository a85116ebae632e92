//! The ordered stop: of the pod, and of one container whose postStart hook failed.
//!
//! As the kubelet does it: the preStop hooks of all containers run at once. A container without a hook, or whose hook has ended, gets
//! its stop signal; a sidecar only when all containers after it have ended. When the grace period is over, who had no signal yet gets
//! it. Each is killed when the grace period is over, but not before [`MINIMUM_GRACE_PERIOD`] after its signal. So a pod is gone at
//! most that much after its grace period.

use std::time::Duration;

use super::container::{Container, Life, Run};
use super::{Action, Hook, Machine, Now};
use crate::spec::ContainerKind;

/// The kubelet's `minimumGracePeriodInSeconds`, which is also its extension for a hook that takes too long.
pub(super) const MINIMUM_GRACE_PERIOD: Duration = Duration::from_secs(2);

/// Why the pod is stopped; the first cause stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopCause {
    /// Nothing is left to run.
    Done,
    /// Somebody asked for it.
    Asked,
    /// It was active for too long.
    DeadlineExceeded,
    /// It broke a limit: what for.
    Evicted(String),
    /// The sandbox's process ended by itself.
    SandboxEnded,
}

/// The stop of the pod.
#[derive(Debug)]
pub(super) struct PodStop {
    pub(super) cause: StopCause,
    deadline: Duration,
    /// The grace period is zero: no hooks, no signals.
    is_immediate: bool,
}

/// The stop of a container that runs.
#[derive(Debug)]
pub(super) struct ContainerStop {
    /// When the grace period is over.
    deadline: Duration,
    is_immediate: bool,
    signalled_at: Option<Duration>,
    is_killed: bool,
}

impl ContainerStop {
    /// When something is due without an event.
    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.is_killed {
            return None;
        }
        Some(
            self.signalled_at
                .map_or(self.deadline, |at| self.deadline.max(at.saturating_add(MINIMUM_GRACE_PERIOD))),
        )
    }
}

impl Machine {
    /// Begins the stop of the pod, or hurries the one that is under way.
    pub(super) fn begin_stop(
        &mut self,
        cause: StopCause,
        grace_period: Duration,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let mut deadline = now.monotonic.saturating_add(grace_period);
        let mut is_immediate = grace_period.is_zero();
        let mut cause = cause;
        if let Some(earlier) = self.stop.take() {
            deadline = deadline.min(earlier.deadline);
            is_immediate |= earlier.is_immediate;
            cause = earlier.cause;
        }
        self.stop = Some(PodStop { cause, deadline, is_immediate });
        for (index, container) in self.containers.iter_mut().enumerate() {
            container.give_up();
            container.begin_stop(index, deadline, is_immediate, now, actions);
        }
    }

    /// Stops one container; its restart policy decides what comes then.
    pub(super) fn stop_container(
        &mut self,
        index: usize,
        grace_period: Duration,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        if let Some(container) = self.containers.get_mut(index) {
            let deadline = now.monotonic.saturating_add(grace_period);
            container.begin_stop(index, deadline, grace_period.is_zero(), now, actions);
        }
    }

    /// Stops a container that started while the pod was being stopped.
    pub(super) fn stop_started(&mut self, index: usize, now: Now, actions: &mut Vec<Action>) {
        if let (Some(stop), Some(container)) = (&self.stop, self.containers.get_mut(index)) {
            container.begin_stop(index, stop.deadline, stop.is_immediate, now, actions);
        }
    }

    /// Does the steps of all stops that are due.
    pub(super) fn stop_what_is_due(&mut self, now: Now, actions: &mut Vec<Action>) {
        // From the last to the first, so that a sidecar knows whether one after it is left.
        let mut is_last = true;
        let is_pod_stopping = self.stop.is_some();
        for (index, container) in self.containers.iter_mut().enumerate().rev() {
            let is_active = container.is_active();
            let is_turn = is_last || !is_pod_stopping || container.kind != ContainerKind::Sidecar;
            if let Life::Running(run) = &mut container.life {
                actions.extend(run.stop_step(index, is_turn, now.monotonic));
            }
            is_last &= !is_active;
        }
    }
}

impl Container {
    /// Begins its stop if it runs, or hurries the one that is under way.
    fn begin_stop(
        &mut self,
        index: usize,
        deadline: Duration,
        is_immediate: bool,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Life::Running(run) = &mut self.life else { return };
        if let Some(stop) = &mut run.stop {
            stop.deadline = stop.deadline.min(deadline);
            stop.is_immediate |= is_immediate;
            return;
        }
        run.stop = Some(ContainerStop { deadline, is_immediate, signalled_at: None, is_killed: false });
        // Nobody waits for it any more, as the kubelet, whose sync of the pod is cancelled.
        if let Some(hook) = run.hook.take() {
            actions.push(Action::Abandon(index, hook));
        }
        // Never in an immediate stop: its deadline is its beginning.
        if self.has_pre_stop && now.monotonic < deadline {
            run.hook = Some(Hook::PreStop);
            actions.push(Action::Run(index, Hook::PreStop));
        }
    }
}

impl Run {
    /// The next step of its stop, if it is due. One a time is enough: a signal is never due together with the kill.
    fn stop_step(&mut self, index: usize, is_turn: bool, now: Duration) -> Option<Action> {
        let has_hook = self.hook.is_some();
        let stop = self.stop.as_mut().filter(|stop| !stop.is_killed)?;
        let is_over = stop.deadline().is_some_and(|deadline| deadline <= now);
        let is_signalled = stop.signalled_at.is_some();
        if stop.is_immediate || (is_signalled && is_over) {
            stop.is_killed = true;
            return Some(Action::Kill(index));
        }
        if !is_signalled && (is_over || (is_turn && !has_hook)) {
            stop.signalled_at = Some(now);
            return Some(Action::Signal(index));
        }
        None
    }
}
