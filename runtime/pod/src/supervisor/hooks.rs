//! The hooks of containers: programs that run beside the container's own, or time that passes.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use runtime::launch::{self, ExecRequest, FailAt, Target};
use runtime::plan;
use runtime::spec::config;
use runtime::spec::exec::{Overrides, process};
use runtime::sys::clone::Cloned;
use runtime::sys::process::pidfd_send_signal;
use runtime::sys::wait::Ended;

use super::container::{ANSWER_WITHIN, Workshop, id};
use crate::machine::Hook;
use crate::spec::HookSpec;

/// A hook at work.
#[derive(Debug)]
pub(super) struct RunningHook {
    pub(super) container: usize,
    pub(super) hook: Hook,
    pub(super) what: What,
}

/// What it waits for.
#[derive(Debug)]
pub(super) enum What {
    /// The end of a program.
    Program(Cloned),
    /// A moment, on the clock of the supervisor.
    Sleep(Duration),
}

impl Workshop<'_> {
    /// Begins a hook; `now` is the time on the supervisor's clock.
    pub(super) fn begin_hook(&self, container: usize, hook: Hook, now: Duration) -> Result<RunningHook> {
        let spec = self.record.spec.containers.get(container).context("no such container")?;
        let handler = match hook {
            Hook::PostStart => spec.post_start.as_ref(),
            Hook::PreStop => spec.pre_stop.as_ref(),
        };
        let what = match handler.context("no such hook")? {
            HookSpec::Sleep(duration) => What::Sleep(now.saturating_add(*duration)),
            HookSpec::Exec(args) => What::Program(self.execute(&spec.name, args)?),
        };
        Ok(RunningHook { container, hook, what })
    }

    /// Executes a program in a container, with `/dev/null` for its streams.
    fn execute(&self, name: &str, args: &[String]) -> Result<Cloned> {
        let target = Target::find(&self.pod.containers(), &id(name)?, false)?;
        let spec = config::parse(&target.document, &target.bundle)?;
        let overrides = Overrides { args: args.to_vec(), ..Overrides::default() };
        let (process, _) = process(&target.document, None, &overrides)?;
        let kernel = &self.node.kernel;
        let plan = plan::exec::exec(&spec, &process, &target.cgroup, &target.namespaces, None, kernel)?;
        let request = ExecRequest {
            target: &target,
            process: &process,
            plan: &plan,
            sub_cgroup: None,
            preserve_fds: 0,
            console: None,
            command: None,
            answer_within: Some(ANSWER_WITHIN),
            fail_at: FailAt::Never,
        };
        Ok(launch::exec(&request)?)
    }
}

impl RunningHook {
    /// Ends it without a result.
    pub(super) fn abandon(&self) {
        if let What::Program(program) = &self.what {
            // It may have ended by itself.
            let _ended = pidfd_send_signal(program.pidfd.as_fd(), Signal::SIGKILL as i32);
        }
    }
}

/// Why a program's end is a failure.
pub(super) fn failure(ended: Ended) -> Option<String> {
    match ended {
        Ended::Exited(0) => None,
        Ended::Exited(code) => Some(format!("exit code {code}")),
        Ended::Signaled(_) => Some(ended.to_string()),
    }
}
