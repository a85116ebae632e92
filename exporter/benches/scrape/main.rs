//! Measures what a scrape of the exporter costs, by the number of containers, beside Debian's prometheus-node-exporter with its
//! collectors of processes and cgroups; prints records, one JSON object a line.
//!
//! ```text
//! scrape --rounds N --sizes N,N,... --idle-scrapes N --exporter FILE --node-exporter FILE --busybox FILE
//! ```
//!
//! With `--reference` alone it only does the work that tells how fast a machine is, which needs none of this.
//!
//! Both look at the same cgroups and processes, and are scraped in turn. Needs root and cgroup v2, and a machine for itself, which is
//! thrown away afterwards: `cargo xtask bench exporter` runs it in a VM and computes the medians.

#[path = "../../../runtime/benches/runtime/measure.rs"]
#[expect(dead_code, reason = "no command is timed here")]
mod measure;
mod record;
mod reference;
mod server;
mod tree;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::measure::{Res, tell};
use crate::record::{Record, Scrape};
use crate::server::Server;
use crate::tree::Tree;

/// The exporter's name in the records, and where it listens.
const OWN: (&str, &str) = ("podproof-exporter", "127.0.0.1:9478");
/// The same of the other.
const PEER: (&str, &str) = ("node_exporter", "127.0.0.1:9100");

/// Scrapes that are not counted: what they read and translate for the first time is there for all later ones.
const WARM: u32 = 2;
/// Quiet containers, and how often Prometheus asks unless it is told otherwise in most clusters.
const IDLE: (u32, Duration) = (300, Duration::from_secs(15));

/// The command line.
#[derive(Debug, Default)]
struct Options {
    rounds: u32,
    sizes: Vec<u32>,
    idle_scrapes: u32,
    exporter: PathBuf,
    node_exporter: PathBuf,
    busybox: PathBuf,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["--reference"] {
        return measure::exit(reference::tell_all());
    }
    measure::exit(options(&args).and_then(|options| measure(&options)))
}

fn options(args: &[String]) -> Res<Options> {
    let mut options = Options::default();
    for (arg, value) in measure::options(args)? {
        match arg {
            "--rounds" => options.rounds = value.parse()?,
            "--sizes" => options.sizes = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            "--idle-scrapes" => options.idle_scrapes = value.parse()?,
            "--exporter" => options.exporter = value.into(),
            "--node-exporter" => options.node_exporter = value.into(),
            "--busybox" => options.busybox = value.into(),
            _ => return Err(format!("unknown option {arg:?}").into()),
        }
    }
    let programs = [&options.exporter, &options.node_exporter, &options.busybox];
    if options.rounds == 0
        || options.sizes.is_empty()
        || programs.iter().any(|path| path.as_os_str().is_empty())
    {
        return Err("--rounds, --sizes, --exporter, --node-exporter and --busybox are needed".into());
    }
    Ok(options)
}

fn measure(options: &Options) -> Res<()> {
    let measure::Machine { kernel, cpu, n_cpus } = measure::machine()?;
    tell(&Record::Machine { kernel, cpu, n_cpus })?;
    // Nobody has done so in a machine that has just booted.
    if !Command::new(&options.busybox).args(["ip", "link", "set", "lo", "up"]).status()?.success() {
        return Err("the loopback interface does not come up".into());
    }
    reference::tell_all()?;
    let mut tree = Tree::new(&options.busybox)?;
    let (idle_size, interval) = IDLE;
    let mut is_idle_done = options.idle_scrapes == 0;
    for size in &options.sizes {
        if !is_idle_done && *size >= idle_size {
            tree.grow(idle_size)?;
            idle(options, idle_size, interval)?;
            is_idle_done = true;
        }
        tree.grow(*size)?;
        one_size(options, *size)?;
    }
    reference::tell_all()
}

fn own(options: &Options) -> Res<Server> {
    let mut command = Command::new(&options.exporter);
    // Room for the largest tree.
    command.args(["--map.max-containers", "16384", "--series.max", "2000000"]);
    command.args(["--log.level", "warn", "--web.listen-address", OWN.1]);
    Server::start(&mut command, OWN.0, OWN.1)
}

fn peer(options: &Options) -> Res<Server> {
    let mut command = Command::new(&options.node_exporter);
    command.args(["--log.level=error", "--collector.disable-defaults", "--web.disable-exporter-metrics"]);
    command
        .args(["--collector.processes", "--collector.cgroups"])
        .arg(format!("--web.listen-address={}", PEER.1));
    Server::start(&mut command, PEER.0, PEER.1)
}

/// All rounds of both; who begins changes from round to round.
fn one_size(options: &Options, n_containers: u32) -> Res<()> {
    let subjects = [own(options)?, peer(options)?];
    for round in 0..WARM + options.rounds {
        eprintln!("bench: {n_containers} containers, scrape {round}");
        for turn in 0..subjects.len() {
            let subject = &subjects[(turn + round as usize) % subjects.len()];
            let cost = subject.scrape()?;
            if round < WARM {
                continue;
            }
            tell(&Record::Scrape(Scrape {
                subject: subject.name.to_owned(),
                n_containers,
                round: round - WARM,
                wall_ns: cost.wall_ns,
                cpu_ns: cost.cpu_ns,
                n_samples: cost.n_samples,
                n_bytes: cost.n_bytes,
            }))?;
        }
    }
    for subject in &subjects {
        let (resident_bytes, peak_bytes) = subject.memory()?;
        let subject = subject.name.to_owned();
        tell(&Record::Memory { subject, n_containers, resident_bytes, peak_bytes })?;
    }
    Ok(())
}

/// What the exporter takes while nothing happens but scrapes.
fn idle(options: &Options, n_containers: u32, interval: Duration) -> Res<()> {
    eprintln!("bench: {} scrapes, one each {interval:?}", options.idle_scrapes);
    let server = own(options)?;
    server.scrape()?;
    let (began, before) = (Instant::now(), server.cpu_ns()?);
    for n in 1..=options.idle_scrapes {
        server::rest((interval * n).saturating_sub(began.elapsed()))?;
        server.scrape()?;
    }
    let cpu_ns = server.cpu_ns()? - before;
    let wall_ns = u64::try_from(began.elapsed().as_nanos())?;
    let (n_scrapes, interval_s) = (options.idle_scrapes, interval.as_secs());
    tell(&Record::Idle { n_containers, n_scrapes, interval_s, wall_ns, cpu_ns })
}
