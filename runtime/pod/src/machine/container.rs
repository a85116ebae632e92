//! The life of one container.
//!
//! ```text
//! Unstarted -> Starting -> Running -> Waiting -> Starting ...
//!                   |          |          |
//!                   +----------+----------+----> Ended
//! ```

use std::time::{Duration, SystemTime};

use super::backoff::Backoff;
use super::stop::ContainerStop;
use super::{Exit, Hook, Now, Settings};
use crate::spec::{ContainerKind, ContainerSpec, RestartPolicy, RestartRule};
use crate::status::Termination;

/// What a failed start waits at least. Otherwise a supervisor without back-off would do nothing but try.
const FAILED_START_WAIT: Duration = Duration::from_secs(1);
/// containerd's exit code and reason of a container that could not be started.
const START_ERROR: (i32, &str) = (128, "StartError");
/// The reason of a start that failed after the container was created.
const RUN_CONTAINER_ERROR: &str = "RunContainerError";

/// A container: what was asked, and what became of it.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) kind: ContainerKind,
    restart_policy: RestartPolicy,
    restart_rules: Vec<RestartRule>,
    pub(super) has_post_start: bool,
    pub(super) has_pre_stop: bool,
    pub(super) life: Life,
    /// It has got as far as the next container's first start needs.
    pub(super) is_settled: bool,
    /// The last end.
    pub(super) termination: Option<Termination>,
    /// The end before the last.
    pub(super) earlier_termination: Option<Termination>,
    /// Starts that followed an end.
    pub(super) n_restarts: u32,
    /// It ended since the last start.
    has_ended: bool,
    /// Why the last start failed: reason and message.
    pub(super) start_failure: Option<(String, String)>,
    backoff: Backoff,
}

/// What a container does now.
#[derive(Debug)]
pub(super) enum Life {
    /// It was never asked to start.
    Unstarted,
    /// It was asked to start, and has not answered.
    Starting,
    /// It runs.
    Running(Run),
    /// It will be started again.
    Waiting {
        /// When.
        until: Duration,
        /// For a restart, what the back-off made it wait; `None` when there was no container to restart.
        backoff: Option<Duration>,
    },
    /// It will not be started again.
    Ended,
}

/// A container that runs.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) started_at: SystemTime,
    /// Its postStart hook has ended well.
    pub(super) is_ready: bool,
    /// The hook that runs.
    pub(super) hook: Option<Hook>,
    /// What hooks complained about, for the termination message.
    pub(super) hook_failures: Vec<String>,
    pub(super) stop: Option<ContainerStop>,
}

impl Container {
    pub(super) fn new(spec: &ContainerSpec) -> Self {
        Self {
            name: spec.name.clone(),
            kind: spec.kind,
            restart_policy: spec.restart_policy,
            restart_rules: spec.restart_rules.clone(),
            // The API has no hooks on init containers.
            has_post_start: spec.post_start.is_some() && spec.kind != ContainerKind::Init,
            has_pre_stop: spec.pre_stop.is_some() && spec.kind != ContainerKind::Init,
            life: Life::Unstarted,
            is_settled: false,
            termination: None,
            earlier_termination: None,
            n_restarts: 0,
            has_ended: false,
            start_failure: None,
            backoff: Backoff::default(),
        }
    }

    /// It is, or may be any moment, a process.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.life, Life::Starting | Life::Running(_))
    }

    /// The exit code of its last end, if that is how it is now and will stay.
    pub(super) fn final_code(&self) -> Option<i32> {
        let termination = self.termination.as_ref().filter(|_| matches!(self.life, Life::Ended));
        termination.and_then(|termination| termination.exit_code)
    }

    /// When something is due without an event.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.life {
            Life::Waiting { until, .. } => Some(*until),
            Life::Running(run) => run.stop.as_ref().and_then(ContainerStop::deadline),
            Life::Unstarted | Life::Starting | Life::Ended => None,
        }
    }

    /// Its wait is over.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        matches!(self.life, Life::Waiting { until, .. } if until <= now)
    }

    /// Notes that it is asked to start.
    pub(super) fn start(&mut self, settings: &Settings, now: Duration) {
        if let Life::Waiting { backoff: Some(waited), .. } = self.life {
            self.backoff.restarted(settings, waited, now);
        }
        if std::mem::take(&mut self.has_ended) {
            self.n_restarts = self.n_restarts.saturating_add(1);
        }
        self.life = Life::Starting;
    }

    /// Notes that its program runs.
    pub(super) fn started(&mut self, now: Now) {
        self.start_failure = None;
        self.life = Life::Running(Run {
            started_at: now.wall,
            is_ready: false,
            hook: None,
            hook_failures: Vec::new(),
            stop: None,
        });
    }

    /// Notes that it could not be started.
    pub(super) fn not_started(&mut self, reason: String, message: String, settings: &Settings, now: Now) {
        if reason == RUN_CONTAINER_ERROR {
            let (code, word) = START_ERROR;
            self.terminate(Termination {
                exit_code: Some(code),
                signal: None,
                reason: word.to_owned(),
                message: message.clone(),
                started_at: None,
                finished_at: now.wall,
            });
            self.wait_or_end(code, FAILED_START_WAIT, settings, now.monotonic);
        } else {
            // The kubelet tries again every 10 s, which is the base of the back-off as well.
            let wait = settings.backoff_base.max(FAILED_START_WAIT);
            self.life = Life::Waiting { until: now.monotonic.saturating_add(wait), backoff: None };
        }
        self.start_failure = Some((reason, message));
        self.is_settled |= self.kind == ContainerKind::Main;
    }

    /// Notes that its process ended; returns the hook that ran in it.
    pub(super) fn ended(&mut self, exit: Exit, settings: &Settings, now: Now) -> Option<Hook> {
        let life = std::mem::replace(&mut self.life, Life::Ended);
        let run = if let Life::Running(run) = life { Some(run) } else { None };
        let (hook, started_at, mut messages) =
            run.map_or((None, None, Vec::new()), |run| (run.hook, Some(run.started_at), run.hook_failures));
        if !exit.message.is_empty() {
            messages.push(exit.message);
        }
        let reason = match exit.code {
            _ if exit.is_oom => "OOMKilled",
            0 => "Completed",
            _ => "Error",
        };
        self.terminate(Termination {
            exit_code: Some(exit.code),
            signal: exit.signal,
            reason: reason.to_owned(),
            message: messages.join("\n"),
            started_at,
            finished_at: now.wall,
        });
        self.wait_or_end(exit.code, Duration::ZERO, settings, now.monotonic);
        self.is_settled |= match self.kind {
            ContainerKind::Init => exit.code == 0,
            // The next one needs it to run, so the restart decides.
            ContainerKind::Sidecar => false,
            ContainerKind::Main => true,
        };
        hook
    }

    /// Ends its life as long as it is no process.
    pub(super) fn give_up(&mut self) {
        if !self.is_active() {
            self.life = Life::Ended;
        }
    }

    fn terminate(&mut self, termination: Termination) {
        self.earlier_termination = self.termination.replace(termination);
        self.has_ended = true;
    }

    fn wait_or_end(&mut self, code: i32, at_least: Duration, settings: &Settings, now: Duration) {
        self.life = if self.is_to_be_restarted(code) {
            let wait = self.backoff.wait(settings, now);
            Life::Waiting { until: now.saturating_add(wait.max(at_least)), backoff: Some(wait) }
        } else {
            Life::Ended
        };
    }

    /// Rules come before the policy, and their action is always to restart. An init container that ended with 0 is done.
    fn is_to_be_restarted(&self, code: i32) -> bool {
        if self.kind == ContainerKind::Init && code == 0 {
            return false;
        }
        self.restart_rules.iter().any(|rule| rule.codes.contains(&code) == rule.is_in)
            || match self.restart_policy {
                RestartPolicy::Always => true,
                RestartPolicy::OnFailure => code != 0,
                RestartPolicy::Never => false,
            }
    }
}
