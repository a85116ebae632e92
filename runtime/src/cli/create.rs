//! `podrt create`.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::args::BundleArgs;
use super::console::Console;
use super::log::Log;
use crate::launch::terminal::Attached;
use crate::launch::{self, CreateRequest, FailAt};
use crate::plan;
use crate::spec::{ContainerId, config};
use crate::state::StateRoot;
use crate::sys::clone::Cloned;

/// Creates the container that a bundle describes. Its terminal is handed back where `is_detached` is not set.
///
/// # Errors
/// Why there is no container.
pub fn create(
    root: &StateRoot,
    args: &BundleArgs,
    is_detached: bool,
    log: &Log,
) -> anyhow::Result<(Cloned, Option<Attached>)> {
    check_preserved(args.preserve_fds)?;
    let id: ContainerId = args.id.parse()?;
    let bundle = fs::canonicalize(&args.bundle)
        .with_context(|| format!("open the bundle {}", args.bundle.display()))?;
    let path = bundle.join("config.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let spec = config::parse(&text, &bundle).with_context(|| path.display().to_string())?;
    let console = Console::new(spec.process.has_terminal, is_detached, args.console_socket.as_deref())?;
    let kernel = launch::read_features().context("read the runtime's capabilities")?;
    let mut plan = plan::plan(&id, &spec, args.pid_file.as_deref(), &kernel)?;
    if args.no_new_keyring {
        plan = plan.without_keyring();
    }
    if args.no_pivot {
        plan = plan.without_pivot();
    }
    plan.warnings.iter().for_each(|warning| log.warning(warning));
    plan.steps.iter().for_each(|step| log.debug(&format!("{:?}: {}", step.actor, step.action)));
    let request = CreateRequest {
        id: &id,
        bundle: &bundle,
        spec: &spec,
        plan: &plan,
        root,
        preserve_fds: args.preserve_fds,
        console: console.remote(),
        answer_within: None,
        fail_at: FailAt::Never,
    };
    let init = launch::create(&request).with_context(|| format!("create container {id}"))?;
    let attached = console.attach()?;
    Ok((init, attached))
}

/// Refuses descriptors that the caller does not have.
pub(super) fn check_preserved(n: u32) -> anyhow::Result<()> {
    for fd in 3..3_u32.saturating_add(n) {
        if fs::symlink_metadata(Path::new("/proc/self/fd").join(fd.to_string())).is_err() {
            bail!("--preserve-fds {n}: descriptor {fd} is not open");
        }
    }
    Ok(())
}
