//! The command line. One file per group of verbs: parse, call, print; no logic.
//!
//! Exit status: 0, or 1 with the reason on stderr, 2 for wrong usage; `exec` ends with the program's own status, 128 + n when signal
//! n ended it, and 255 when it came to no program.

pub mod args;
mod create;
mod exec;
mod logs;
mod show;
mod stop;
mod tree;

use std::ffi::OsStr;
use std::path::absolute;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use runtime::sys::{exe, process};

use crate::spec::{ContainerKind, PodSpec};
use crate::state::PodRoot;
use crate::supervisor;
use args::{Cli, JsonFormat, Verb};

/// Runs the command line of the calling process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_exec = matches!(cli.verb, Verb::Exec(_));
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if is_exec { exec::NO_PROGRAM.into() } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let path = absolute(&cli.root).with_context(|| format!("--root {}", cli.root.display()))?;
    let root = PodRoot::new(path.clone());
    // A caller that ignores SIGCHLD would make every wait fail.
    process::default_action(libc::SIGCHLD)?;
    match cli.verb {
        Verb::Run(args) => create::run(&root, &path, &args),
        Verb::Create(args) => create::create(&root, &path, &args).map(|_| ExitCode::SUCCESS),
        Verb::Start(args) => create::start(&root, &args),
        Verb::Stop { pod, time, format } => stop::stop(&root, &pod, time, format),
        Verb::Kill { pod, signal, container, format } => {
            stop::kill(&root, &pod, &signal, container.as_deref(), format)
        }
        Verb::Rm { force, pods, format } => stop::rm(&root, &pods, force, format),
        Verb::Ps { format, quiet } => show::ps(&root, format, quiet),
        Verb::Inspect { pod, format: JsonFormat::Json } => show::inspect(&root, &pod),
        Verb::Exec(args) => exec::exec(&root, &args),
        Verb::Logs(args) => logs::logs(&root, &args),
        Verb::Wait(args) => stop::wait(&root, &args),
        Verb::Tree { pod, format } => tree::tree(&root, &pod, format),
        Verb::Gc { format } => stop::gc(&root, format),
        Verb::Supervise { pod } => {
            let channel = supervisor::spawn::take_channel()?;
            supervisor::main(&root.pod(&pod)?, channel)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The container that is meant: the named one, or the first main one, as init containers have ended.
fn choose<'s>(pod: &str, spec: &'s PodSpec, wanted: Option<&'s str>) -> Result<&'s str> {
    let containers = &spec.containers;
    match wanted {
        Some(name) if containers.iter().any(|container| container.name == name) => Ok(name),
        Some(name) => bail!("pod {pod} has no container {name}; it has: {}", names(spec)),
        None => {
            let main = containers.iter().find(|container| container.kind == ContainerKind::Main);
            Ok(&main.with_context(|| format!("pod {pod} has no containers"))?.name)
        }
    }
}

/// The names of all containers.
fn names(spec: &PodSpec) -> String {
    let names: Vec<&str> = spec.containers.iter().map(|container| container.name.as_str()).collect();
    names.join(", ")
}

/// From here on, a container cannot reach the program on the node.
fn seal(more: &[(&str, &OsStr)]) -> Result<()> {
    exe::ensure_readonly(more).context("execute podrt-pod from a read-only mount (needs CAP_SYS_ADMIN)")?;
    nix::sys::prctl::set_dumpable(false).context("make the process not dumpable")?;
    // Executed from a descriptor, the process would have its number for a name.
    nix::sys::prctl::set_name(c"podrt-pod").context("set the name of the process")
}
