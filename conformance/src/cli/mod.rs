//! The command line.

mod choice;
mod defects;
mod diff;
mod explain;
mod list;
mod matrix;
mod mutants;
mod outcome;
mod probes;
mod report;
mod ring;
mod run;
mod stage;
mod sweep;
mod trace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};

use crate::helper::{self, Helper};
use crate::interrupt;
use crate::launcher;
use crate::report::exit;

/// Judges container runtimes by two witnesses: a program inside the container, and the kernel's own trace.
///
/// Exit status: 0 at least one check passed, no MUST failed, nothing inconclusive; 1 a MUST failed; 2 wrong
/// usage or set-up; 3 inconclusive, nothing passed, or the machine died. With a baseline: 0 all is as it knows; 1 a new
/// failure or an unexpected pass.
#[derive(Debug, Parser)]
#[command(name = "podproof", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge runtimes on this machine (needs root).
    Run(run::RunArgs),
    /// List the requirements.
    List(list::ListArgs),
    /// Explain one requirement: its clause, how it is judged, and which defect proves that it can fail.
    Explain(explain::ExplainArgs),
    /// Make the table and the reports of finished runs from their records.
    Report(report::ReportArgs),
    /// Merge several report.json into the matrix of requirements by runtime and kernel.
    Matrix(matrix::MatrixArgs),
    /// Show what changed between two report.json; 1 when something got worse.
    Diff(diff::DiffArgs),
    /// Judge runtimes with one defect each, which must fail their checks.
    Mutants(mutants::MutantsArgs),
    /// Make the matrix of defects and checks from the records of `mutants`.
    Defects(defects::DefectsArgs),
    /// Kill the commands of runtimes at their system calls, and look for what is left (needs root, and a machine of its own).
    Sweep(sweep::SweepArgs),
    /// Show the life of a command, a process or a cgroup as the kernel sees it, live (needs root).
    Trace(trace::TraceArgs),
    /// List the probes, and what this kernel makes of each.
    Probes(probes::ProbesArgs),
    /// Start the commands of a cell (podproof starts this itself).
    #[command(hide = true)]
    Launcher,
    /// Do one thing in another namespace (podproof starts this itself).
    #[command(hide = true)]
    Helper {
        #[command(subcommand)]
        helper: Helper,
    },
}

/// Parses the arguments, does what they say, returns the exit status.
#[must_use]
pub fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("PODPROOF_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .init();
    let command = Cli::parse().command;
    if matches!(
        command,
        Command::List(_) | Command::Explain(_) | Command::Matrix(_) | Command::Diff(_) | Command::Defects(_)
    ) {
        end_with_the_pipe();
    }
    let done = match command {
        // Its exit status is that of the traced command, also when it was interrupted.
        Command::Trace(args) => return ended(trace::run(&args)),
        Command::Run(args) => run::run(&args),
        Command::List(args) => list::run(&args).map(|()| exit::PASSED),
        Command::Explain(args) => explain::run(&args).map(|()| exit::PASSED),
        Command::Report(args) => report::run(&args),
        Command::Matrix(args) => matrix::run(&args).map(|()| exit::PASSED),
        Command::Diff(args) => diff::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Defects(args) => defects::run(&args),
        Command::Probes(args) => probes::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Launcher => launcher::serve().map(|()| exit::PASSED).map_err(Into::into),
        Command::Helper { helper } => helper::run(&helper).map(|()| exit::PASSED),
    };
    if let Some(signal) = interrupt::requested() {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX));
    }
    ended(done)
}

/// Those that only tell something, and start nothing, end quietly when nobody reads on, as cat(1) does.
#[expect(unsafe_code, reason = "a handler could be unsafe; this one is the default action")]
fn end_with_the_pipe() {
    // SAFETY: no handler is installed, so none can do what it must not.
    if let Err(errno) = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) } {
        tracing::warn!(%errno, "SIGPIPE stays ignored");
    }
}

fn ended(done: anyhow::Result<u8>) -> ExitCode {
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("podproof: {error:#}");
            ExitCode::from(exit::USAGE)
        }
    }
}
