//! A supervisor and its containers as a machine sees them: answers actions after some time, and checks each action against its own
//! small model of what is allowed.

mod rules;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

/// How long after a `Kill` the end is told, at most.
const KILL_MS: u64 = 40;

/// What a container does in one run.
#[derive(Debug, Clone)]
pub(super) struct Behaviour {
    pub(super) start_ms: u64,
    pub(super) start_failure: Option<&'static str>,
    /// When it ends by itself.
    pub(super) run_ms: Option<u64>,
    pub(super) code: i32,
    /// How soon it ends after its stop signal; `None` ignores it.
    pub(super) obeys_ms: Option<u64>,
    pub(super) kill_ms: u64,
    pub(super) post_start: HookBehaviour,
    pub(super) pre_stop: HookBehaviour,
}

/// How a hook ends: when, and how; `None` hangs.
pub(super) type HookBehaviour = Option<(u64, bool)>;

/// Something that the world tells, and of which run of which container.
#[derive(Debug)]
struct Told {
    run: Option<(usize, u64)>,
    event: Event,
}

/// What is known of a container.
#[derive(Debug, Default)]
struct Seen {
    /// Counts the starts.
    run: u64,
    is_starting: bool,
    is_up: bool,
    is_ready: bool,
    /// Its first start has got as far as the next container needs.
    is_settled: bool,
    hook: Option<Hook>,
    had_pre_stop: bool,
    had_failed_hook: bool,
    signalled_at: Option<u64>,
    is_killed: bool,
    code: Option<i32>,
    /// The last answer was an end, and no start came after it.
    has_ended: bool,
    is_final: bool,
    n_restarts: u32,
    free_since: u64,
}

pub(super) struct World {
    spec: PodSpec,
    settings: Settings,
    behaviours: Vec<Vec<Behaviour>>,
    machine: Machine,
    now_ms: u64,
    queue: BinaryHeap<Reverse<(u64, usize)>>,
    told: Vec<Option<Told>>,
    seen: Vec<Seen>,
    /// When the grace period of the pod's stop is over.
    stop_until_ms: Option<u64>,
    is_immediate: bool,
    has_reason: bool,
    last_answer_ms: u64,
    is_finished: bool,
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

impl World {
    pub(super) fn new(spec: PodSpec, settings: Settings, behaviours: Vec<Vec<Behaviour>>) -> Self {
        Self {
            machine: Machine::new(&spec, settings, Pod::time(0)),
            seen: spec.containers.iter().map(|_| Seen::default()).collect(),
            spec,
            settings,
            behaviours,
            now_ms: 0,
            queue: BinaryHeap::new(),
            told: Vec::new(),
            stop_until_ms: None,
            is_immediate: false,
            has_reason: false,
            last_answer_ms: 0,
            is_finished: false,
        }
    }

    /// Tells an event at a time, whatever happened until then.
    pub(super) fn tell_at(&mut self, ms: u64, event: Event) {
        self.push(ms, Told { run: None, event });
    }

    fn push(&mut self, ms: u64, told: Told) {
        self.queue.push(Reverse((ms, self.told.len())));
        self.told.push(Some(told));
    }

    /// Lets the pod live until it finishes, but asks it to stop when it is an hour old or has seen much.
    pub(super) fn live(mut self) {
        self.tell_at(3_600_000, Event::Stop { grace_period: None });
        for step in 0..2_000 {
            if step == 1_000 {
                self.tell_at(self.now_ms, Event::Stop { grace_period: None });
            }
            let deadline = self.machine.deadline().map(ms);
            let queued = self.queue.peek().map(|Reverse((ms, _))| *ms);
            let Some(next) = deadline.into_iter().chain(queued).min() else {
                assert!(self.is_finished, "nothing will ever happen: {:?}", self.machine);
                return;
            };
            if self.is_finished {
                assert_eq!(deadline, None);
            }
            self.now_ms = next;
            if queued == Some(next) {
                self.deliver();
            } else {
                self.handle(Event::Tick);
            }
        }
        panic!("the pod does not come to an end: {:?}", self.machine);
    }

    /// Delivers the next event, unless the run of which it tells is over.
    fn deliver(&mut self) {
        let Some(Reverse((_, index))) = self.queue.pop() else { return };
        let Told { run, event } = self.told[index].take().unwrap();
        if let Some((container, run)) = run {
            let seen = &self.seen[container];
            let is_current = seen.run == run && (seen.is_up || seen.is_starting);
            let is_told = match &event {
                Event::HookEnded { hook, .. } => is_current && seen.hook == Some(*hook),
                Event::Started(_) | Event::NotStarted { .. } => seen.is_starting,
                _ => is_current && seen.is_up,
            };
            if !is_told {
                return;
            }
        }
        self.see(&event);
        self.handle(event);
    }

    fn behaviour(&self, container: usize) -> Behaviour {
        let runs = &self.behaviours[container];
        runs[usize::try_from(self.seen[container].run).unwrap() % runs.len()].clone()
    }

    fn should_restart(&self, container: usize, code: i32) -> bool {
        let spec = &self.spec.containers[container];
        if spec.kind == ContainerKind::Init && code == 0 {
            return false;
        }
        match spec.restart_policy {
            _ if spec.restart_rules.iter().any(|rule| rule.is_in == rule.codes.contains(&code)) => true,
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => code != 0,
            RestartPolicy::Never => false,
        }
    }

    /// Notes in the model what is about to be told.
    fn see(&mut self, event: &Event) {
        let known = self.seen.len();
        match event {
            Event::Started(index) | Event::Ended(index, _) | Event::HookEnded { container: index, .. }
                if *index >= known => {}
            Event::Started(index) if self.seen[*index].is_starting => {
                let behaviour = self.behaviour(*index);
                let run = Some((*index, self.seen[*index].run));
                let has_hook = self.spec.containers[*index].post_start.is_some();
                let is_init = self.spec.containers[*index].kind == ContainerKind::Init;
                let has_stop = self.stop_until_ms.is_some();
                let seen = &mut self.seen[*index];
                (seen.is_starting, seen.is_up) = (false, true);
                seen.is_ready = !has_stop && (!has_hook || is_init);
                seen.is_settled |= !is_init && seen.is_ready;
                self.last_answer_ms = self.now_ms;
                if let Some(run_ms) = behaviour.run_ms {
                    self.push(
                        self.now_ms + run_ms,
                        Told { run, event: Event::Ended(*index, exit(behaviour.code)) },
                    );
                }
            }
            Event::NotStarted { container, reason, .. } if self.seen[*container].is_starting => {
                self.seen[*container].is_starting = false;
                self.last_answer_ms = self.now_ms;
                if reason == "RunContainerError" {
                    self.see_end(*container, 128);
                } else {
                    self.seen[*container].free_since = self.now_ms;
                }
                self.seen[*container].is_settled |=
                    self.spec.containers[*container].kind == ContainerKind::Main;
            }
            Event::Ended(index, exit) if self.seen[*index].is_up => self.see_end(*index, exit.code),
            Event::HookEnded { container, hook, failure } if self.seen[*container].hook == Some(*hook) => {
                let seen = &mut self.seen[*container];
                seen.hook = None;
                if *hook == Hook::PostStart {
                    seen.is_ready = failure.is_none();
                    seen.is_settled |= failure.is_none();
                    seen.had_failed_hook |= failure.is_some();
                }
            }
            Event::Stop { grace_period } => self.see_stop(grace_period.unwrap_or(self.spec.grace_period)),
            Event::Evict { .. } => {
                self.has_reason |= self.stop_until_ms.is_none();
                self.see_stop(Duration::from_secs(1).min(self.spec.grace_period));
            }
            Event::SandboxEnded => {
                self.has_reason |= self.stop_until_ms.is_none();
                self.see_stop(Duration::ZERO);
            }
            _ => {}
        }
    }

    fn see_end(&mut self, container: usize, code: i32) {
        let is_restarted = self.should_restart(container, code);
        let kind = self.spec.containers[container].kind;
        let now_ms = self.now_ms;
        let seen = &mut self.seen[container];
        (seen.is_up, seen.is_ready, seen.has_ended) = (false, false, true);
        (seen.code, seen.is_final, seen.free_since) = (Some(code), !is_restarted, now_ms);
        seen.is_settled |= kind == ContainerKind::Main || (kind == ContainerKind::Init && code == 0);
    }

    fn see_stop(&mut self, grace_period: Duration) {
        let until_ms = self.now_ms + ms(grace_period);
        self.stop_until_ms = Some(self.stop_until_ms.map_or(until_ms, |earlier| earlier.min(until_ms)));
        self.is_immediate |= grace_period.is_zero();
        for seen in &mut self.seen {
            // A hook that the stop gives up makes it never ready.
            seen.is_ready &= seen.hook != Some(Hook::PostStart);
        }
    }

    /// The stops that no event tells of.
    fn see_own_stop(&mut self) {
        if self.stop_until_ms.is_some() {
            return;
        }
        let kinds = self.spec.containers.iter().map(|container| container.kind);
        let containers = || kinds.clone().zip(&self.seen);
        let is_init_failed = containers().any(|(kind, seen)| {
            kind == ContainerKind::Init && seen.is_final && seen.code.is_some_and(|code| code != 0)
        });
        let is_done = containers().all(|(kind, seen)| kind != ContainerKind::Main || seen.is_final);
        let is_too_old = self.spec.active_deadline.is_some_and(|deadline| ms(deadline) <= self.now_ms);
        if is_too_old || is_init_failed || is_done {
            self.has_reason = is_too_old;
            self.see_stop(self.spec.grace_period);
        }
    }

    /// Gives an event to the machine, and checks what it does.
    fn handle(&mut self, event: Event) {
        self.see_own_stop();
        let actions = self.machine.handle(event, Pod::time(self.now_ms));
        assert!(actions.is_empty() || !self.is_finished, "{actions:?} after the end");
        for action in actions {
            self.obey(action);
        }
        if let Some(deadline) = self.machine.deadline() {
            assert!(ms(deadline) > self.now_ms, "due at {deadline:?} and not done at {} ms", self.now_ms);
        }
        assert_eq!(self.machine.is_finished(), self.is_finished);
        self.check_status();
    }
}
