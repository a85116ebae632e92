//! `exec`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use runtime::cli::args::ExecArgs as ContainerArgs;
use runtime::cli::log::Log;

use super::args::ExecArgs;
use crate::command::observe::observe;
use crate::state::PodRoot;
use crate::status::ContainerState;

/// Exit code of an exec that does not come to a program.
pub(super) const NO_PROGRAM: u8 = 255;

/// Executes a program in a container, as `podrt exec` does.
pub(super) fn exec(root: &PodRoot, args: &ExecArgs) -> Result<ExitCode> {
    super::seal(&[])?;
    let pod = root.pod(&args.pod)?;
    let observed = observe(&pod)?;
    let record = observed.record.with_context(|| format!("pod {} is being created", args.pod))?;
    let name = super::choose(&args.pod, &record.spec, args.container.as_deref())?;
    let mut statuses = observed.report.iter().flat_map(|report| &report.status.containers);
    let why = match statuses.find(|status| status.name == name).map(|status| &status.state) {
        Some(ContainerState::Running { .. }) => None,
        Some(ContainerState::Waiting { reason, .. }) => Some(format!("it waits: {reason}")),
        Some(ContainerState::Terminated(end)) => Some(format!("it has ended: {}", end.reason)),
        None => Some("its pod is not started".to_owned()),
    };
    if let Some(why) = why {
        bail!("container {name} of pod {} does not run ({why})", args.pod);
    }
    if !args.stdin {
        let null = std::fs::File::open("/dev/null").context("open /dev/null")?;
        nix::unistd::dup2_stdin(&null).context("close the standard input")?;
    }
    let request = ContainerArgs {
        tty: args.tty,
        id: name.to_owned(),
        command: args.command.clone(),
        ..Default::default()
    };
    runtime::cli::exec::exec(&pod.containers(), &request, &Log::default())
}
