//! `podrt exec`.

use std::fs;
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::args::ExecArgs;
use super::console::Console;
use super::create::check_preserved;
use super::log::Log;
use crate::launch::{self, ExecRequest, FailAt, Target, foreground};
use crate::plan;
use crate::spec::exec::Overrides;
use crate::spec::{ContainerId, config};
use crate::state::StateRoot;

/// Exit code of an exec that does not come to a program.
pub(super) const NO_PROGRAM: u8 = 255;

/// Executes a process, and unless detached waits for its end. The exit code is its own.
///
/// # Errors
/// Why there was no program.
pub fn exec(root: &StateRoot, args: &ExecArgs, log: &Log) -> anyhow::Result<ExitCode> {
    super::seal()?;
    let id: ContainerId = args.id.parse()?;
    if args.process_label.is_some() {
        bail!("--process-label: not supported; leave the flag out");
    }
    check_preserved(args.preserve_fds)?;
    let file = args
        .process
        .as_ref()
        .map(|path| fs::read_to_string(path).with_context(|| format!("--process: read {}", path.display())));
    let file = file.transpose()?;
    let overrides = overrides(args)?;

    let target = Target::find(root, &id, args.ignore_paused)?;
    let spec = config::parse(&target.document, &target.bundle)
        .with_context(|| format!("the configuration of container {id}"))?;
    let (process, warnings) = crate::spec::exec::process(&target.document, file.as_deref(), &overrides)?;
    let console = Console::new(process.has_terminal, args.detach, args.console_socket.as_deref())?;
    let kernel = launch::read_features().context("read the runtime's capabilities")?;
    let pid_file = args.pid_file.as_deref();
    let plan = plan::exec::exec(&spec, &process, &target.cgroup, &target.namespaces, pid_file, &kernel)?;
    warnings.iter().chain(&plan.warnings).for_each(|warning| log.warning(warning));
    plan.steps.iter().for_each(|step| log.debug(&format!("{:?}: {}", step.actor, step.action)));

    let request = ExecRequest {
        target: &target,
        process: &process,
        plan: &plan,
        sub_cgroup: args.cgroup.as_deref(),
        preserve_fds: args.preserve_fds,
        console: console.remote(),
        command: None,
        answer_within: None,
        fail_at: FailAt::Never,
    };
    let failed = || format!("exec in container {id}");
    if args.detach {
        launch::exec(&request).with_context(failed)?;
        console.attach()?;
        return Ok(ExitCode::SUCCESS);
    }
    let kept = launch::exec_kept(&request).with_context(failed)?;
    let terminal = console.attach()?;
    let signals = foreground::take_signals().context("take signals")?;
    Ok(foreground::wait(kept.pidfd.as_fd(), kept.keeper, &signals, terminal)?.into())
}

fn overrides(args: &ExecArgs) -> anyhow::Result<Overrides> {
    let (uid, gid) = match &args.user {
        None => (None, None),
        Some(user) => {
            let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(u, g)| (u, Some(g)));
            let number = |text: &str| {
                text.parse::<u32>()
                    .with_context(|| format!("--user {user:?}: must be UID or UID:GID, in numbers"))
            };
            (Some(number(uid)?), gid.map(number).transpose()?)
        }
    };
    Ok(Overrides {
        args: args.command.clone(),
        cwd: args.cwd.clone(),
        env: args.env.clone(),
        uid,
        gid,
        additional_gids: args.additional_gids.clone(),
        capabilities: args.cap.clone(),
        no_new_privileges: args.no_new_privs,
        apparmor_profile: args.apparmor.clone(),
        has_terminal: args.tty,
    })
}
