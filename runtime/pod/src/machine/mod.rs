//! The decisions of a supervisor: which container is started, restarted, stopped, and when. Pure: events and the time in,
//! actions and the pod's status out. Reference: the Kubernetes documentation of the pod life cycle, of init containers, of sidecar
//! containers and of container life cycle hooks; where it is silent, the kubelet.
//!
//! One event at a time: [`Machine::handle`] notes what happened, then does what is due: containers whose wait is over and those whose
//! turn it is (`order`), the steps of a stop (`stop`), and the end. After it nothing is due before [`Machine::deadline`].
//!
//! Where it differs from the kubelet: restarts do not wait for a hook of another container; a grace period of zero kills at once, as
//! the API says, where the kubelet gives two seconds; a sidecar's stop also waits for an init container that runs; a container
//! that could not be started waits for at least a second.

mod backoff;
mod container;
mod event;
mod order;
mod status;
mod stop;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use event::{Action, Event, Exit, Hook, Now, Settings};

use crate::spec::PodSpec;
use container::Container;
use stop::{PodStop, StopCause};

/// The kubelet's `immediateEvictionGracePeriodSeconds`: what a pod that broke a limit has, however long its own is.
const EVICTION_GRACE_PERIOD: Duration = Duration::from_secs(1);

/// The decisions about one pod.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    /// `NAME_NAMESPACE`, for messages.
    pod: String,
    grace_period: Duration,
    /// When the pod fails for its age.
    active_until: Option<Duration>,
    containers: Vec<Container>,
    is_begun: bool,
    stop: Option<PodStop>,
    is_finished: bool,
}

impl Machine {
    /// A pod of which nothing is started yet. Its active deadline counts from here.
    #[must_use]
    pub fn new(spec: &PodSpec, settings: Settings, now: Now) -> Self {
        Self {
            settings,
            pod: format!("{}_{}", spec.name, spec.namespace),
            grace_period: spec.grace_period,
            active_until: spec.active_deadline.map(|deadline| now.monotonic.saturating_add(deadline)),
            containers: spec.containers.iter().map(Container::new).collect(),
            is_begun: false,
            stop: None,
            is_finished: false,
        }
    }

    /// Notes what happened and says what is to be done about it. The time must not be earlier than that of the event before.
    ///
    /// Whatever is due by `now` is done with any event, so a deadline needs no `Tick` of its own when another event comes first. An
    /// event that cannot be (the end of a container that does not run) changes nothing; after [`Action::Finish`] none does.
    #[must_use]
    pub fn handle(&mut self, event: Event, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.is_finished {
            return actions;
        }
        self.note(event, now, &mut actions);
        if self.stop.is_none() && self.active_until.is_some_and(|until| until <= now.monotonic) {
            self.begin_stop(StopCause::DeadlineExceeded, self.grace_period, now, &mut actions);
        }
        if self.stop.is_none() && self.is_begun {
            self.start_what_is_due(now, &mut actions);
            if self.has_run_its_course() {
                self.begin_stop(StopCause::Done, self.grace_period, now, &mut actions);
            }
        }
        self.stop_what_is_due(now, &mut actions);
        if self.stop.is_some() && !self.containers.iter().any(Container::is_active) {
            self.is_finished = true;
            actions.push(Action::Finish);
        }
        actions
    }

    /// The next time at which something is due without an event; always later than that of the last event.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let pod = self.active_until.filter(|_| self.stop.is_none());
        let containers = self.containers.iter().filter_map(Container::deadline);
        if self.is_finished { None } else { containers.chain(pod).min() }
    }

    /// [`Action::Finish`] was given.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_finished
    }

    fn note(&mut self, event: Event, now: Now, actions: &mut Vec<Action>) {
        match event {
            Event::Begin => self.is_begun = true,
            Event::Started(index) => self.note_started(index, now, actions),
            Event::NotStarted { container, reason, message } => {
                self.note_not_started(container, reason, message, now);
            }
            Event::Ended(index, exit) => self.note_ended(index, exit, now, actions),
            Event::HookEnded { container, hook, failure } => {
                self.note_hook_ended(container, hook, failure, now, actions);
            }
            Event::Stop { grace_period } => {
                let grace_period = grace_period.unwrap_or(self.grace_period);
                self.begin_stop(StopCause::Asked, grace_period, now, actions);
            }
            Event::Evict { message } => {
                let grace_period = EVICTION_GRACE_PERIOD.min(self.grace_period);
                self.begin_stop(StopCause::Evicted(message), grace_period, now, actions);
            }
            Event::SandboxEnded => self.begin_stop(StopCause::SandboxEnded, Duration::ZERO, now, actions),
            Event::Tick => {}
        }
    }
}
