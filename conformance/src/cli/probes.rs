//! `podproof probes`: the programs, what each is for, and what this kernel makes of them.

mod markdown;
mod text;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use podproof_ebpf::counters::Counter;
use podproof_ebpf::{
    CounterStatus, LoadError, ProbeStatus, SIGNALS, Signal, SignalStatus, TraceOptions, Tracer,
};
use serde::Serialize;

use crate::chain::chain;
use crate::duration::millis;
use crate::interrupt;
use crate::report::exit;

const SCHEMA: u32 = 1;

const HELP: &str = "\
Without --check nothing is loaded, and no privileges are needed: every program with its hook, its tier (1 BTF tracepoints,
2 system calls, 3 fentry and fexit), whether it is required, what it gives and what takes its place; and every signal and
counter with the programs that it can come from.

Exit status: 0 when all required programs are attached; 1 when one is refused; 2 wrong usage or set-up (root, a build with
probes).";

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people.
    Text,
    /// One JSON document (docs/probes.md).
    Json,
    /// The tables of docs/probes.md; without --check only.
    Markdown,
}

/// Lists the programs of the probes; with --check, what this kernel makes of each.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ProbesArgs {
    /// Load and attach every program, each on its own, and tell what became of it (needs root).
    #[arg(long)]
    check: bool,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Turn the kernel's BPF statistics on for the time, so that runs and their time are counted.
    #[arg(long, requires = "check")]
    stats: bool,
    /// Leave the programs attached for so long, or until Ctrl-C, before they are reported.
    #[arg(long = "for", value_name = "SECONDS", requires = "check", default_value_t = 0)]
    seconds: u64,
}

pub(super) fn run(args: &ProbesArgs) -> Result<u8> {
    if !args.check {
        let all = Listed::all();
        write(&match args.format {
            Format::Text => text::listed(&all),
            Format::Json => json(&all)?,
            Format::Markdown => markdown::tables(&all),
        })?;
        return Ok(exit::PASSED);
    }
    ensure!(args.format != Format::Markdown, "--format markdown is for the list, without --check");
    ensure!(
        nix::unistd::geteuid().is_root(),
        "attaching the probes needs root (eBPF): run it as root, or in a VM with `cargo xtask vm`; without \
         --check they are only listed"
    );
    // Before the reader of the events starts its thread.
    interrupt::install().context("take SIGINT, SIGTERM and SIGHUP")?;
    let checked = check(args)?;
    write(&match args.format {
        Format::Json => json(&checked)?,
        _ => text::checked(&checked),
    })?;
    match checked.error {
        None => Ok(exit::PASSED),
        Some(error) => {
            eprintln!("podproof: {error}");
            Ok(exit::FAILED)
        }
    }
}

/// One program, as it is before any kernel has seen it.
#[derive(Debug, Serialize)]
struct ListedProgram {
    name: String,
    hook: String,
    tier: u8,
    mechanism: String,
    required: bool,
    on_demand: bool,
    on_request: bool,
    gives: String,
    fallback: String,
}

#[derive(Debug, Serialize)]
struct ListedSource {
    source: Vec<String>,
    tier: u8,
    lost: &'static str,
}

#[derive(Debug, Serialize)]
struct ListedSignal {
    name: &'static str,
    gives: &'static str,
    sources: Vec<ListedSource>,
}

/// The counters that one program feeds.
#[derive(Debug, Serialize)]
struct ListedCounters {
    source: String,
    tier: u8,
    names: Vec<&'static str>,
}

/// What there is, on any kernel.
#[derive(Debug, Serialize)]
struct Listed {
    schema: u32,
    podproof: &'static str,
    probes: Vec<ListedProgram>,
    signals: Vec<ListedSignal>,
    counters: Vec<ListedCounters>,
}

impl Listed {
    fn all() -> Self {
        let programs = podproof_ebpf::programs();
        let mut by_program: BTreeMap<&str, Vec<&'static str>> = BTreeMap::new();
        for counter in Counter::ALL {
            by_program.entry(counter.programs()[0]).or_default().push(counter.name());
        }
        let counters = programs.iter().filter_map(|program| {
            Some(ListedCounters {
                source: format!("{}/{}", program.mechanism, program.hook),
                tier: program.tier,
                names: by_program.remove(program.name.as_str())?,
            })
        });
        Self {
            schema: SCHEMA,
            podproof: env!("CARGO_PKG_VERSION"),
            counters: counters.collect(),
            signals: SIGNALS.iter().map(listed_signal).collect(),
            probes: programs.into_iter().map(listed_program).collect(),
        }
    }
}

fn listed_program(program: ProbeStatus) -> ListedProgram {
    ListedProgram {
        name: program.name,
        hook: program.hook,
        tier: program.tier,
        mechanism: program.mechanism,
        required: program.required,
        on_demand: program.on_demand,
        on_request: program.on_request,
        gives: program.gives,
        fallback: program.fallback,
    }
}

fn listed_signal(signal: &Signal) -> ListedSignal {
    let sources = signal.sources.iter();
    ListedSignal {
        name: signal.name,
        gives: signal.gives,
        sources: sources
            .map(|source| ListedSource { source: source.hooks(), tier: source.tier(), lost: source.lost })
            .collect(),
    }
}

/// What the running kernel makes of it.
#[derive(Debug, Serialize)]
struct Checked {
    schema: u32,
    podproof: &'static str,
    /// Release, as uname(2) has it.
    kernel: String,
    /// Whether the kernel counts runs of BPF programs.
    statistics: bool,
    /// How long the programs were left attached before they were reported, milliseconds.
    watched_ms: u64,
    /// Why no tracer can be started here.
    error: Option<String>,
    probes: Vec<ProbeStatus>,
    /// Empty with an error, as `counters`.
    signals: Vec<SignalStatus>,
    counters: Vec<CounterStatus>,
}

fn check(args: &ProbesArgs) -> Result<Checked> {
    let mut checked = Checked {
        schema: SCHEMA,
        podproof: env!("CARGO_PKG_VERSION"),
        kernel: nix::sys::utsname::uname()?.release().to_string_lossy().into_owned(),
        statistics: false,
        watched_ms: 0,
        error: None,
        probes: vec![],
        signals: vec![],
        counters: vec![],
    };
    let options = TraceOptions { counters: true, throttling: true, ..TraceOptions::default() };
    let tracer = match Tracer::start(&options) {
        Ok(tracer) => tracer,
        Err(error @ LoadError::Required { .. }) => {
            checked.error = Some(chain(&error));
            if let LoadError::Required { probes, .. } = error {
                checked.probes = probes;
            }
            return Ok(checked);
        }
        Err(error) => return Err(error).context("cannot attach the probes"),
    };
    if args.stats {
        tracer.enable_statistics().context("turn the kernel's BPF statistics on")?;
    }
    // What is attached on demand is attached while it is open.
    let _scope = tracer.open_scope()?;
    if args.seconds > 0 {
        eprintln!("podproof: the probes are attached for {} s, or until Ctrl-C", args.seconds);
        let start = Instant::now();
        watch(Duration::from_secs(args.seconds))?;
        checked.watched_ms = millis(start.elapsed());
    }
    checked.statistics = tracer.has_statistics();
    checked.probes = tracer.probes();
    checked.signals = tracer.signals();
    checked.counters = tracer.counter_sources();
    Ok(checked)
}

/// Returns after this time, or when a signal asks for the end.
fn watch(time: Duration) -> Result<()> {
    let start = Instant::now();
    while let Some(left) = time.checked_sub(start.elapsed())
        && interrupt::requested().is_none()
    {
        let mut fds: Vec<PollFd<'_>> =
            interrupt::event().into_iter().map(|event| PollFd::new(event, PollFlags::POLLIN)).collect();
        // Rounded up, so that the rest of a millisecond is not spent in a busy loop.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("wait for the end of the time"),
        }
    }
    Ok(())
}

fn json(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn write(text: &str) -> Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("write to standard output")
}
