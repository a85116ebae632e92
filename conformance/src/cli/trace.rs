//! `podproof trace`: the life of a command, a process or a cgroup, as the kernel sees it.

mod command;
mod output;
mod subject;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{ArgGroup, Args, ColorChoice, ValueEnum};
use nix::sys::signal::Signal;
use podproof_ebpf::{Scope, Tracer};

use super::ring::RingArgs;
use crate::evidence::Lost;
use crate::interrupt;
use crate::report::exit;
use command::Traced;
use output::Output;
use subject::Subject;

/// How long events may lie before they are shown.
const PERIOD: Duration = Duration::from_millis(20);
/// How long the last events may take to come.
const FENCE: Duration = Duration::from_secs(5);
/// How long a command has to end after a signal that was passed on to it.
const GRACE: Duration = Duration::from_secs(5);

const HELP: &str = "\
A line says when something happened (seconds since the first event), who did it, and what. `pause 4713/1` is
process 4713 of the node, 1 in its own pid namespace; numbers in nested namespaces follow. `kernel` is the kernel
itself. Where records were lost, a line across the screen says so.

The trace goes to standard output. A traced command keeps its standard input; what it writes to standard output
goes to standard error instead, unless --output takes the trace. Signals for podproof are passed on to it; a
second one ends the trace.

Exit status: that of the command (128 and the signal's number when a signal killed it), else 0; 2 wrong usage or
set-up.";

/// How the trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line of words per event, live.
    Text,
    /// A JSON object per event and line, live: the event, who acts ("who"), its words ("text"), and whether the text
    /// format shows it with --verbose only ("detail").
    Json,
    /// One document in Trace Event Format at the end, for Perfetto or chrome://tracing.
    Chrome,
}

/// Shows the life of a command, a process or a cgroup, in the order of the kernel, as it happens.
#[derive(Debug, Args)]
#[command(after_help = HELP, override_usage = "podproof trace [OPTIONS] <--cgroup PATH | --pid PID | -- COMMAND...>")]
#[command(group(ArgGroup::new("subject").required(true).args(["cgroup", "pid", "command"])))]
pub(super) struct TraceArgs {
    /// Trace what happens in a cgroup and below it until it is removed or Ctrl-C: its path in the v2 hierarchy, as in
    /// /proc/PID/cgroup, or its directory.
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,
    /// Trace a process and its descendants until it ends or Ctrl-C.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// Start this command and trace it and its descendants until it ends.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<std::ffi::OsString>,
    /// How the trace is written; json and chrome have every event.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the trace to a file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Colours in the text; `auto` is for terminals, and honours NO_COLOR.
    #[arg(long, value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    /// Show threads, waits, delivered signals and inodes too, and the hook that showed each event.
    #[arg(long, short)]
    verbose: bool,
    /// After the command has ended, go on until all processes that it left are gone.
    #[arg(long, conflicts_with_all = ["pid", "cgroup"])]
    follow: bool,
    #[command(flatten)]
    ring: RingArgs,
}

/// Why tracing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// What was traced is over.
    Over,
    /// A signal asked for it.
    Interrupted,
    /// Nobody reads the trace any more.
    Unread,
}

pub(super) fn run(args: &TraceArgs) -> Result<u8> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "tracing needs root (eBPF): run it as root, or in a VM with `cargo xtask vm`"
    );
    let subject = Subject::find(args)?;
    let mut output = Output::open(args)?;
    // Before the reader of the events starts its thread.
    interrupt::install().context("take SIGINT and SIGTERM")?;
    let tracer = Tracer::start(&args.ring.trace_options()).context("cannot trace")?;
    if args.verbose {
        for probe in tracer.probes().iter().filter(|probe| !probe.attached) {
            let reason = probe.reason.as_deref().unwrap_or("no reason given").lines().next().unwrap_or("");
            eprintln!("podproof: without the probe {}: {reason}", probe.name);
        }
    }
    let scope = tracer.open_scope()?;
    let mut session = Session { subject: subject.begin(&scope, &mut output, args)?, scope, output };
    let outcome = session.play(args.follow);
    let ending = match outcome {
        Ok(ending) => ending,
        Err(error) if is_unread(&error) => Ending::Unread,
        Err(error) => return Err(error.context("cannot write the trace")),
    };
    Ok(session.end(ending, args.follow))
}

fn is_unread(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What is traced, once it is in the scope.
#[derive(Debug)]
enum Watched {
    Command(Traced),
    Process(u32),
    Cgroup { id: u64, dir: PathBuf },
}

struct Session {
    scope: Scope,
    output: Output,
    subject: Watched,
}

impl Session {
    /// Shows what comes until there is a reason to end, and then what came until that reason.
    fn play(&mut self, follow: bool) -> Result<Ending> {
        let mut deadline = None;
        let mut n_signals = 0;
        let ending = loop {
            let events = self.scope.take(PERIOD);
            self.output.show(&events)?;
            if self.is_over(follow, events.is_empty())? {
                break Ending::Over;
            }
            let now = interrupt::count();
            if now > n_signals {
                match &self.subject {
                    // Once: whoever asks again wants the end.
                    Watched::Command(traced) if n_signals == 0 && !traced.is_over() => {
                        deadline = pass_on(traced).then(|| Instant::now() + GRACE);
                    }
                    _ => break Ending::Interrupted,
                }
                n_signals = now;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break Ending::Interrupted;
            }
        };
        if let Err(error) = self.scope.fence(FENCE) {
            eprintln!("podproof: the last events may be missing: {error}");
        }
        self.output.show(&self.scope.take(Duration::ZERO))?;
        self.output.finish()?;
        Ok(ending)
    }

    fn is_over(&mut self, follow: bool, quiet: bool) -> Result<bool> {
        Ok(match &mut self.subject {
            Watched::Command(traced) => {
                let over = traced.look().context("wait for the command")?;
                over && (!follow || !self.output.anyone_lives(quiet))
            }
            Watched::Process(tgid) => {
                self.output.has_ended(*tgid)
                    || (quiet && crate::observe::process::state(tgid.cast_signed()).is_none())
            }
            Watched::Cgroup { id, dir } => self.output.is_removed(*id) || (quiet && !dir.exists()),
        })
    }

    /// Says what a reader of the trace must know of its end; the exit status.
    fn end(&mut self, ending: Ending, follow: bool) -> u8 {
        const SIGPIPE: u8 = 128 + Signal::SIGPIPE as u8;
        if ending == Ending::Unread {
            return SIGPIPE;
        }
        let lost = self.scope.lost();
        if lost > 0 {
            let records = Lost(lost).of("record");
            eprintln!("podproof: lost {records}: what the trace does not show may have happened");
        }
        let Watched::Command(traced) = &self.subject else { return exit::PASSED };
        let living = self.output.living();
        if !living.is_empty() {
            let hint = if follow { "" } else { " (--follow traces them to their end)" };
            eprintln!("podproof: still alive: {}{hint}", living.join(", "));
        }
        let interrupted = interrupt::requested().and_then(|signal| u8::try_from(128 + signal).ok());
        traced.exit_code().or(interrupted).unwrap_or(exit::PASSED)
    }
}

/// Gives the signal that came for podproof to the command too, unless the terminal has done so; whether it did.
fn pass_on(traced: &Traced) -> bool {
    let signal = interrupt::requested().and_then(|signal| Signal::try_from(signal).ok());
    match signal {
        Some(Signal::SIGINT) if command::in_foreground() => false,
        Some(signal) => {
            traced.signal(signal);
            true
        }
        None => false,
    }
}
