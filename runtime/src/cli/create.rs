//! `podrt create`.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::args::BundleArgs;
use super::log::Log;
use crate::launch::{self, CreateRequest, FailAt};
use crate::plan;
use crate::spec::{ContainerId, config};
use crate::state::StateRoot;
use crate::sys::clone::Cloned;

/// Creates the container that a bundle describes.
///
/// # Errors
/// Why there is no container.
pub fn create(root: &StateRoot, args: &BundleArgs, log: &Log) -> anyhow::Result<Cloned> {
    check_flags(args)?;
    let id: ContainerId = args.id.parse()?;
    let bundle = fs::canonicalize(&args.bundle)
        .with_context(|| format!("open the bundle {}", args.bundle.display()))?;
    let path = bundle.join("config.json");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let spec = config::parse(&text, &bundle).with_context(|| path.display().to_string())?;
    let kernel = launch::read_features().context("read the runtime's capabilities")?;
    let plan = plan::plan(&id, &spec, args.pid_file.as_deref(), &kernel)?;
    plan.warnings.iter().for_each(|warning| log.warning(warning));
    plan.steps.iter().for_each(|step| log.debug(&format!("{:?}: {}", step.actor, step.action)));
    let request = CreateRequest {
        id: &id,
        bundle: &bundle,
        spec: &spec,
        plan: &plan,
        root,
        preserve_fds: args.preserve_fds,
        fail_at: FailAt::Never,
    };
    launch::create(&request).with_context(|| format!("create container {id}"))
}

fn check_flags(args: &BundleArgs) -> anyhow::Result<()> {
    if args.console_socket.is_some() {
        bail!("--console-socket: not supported; set process.terminal to false and leave the flag out");
    }
    if args.no_pivot {
        bail!("--no-pivot: not supported; without pivot_root the node's mounts would stay reachable");
    }
    if args.no_new_keyring {
        bail!("--no-new-keyring: not supported; the caller's keys would be visible in the container");
    }
    for fd in 3..3_u32.saturating_add(args.preserve_fds) {
        if fs::symlink_metadata(Path::new("/proc/self/fd").join(fd.to_string())).is_err() {
            bail!("--preserve-fds {}: descriptor {fd} is not open", args.preserve_fds);
        }
    }
    Ok(())
}
