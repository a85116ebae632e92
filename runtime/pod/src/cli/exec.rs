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
    let containers = &record.spec.containers;
    let name = match &args.container {
        Some(name) if containers.iter().any(|container| container.name == *name) => name.clone(),
        Some(name) => {
            let names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
            bail!("pod {} has no container {name}; it has: {}", args.pod, names.join(", "));
        }
        // The first main container: init containers have ended.
        None => {
            let main = containers.iter().find(|container| container.kind == crate::spec::ContainerKind::Main);
            main.with_context(|| format!("pod {} has no containers", args.pod))?.name.clone()
        }
    };
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
    let request =
        ContainerArgs { tty: args.tty, id: name, command: args.command.clone(), ..Default::default() };
    runtime::cli::exec::exec(&pod.containers(), &request, &Log::default())
}
