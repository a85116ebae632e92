//! Measures what the probes cost, and what other tools cost that watch the same; prints records, one JSON object a line.
//!
//! ```text
//! probes --dir DIR [--quick] [--bpftrace FILE [--bpftrace-libraries DIR]]
//!        [--libbpf-tools DIR [--libbpf-tools-libraries DIR]]
//! ```
//!
//! A worker on one CPU does blocks of operations and times them; this process, the reader of the probes and other tools
//! stay on another. Blocks come as alone, watched, watched, alone, so that a drift of the machine meets both alike; the
//! two watched ones are each paired with the neighbour that was alone. Needs root, two CPUs and a build with probes.
//! `cargo xtask bench probes` builds and runs it and computes the medians.

mod ops;
mod own;
mod peer;
mod record;
mod ring;
mod stats;
mod worker;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare};
use nix::unistd::Pid;

use crate::own::Own;
use crate::peer::{Done, Peer, Tools};
use crate::record::{Case, ProgramRuns, Record, Subject};
use crate::worker::Worker;

/// Any error of a measurement.
pub(crate) type Res<T> = Result<T, Box<dyn Error>>;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Times that every subject has its turn.
    rounds: u32,
    /// Alone, watched, watched, alone: so often in a turn of podproof's modes, which are switched in milliseconds.
    cycles: u32,
    /// Blocks of each case between two switches of other tools, which take a second to start.
    passes: usize,
    /// What a block is to take.
    block: Duration,
    /// Readings of the statistics of each case.
    slices: u32,
    /// Blocks between two of them: a task is freed a grace period after its end, and that is to fall between them too.
    slice_blocks: u64,
    storm: Duration,
    storms: u32,
}

const FULL: Extent = Extent {
    rounds: 20,
    cycles: 12,
    passes: 6,
    block: Duration::from_millis(5),
    slices: 9,
    slice_blocks: 8,
    storm: Duration::from_secs(2),
    storms: 3,
};
const QUICK: Extent = Extent {
    rounds: 1,
    cycles: 1,
    passes: 1,
    block: Duration::from_millis(1),
    slices: 1,
    slice_blocks: 10,
    storm: Duration::from_millis(200),
    storms: 1,
};

/// The command line.
#[derive(Debug, Default)]
struct Options {
    dir: PathBuf,
    is_quick: bool,
    tools: Tools,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, rest @ ..] = args.as_slice()
        && word == worker::WORD
    {
        return worker::main(rest);
    }
    match options(&args).and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            eprintln!("error: {text}");
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Res<Options> {
    let mut options = Options { dir: std::env::temp_dir(), ..Options::default() };
    let mut values: BTreeMap<&str, PathBuf> = BTreeMap::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // cargo bench adds it.
            "--bench" => {}
            "--quick" => options.is_quick = true,
            "--dir"
            | "--bpftrace"
            | "--bpftrace-libraries"
            | "--libbpf-tools"
            | "--libbpf-tools-libraries" => {
                let value = args.next().ok_or_else(|| format!("{arg} needs a value"))?;
                values.insert(arg.trim_start_matches('-'), PathBuf::from(value));
            }
            _ => return Err(format!("unknown option {arg:?}").into()),
        }
    }
    let value = |name: &str| values.get(name).map(PathBuf::as_path);
    if let Some(dir) = value("dir") {
        options.dir = dir.to_owned();
    }
    options.tools.bpftrace = value("bpftrace").map(|path| peer::tool(path, value("bpftrace-libraries")));
    if let Some(dir) = value("libbpf-tools") {
        let libraries = value("libbpf-tools-libraries");
        options.tools.execsnoop = Some(peer::tool(&dir.join("execsnoop"), libraries));
        options.tools.exitsnoop = Some(peer::tool(&dir.join("exitsnoop"), libraries));
    }
    Ok(options)
}

/// Everything, in order.
fn measure(options: &Options) -> Res<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root: it loads BPF programs and makes namespaces".into());
    }
    stats::ensure_off()?;
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| all.is_set(*cpu).unwrap_or(false)).collect();
    let [own_cpu, .., worker_cpu] = cpus[..] else {
        return Err(format!("needs two CPUs, one of them for the worker alone; may use {cpus:?}").into());
    };
    worker::pin(own_cpu)?;
    mount_tracefs()?;
    print(&Record::Machine {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        cpu: cpu_model(),
        n_cpus: cpus.len(),
        worker_cpu,
    })?;

    let extent = if options.is_quick { QUICK } else { FULL };
    let program = ExitProgram::write(&options.dir)?;
    let worker = Worker::start(&program.path, Some(worker_cpu))?;
    let mut bench = Bench::calibrate(worker, extent, &options.tools)?;
    for round in 1..=extent.rounds {
        eprintln!("round {round} of {}", extent.rounds);
        bench.control()?;
        for subject in Subject::OWN {
            bench.own(subject)?;
        }
        for subject in Subject::PEERS {
            bench.peer(subject)?;
        }
    }
    for (subject, events) in &bench.lost {
        print(&Record::Lost { subject: *subject, events: *events })?;
    }
    eprintln!("statistics of the programs");
    bench.programs()?;
    drop(bench);

    // The reader, the workers and the rest share the machine as they do anywhere.
    sched_setaffinity(Pid::from_raw(0), &all)?;
    for n in 1..=extent.storms {
        eprintln!("storm {n} of {}", extent.storms);
        for size in ring::SIZES {
            print(&ring::storm(&program.path, size, extent.storm)?)?;
        }
    }
    Ok(())
}

fn print(record: &Record) -> Res<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, record)?;
    Ok(out.write_all(b"\n")?)
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// The other tools look tracepoints up in tracefs, which not every machine has mounted: mounted for this process and its
/// children only.
fn mount_tracefs() -> Res<()> {
    const DIR: &str = "/sys/kernel/tracing";
    if Path::new(DIR).join("events").exists() {
        return Ok(());
    }
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    if let Err(error) = mount(Some("tracefs"), DIR, Some("tracefs"), MsFlags::empty(), none) {
        eprintln!("warning: cannot mount tracefs at {DIR}, which other tools need: {error}");
    }
    Ok(())
}

/// The file that the worker executes; removed on drop.
struct ExitProgram {
    path: PathBuf,
}

impl ExitProgram {
    fn write(dir: &Path) -> Res<Self> {
        let path = dir.join(format!("exit-{}", std::process::id()));
        fs::write(&path, ops::EXIT_PROGRAM)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for ExitProgram {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            eprintln!("warning: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Nanoseconds of blocks, by case.
type Blocks = [Vec<u64>; Case::ALL.len()];

/// The worker and what is known of it and of the subjects.
struct Bench<'a> {
    worker: Worker,
    extent: Extent,
    tools: &'a Tools,
    /// Operations of a block, by case.
    ops: [u64; Case::ALL.len()],
    own: BTreeMap<Subject, Own>,
    lost: BTreeMap<Subject, u64>,
    /// Subjects that failed once; they are left alone from then on.
    unavailable: Vec<Subject>,
}

impl<'a> Bench<'a> {
    /// Finds out how many operations of each case fill a block.
    fn calibrate(mut worker: Worker, extent: Extent, tools: &'a Tools) -> Res<Self> {
        let block_ns = u64::try_from(extent.block.as_nanos())?;
        let mut ops = [1; Case::ALL.len()];
        for (case, ops) in Case::ALL.into_iter().zip(&mut ops) {
            loop {
                let ns = worker.block(case, *ops)?;
                if ns >= block_ns / 2 {
                    *ops = (*ops * block_ns / ns).max(1);
                    break;
                }
                *ops *= 2;
            }
        }
        Ok(Self {
            worker,
            extent,
            tools,
            ops,
            own: BTreeMap::new(),
            lost: BTreeMap::new(),
            unavailable: vec![],
        })
    }

    /// So many blocks of every case.
    fn blocks(&mut self, passes: usize) -> Res<Blocks> {
        let mut blocks = Blocks::default();
        for _ in 0..passes {
            for ((case, ops), times) in Case::ALL.into_iter().zip(self.ops).zip(&mut blocks) {
                times.push(self.worker.block(case, ops)?);
            }
        }
        Ok(blocks)
    }

    fn print_pairs(&self, subject: Subject, watched: &Blocks, alone: &Blocks) -> Res<()> {
        for (idx, case) in Case::ALL.into_iter().enumerate() {
            for (&watched_ns, &alone_ns) in watched[idx].iter().zip(&alone[idx]) {
                print(&Record::Pair { subject, case, ops: self.ops[idx], watched_ns, alone_ns })?;
            }
        }
        Ok(())
    }

    /// Nothing in the place of a subject.
    fn control(&mut self) -> Res<()> {
        for _ in 0..self.extent.cycles {
            let [first, second, third, fourth] =
                [self.blocks(1)?, self.blocks(1)?, self.blocks(1)?, self.blocks(1)?];
            self.print_pairs(Subject::Control, &second, &first)?;
            self.print_pairs(Subject::Control, &third, &fourth)?;
        }
        Ok(())
    }

    /// A turn of a mode of the probes.
    fn own(&mut self, subject: Subject) -> Res<()> {
        let mut own = self.take_own(subject)?;
        for _ in 0..self.extent.cycles {
            let first = self.blocks(1)?;
            own.on(self.worker.tgid())?;
            let [second, third] = [self.blocks(1)?, self.blocks(1)?];
            *self.lost.entry(subject).or_default() += own.off()?;
            let fourth = self.blocks(1)?;
            self.print_pairs(subject, &second, &first)?;
            self.print_pairs(subject, &third, &fourth)?;
        }
        self.own.insert(subject, own);
        Ok(())
    }

    fn take_own(&mut self, subject: Subject) -> Res<Own> {
        if let Some(own) = self.own.remove(&subject) {
            return Ok(own);
        }
        let options = own::options(subject).ok_or("not a mode of the probes")?;
        Own::load(options)
    }

    /// A turn of another tool; one that does not work is noted with the reason.
    fn peer(&mut self, subject: Subject) -> Res<()> {
        if self.unavailable.contains(&subject) {
            return Ok(());
        }
        let passes = self.extent.passes;
        let first = self.blocks(passes)?;
        let peer = match Peer::start(subject, self.tools, &mut self.worker) {
            Ok(peer) => peer,
            Err(error) => return self.give_up(subject, &*error),
        };
        let [second, third] = [self.blocks(passes)?, self.blocks(passes)?];
        let stopped = peer.stop(&self.done(2 * passes as u64));
        let fourth = self.blocks(passes)?;
        match stopped {
            Ok(lost) => *self.lost.entry(subject).or_default() += lost,
            Err(error) => return self.give_up(subject, &*error),
        }
        self.print_pairs(subject, &second, &first)?;
        self.print_pairs(subject, &third, &fourth)
    }

    fn done(&self, times: u64) -> Done {
        let mut done = Done::default();
        for (case, ops) in Case::ALL.into_iter().zip(self.ops) {
            done.add(case, ops * times);
        }
        done
    }

    fn give_up(&mut self, subject: Subject, error: &dyn Error) -> Res<()> {
        eprintln!("{subject:?}: {error}");
        self.unavailable.push(subject);
        print(&Record::Unavailable { subject, reason: error.to_string() })
    }

    /// What the programs of each subject did, by the kernel's statistics, which cost time themselves: nothing is timed here.
    fn programs(&mut self) -> Res<()> {
        let _statistics = stats::on()?;
        for subject in Subject::OWN {
            let mut own = self.take_own(subject)?;
            own.on(self.worker.tgid())?;
            self.slices(subject, || Ok(own.programs()))?;
            own.off()?;
        }
        for subject in Subject::PEERS {
            if self.unavailable.contains(&subject) {
                continue;
            }
            let peer = Peer::start(subject, self.tools, &mut self.worker)?;
            self.slices(subject, || peer.programs())?;
            peer.stop(&self.done(u64::from(self.extent.slices) * self.extent.slice_blocks))?;
        }
        Ok(())
    }

    fn slices(&mut self, subject: Subject, read: impl Fn() -> Res<Vec<ProgramRuns>>) -> Res<()> {
        for _ in 0..self.extent.slices {
            for (case, ops) in Case::ALL.into_iter().zip(self.ops) {
                let ops = ops * self.extent.slice_blocks;
                let before = read()?;
                self.worker.block(case, ops)?;
                let mut programs = read()?;
                for (program, before) in programs.iter_mut().zip(&before) {
                    program.runs -= before.runs;
                    program.time_ns -= before.time_ns;
                }
                programs.retain(|program| program.runs > 0);
                print(&Record::Programs { subject, case, ops: ops + worker::warm_up(ops), programs })?;
            }
        }
        Ok(())
    }
}
