//! The command line: that of OCI runtimes, with the flags and exit codes that runc made customary.
//!
//! One file per verb: parse, call, print; no logic. Exit status: 0, or 1 with the reason on stderr (and in the `--log` file);
//! `run` without `--detach` ends with the program's own status, 128 + n when signal n ended it.

pub mod args;
pub mod create;
pub mod features;
pub mod kill;
pub mod log;
pub mod run;
pub mod state;

use std::process::ExitCode;

use clap::Parser;

use crate::launch;
use crate::state::StateRoot;
use crate::sys::{exe, process};
use args::{Args, Verb};
use log::Log;

/// Runs the command line of the calling process.
#[must_use]
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are not errors; a closed stdout has no reader to tell.
            let _unwritten = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let log = match Log::open(args.log.as_deref(), args.log_format, args.debug) {
        Ok(log) => log,
        Err(error) => {
            Log::default().error(&error);
            return ExitCode::FAILURE;
        }
    };
    match run(args, &log) {
        Ok(code) => code,
        Err(error) => {
            log.error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args, log: &Log) -> anyhow::Result<ExitCode> {
    if args.systemd_cgroup {
        anyhow::bail!(
            "--systemd-cgroup: not supported; podrt manages cgroup directories itself, leave the flag out"
        );
    }
    // A caller that ignores SIGCHLD would make every wait fail.
    process::default_action(libc::SIGCHLD)?;
    let root = StateRoot::new(args.root);
    match args.verb {
        Verb::Create(bundle) => {
            seal()?;
            create::create(&root, &bundle, log)?;
        }
        Verb::Run { bundle, detach } => {
            seal()?;
            return run::run(&root, &bundle, detach, log);
        }
        Verb::Start { id } => log.warn_each(launch::start(&root, &id.parse()?)?),
        Verb::State { id } => state::state(&root, &id.parse()?)?,
        Verb::Kill { all, id, signal } => {
            launch::kill(&root, &id.parse()?, kill::parse_signal(&signal)?, all)?;
        }
        Verb::Delete { force, id } => log.warn_each(launch::delete(&root, &id.parse()?, force)?),
        Verb::Features => features::features()?,
    }
    Ok(ExitCode::SUCCESS)
}

/// From here on, the container cannot reach the program on the node.
fn seal() -> anyhow::Result<()> {
    use anyhow::Context;
    exe::ensure_readonly().context("execute podrt from a read-only mount (needs CAP_SYS_ADMIN)")?;
    // Executed from a descriptor, the process would have its number for a name.
    nix::sys::prctl::set_name(c"podrt").context("set the name of the process")
}
