//! What each action and each status must be, after all that the world knows.

use super::*;

impl World {
    /// Does an action, if it is allowed.
    pub(super) fn obey(&mut self, action: Action) {
        match action {
            Action::Start(index) => self.obey_start(index),
            Action::Run(index, hook) => self.obey_run(index, hook),
            Action::Abandon(index, hook) => {
                assert_eq!(self.seen[index].hook.take(), Some(hook), "{index} runs no such hook");
            }
            Action::Signal(index) => self.obey_signal(index),
            Action::Kill(index) => self.obey_kill(index),
            Action::Finish => {
                assert!(self.stop_until_ms.is_some(), "the end of a pod that nobody stops");
                for seen in &self.seen {
                    assert!(!seen.is_up && !seen.is_starting && seen.hook.is_none(), "left behind: {seen:?}");
                }
                let latest = self.stop_until_ms.unwrap().max(self.last_answer_ms) + 2_000 + KILL_MS;
                assert!(self.now_ms <= latest, "finished at {} and not by {latest} ms", self.now_ms);
                self.is_finished = true;
            }
        }
    }

    fn obey_start(&mut self, index: usize) {
        assert!(self.stop_until_ms.is_none(), "{index} is started in a stop");
        for (earlier, spec) in self.seen[..index].iter().zip(&self.spec.containers) {
            assert!(earlier.is_settled, "{index} is started before {} is settled", spec.name);
        }
        let wait = self.now_ms - self.seen[index].free_since;
        let seen = &mut self.seen[index];
        assert!(
            !seen.is_up && !seen.is_starting && seen.hook.is_none(),
            "{index} is started twice: {seen:?}"
        );
        assert!(!seen.is_final, "{index} is started against its policy: {seen:?}");
        if seen.run > 0 {
            let longest =
                self.settings.backoff_max.max(self.settings.backoff_base).max(Duration::from_secs(1));
            assert!(wait <= ms(longest), "{index} waited for {wait} ms");
        }
        let n_restarts = seen.n_restarts + u32::from(seen.has_ended);
        let told = Seen {
            run: seen.run + 1,
            is_starting: true,
            is_settled: seen.is_settled,
            n_restarts,
            code: seen.code,
            ..Seen::default()
        };
        *seen = told;
        let run = Some((index, seen.run));
        let behaviour = self.behaviour(index);
        let event = match behaviour.start_failure {
            None => Event::Started(index),
            Some(reason) => {
                Event::NotStarted { container: index, reason: reason.into(), message: "no".into() }
            }
        };
        self.push(self.now_ms + behaviour.start_ms, Told { run, event });
    }

    fn obey_run(&mut self, index: usize, hook: Hook) {
        let behaviour = self.behaviour(index);
        let spec = &self.spec.containers[index];
        let seen = &mut self.seen[index];
        assert!(
            seen.is_up && seen.hook.is_none() && seen.signalled_at.is_none() && !seen.is_killed,
            "{index}: {seen:?}"
        );
        assert_ne!(spec.kind, ContainerKind::Init);
        let (asked, end) = match hook {
            Hook::PostStart => (&spec.post_start, behaviour.post_start),
            Hook::PreStop => {
                assert!(
                    self.stop_until_ms.is_some() || seen.had_failed_hook,
                    "a preStop hook without a stop"
                );
                assert!(!std::mem::replace(&mut seen.had_pre_stop, true), "{index} has two preStop hooks");
                (&spec.pre_stop, behaviour.pre_stop)
            }
        };
        assert!(asked.is_some(), "{index} has no {hook:?}");
        seen.hook = Some(hook);
        let run = Some((index, seen.run));
        if let Some((after_ms, is_good)) = end {
            let failure = (!is_good).then(|| "no".to_owned());
            let event = Event::HookEnded { container: index, hook, failure };
            self.push(self.now_ms + after_ms, Told { run, event });
        }
    }

    fn obey_signal(&mut self, index: usize) {
        let behaviour = self.behaviour(index);
        let is_over = self.stop_until_ms.is_some_and(|until| until <= self.now_ms);
        let is_later_up = self.seen[index + 1..].iter().any(|later| later.is_up || later.is_starting);
        let seen = &mut self.seen[index];
        assert!(self.stop_until_ms.is_some() || seen.had_failed_hook, "{index} is signalled for nothing");
        assert!(seen.is_up && seen.signalled_at.is_none() && !seen.is_killed, "{index}: {seen:?}");
        if self.spec.containers[index].kind == ContainerKind::Sidecar && is_later_up {
            assert!(is_over || seen.had_failed_hook, "{index} is signalled before its turn");
        }
        assert!(
            seen.hook.is_none() || is_over || seen.had_failed_hook,
            "{index} is signalled during its hook"
        );
        seen.signalled_at = Some(self.now_ms);
        let run = Some((index, seen.run));
        if let Some(after_ms) = behaviour.obeys_ms {
            self.push(self.now_ms + after_ms, Told { run, event: Event::Ended(index, exit(behaviour.code)) });
        }
    }

    fn obey_kill(&mut self, index: usize) {
        let behaviour = self.behaviour(index);
        let seen = &mut self.seen[index];
        assert!(seen.is_up && !std::mem::replace(&mut seen.is_killed, true), "{index}: {seen:?}");
        let is_hurried = self.is_immediate || (seen.had_failed_hook && self.spec.grace_period.is_zero());
        let had_time = seen.signalled_at.is_some_and(|at| at + 2_000 <= self.now_ms);
        assert!(is_hurried || had_time, "{index} is killed without its two seconds: {seen:?}");
        let run = Some((index, seen.run));
        let event = Event::Ended(index, exit(137));
        self.push(self.now_ms + behaviour.kill_ms.min(KILL_MS), Told { run, event });
    }

    /// Compares the status with what is known.
    pub(super) fn check_status(&self) {
        let status = self.machine.status();
        let is_terminal = matches!(status.phase, Phase::Succeeded | Phase::Failed);
        assert_eq!(is_terminal, self.is_finished);
        assert_eq!(status.reason.is_some(), self.is_finished && self.has_reason, "{status:?}");
        let mut are_mains_up = true;
        let mut is_success = !self.has_reason;
        for ((seen, spec), container) in self.seen.iter().zip(&self.spec.containers).zip(&status.containers) {
            assert_eq!(
                matches!(container.state, ContainerState::Running { .. }),
                seen.is_up,
                "{container:?} {seen:?}"
            );
            assert_eq!(container.is_ready, seen.is_ready && seen.is_up, "{container:?} {seen:?}");
            assert_eq!(container.restart_count, seen.n_restarts);
            let termination = match &container.state {
                ContainerState::Terminated(termination) => Some(termination),
                _ => container.last_termination.as_ref(),
            };
            assert_eq!(
                termination.and_then(|termination| termination.exit_code),
                seen.code,
                "{container:?} {seen:?}"
            );
            if spec.kind == ContainerKind::Main {
                are_mains_up &= seen.is_up || seen.code.is_some();
            }
            if spec.kind != ContainerKind::Sidecar {
                is_success &= seen.code == Some(0);
            }
        }
        let expected = match self.is_finished {
            true if is_success => Phase::Succeeded,
            true => Phase::Failed,
            false if are_mains_up => Phase::Running,
            false => Phase::Pending,
        };
        assert_eq!(status.phase, expected);
    }
}
