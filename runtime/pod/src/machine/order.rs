//! Which container's turn it is, and what follows from the start and the end of one.
//!
//! First starts go through the specification in order: an init container must have ended with 0, a sidecar must run and its
//! postStart hook have ended, before the next begins. A main container holds the next one up until it runs and its postStart hook has
//! ended, or until its first start came to nothing. Restarts wait for their back-off only.

use super::container::{Container, Life};
use super::{Action, Exit, Hook, Machine, Now};
use crate::spec::ContainerKind;

impl Machine {
    /// Starts what waited long enough, and the next container in order.
    pub(super) fn start_what_is_due(&mut self, now: Now, actions: &mut Vec<Action>) {
        let mut is_turn = true;
        for (index, container) in self.containers.iter_mut().enumerate() {
            if container.is_due(now.monotonic) || (is_turn && matches!(container.life, Life::Unstarted)) {
                container.start(&self.settings, now.monotonic);
                actions.push(Action::Start(index));
            }
            is_turn = container.is_settled;
        }
    }

    /// Nothing will be started any more: an init container failed for good, or all main containers ended for good.
    pub(super) fn has_run_its_course(&self) -> bool {
        let is_failed = |container: &Container| {
            container.kind == ContainerKind::Init && container.final_code().is_some_and(|code| code != 0)
        };
        self.containers.iter().any(is_failed) || self.has_nothing_left_to_run()
    }

    fn has_nothing_left_to_run(&self) -> bool {
        // A pod without main containers has run its course when the last init container is settled.
        let is_last_settled = self.containers.last().is_none_or(|last| last.is_settled);
        let mut mains = self.containers.iter().filter(|container| container.kind == ContainerKind::Main);
        is_last_settled && mains.all(|container| matches!(container.life, Life::Ended))
    }

    pub(super) fn note_started(&mut self, index: usize, now: Now, actions: &mut Vec<Action>) {
        let Some(container) = self.containers.get_mut(index) else { return };
        if !matches!(container.life, Life::Starting) {
            return;
        }
        container.started(now);
        if self.stop.is_some() {
            return self.stop_started(index, now, actions);
        }
        let Life::Running(run) = &mut container.life else { return };
        if container.has_post_start {
            run.hook = Some(Hook::PostStart);
            actions.push(Action::Run(index, Hook::PostStart));
        } else {
            run.is_ready = true;
            container.is_settled |= container.kind != ContainerKind::Init;
        }
    }

    pub(super) fn note_not_started(&mut self, index: usize, reason: String, message: String, now: Now) {
        let Some(container) = self.containers.get_mut(index) else { return };
        if matches!(container.life, Life::Starting) {
            container.not_started(reason, message, &self.settings, now);
            if self.stop.is_some() {
                container.give_up();
            }
        }
    }

    pub(super) fn note_ended(&mut self, index: usize, exit: Exit, now: Now, actions: &mut Vec<Action>) {
        let Some(container) = self.containers.get_mut(index) else { return };
        // The end may overtake the answer to the start.
        if !container.is_active() {
            return;
        }
        if let Some(hook) = container.ended(exit, &self.settings, now) {
            actions.push(Action::Abandon(index, hook));
        }
        if self.stop.is_some() {
            container.give_up();
        }
    }

    pub(super) fn note_hook_ended(
        &mut self,
        index: usize,
        hook: Hook,
        failure: Option<String>,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        let Some(container) = self.containers.get_mut(index) else { return };
        let Life::Running(run) = &mut container.life else { return };
        if run.hook != Some(hook) {
            return;
        }
        run.hook = None;
        match (hook, failure) {
            (Hook::PostStart, None) => {
                run.is_ready = true;
                container.is_settled = true;
            }
            (Hook::PostStart, Some(failure)) => {
                run.hook_failures.push(format!("PostStartHookError: {failure}"));
                self.stop_container(index, self.grace_period, now, actions);
            }
            (Hook::PreStop, None) => {}
            // The stop goes on all the same.
            (Hook::PreStop, Some(failure)) => run.hook_failures.push(format!("PreStopHookError: {failure}")),
        }
    }
}
