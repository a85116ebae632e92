//! The command line: that of OCI runtimes, with the flags and exit codes that runc made customary.
//!
//! One file per verb: parse, call, print; no logic. Exit status: 0, or 1 with the reason on stderr (and in the `--log` file);
//! `run` and `exec` without `--detach` end with the program's own status, 128 + n when signal n ended it. An `exec` that does not
//! come to a program ends with 255.

pub mod args;
pub mod console;
pub mod create;
pub mod exec;
pub mod features;
pub mod gc;
pub mod kill;
pub mod list;
pub mod log;
pub mod pod;
pub mod ps;
pub mod run;
pub mod spec;
pub mod state;
pub mod update;

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
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            log::usage_error(&error, std::env::args_os());
            return ExitCode::FAILURE;
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
            "--systemd-cgroup: not supported; podrt manages cgroup directories itself. Leave the flag out; podman does with \
             --cgroup-manager cgroupfs, containerd with SystemdCgroup = false"
        );
    }
    // A caller that ignores SIGCHLD would make every wait fail.
    process::default_action(libc::SIGCHLD)?;
    let root = StateRoot::new(args.root);
    match args.verb {
        Verb::Create(bundle) => {
            seal()?;
            create::create(&root, &bundle, true, log)?;
        }
        Verb::Run { bundle, detach } => {
            seal()?;
            return run::run(&root, &bundle, detach, log);
        }
        Verb::Exec(exec) => {
            return Ok(exec::exec(&root, &exec, log).unwrap_or_else(|error| {
                log.error(&error);
                exec::NO_PROGRAM.into()
            }));
        }
        Verb::List { format, quiet } => list::list(&root, format, quiet, log)?,
        Verb::Ps { format, id, options } => ps::ps(&root, &id.parse()?, format, &options)?,
        Verb::Spec { bundle } => spec::spec(&bundle)?,
        Verb::Start { id } => launch::start(&root, &id.parse()?)?,
        Verb::State { id } => state::state(&root, &id.parse()?)?,
        Verb::Kill { all, id, signal } => {
            launch::kill(&root, &id.parse()?, kill::parse_signal(&signal)?, all)?;
        }
        Verb::Delete { force, id } => log.warn_each(launch::delete(&root, &id.parse()?, force)?),
        Verb::Pause { id } => launch::pause(&root, &id.parse()?)?,
        Verb::Resume { id } => launch::resume(&root, &id.parse()?)?,
        Verb::Update(args) => update::update(&root, &args, log)?,
        Verb::Gc => gc::gc(&root)?,
        Verb::Features => features::features()?,
        Verb::Pod { args } => return pod::pod(&args),
    }
    Ok(ExitCode::SUCCESS)
}

/// From here on, the container cannot reach the program on the node.
fn seal() -> anyhow::Result<()> {
    use anyhow::Context;
    exe::ensure_readonly(&[]).context("execute podrt from a read-only mount (needs CAP_SYS_ADMIN)")?;
    // Nor look into this process, or into one that is cloned from it.
    nix::sys::prctl::set_dumpable(false).context("make the process not dumpable")?;
    // Executed from a descriptor, the process would have its number for a name.
    nix::sys::prctl::set_name(c"podrt").context("set the name of the process")
}
