//! The worker: a process with one thread, which is this program started again, and does what it is told line by line.
//!
//! ```text
//! block CASE OPS  ->  nanoseconds that OPS operations took, after some that are not timed
//! storm MS        ->  forks within so many milliseconds
//! ```

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Res;
use crate::ops::{self, Operations};
use crate::record::Case;

/// The first word of its command line.
pub(crate) const WORD: &str = "worker";
/// Operations that are not timed, as a share of those that are: one in so many.
const WARM_UP: u64 = 8;

/// Operations before a block of `ops` that are not timed.
pub(crate) fn warm_up(ops: u64) -> u64 {
    ops.div_ceil(WARM_UP)
}

/// Binds the calling thread, and what it starts, to one CPU.
pub(crate) fn pin(cpu: usize) -> Res<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The worker's main: arguments are the program to execute and the CPU to stay on, if any.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &[String]) -> Res<()> {
    let [program, rest @ ..] = args else { return Err("no program".into()) };
    if let [cpu] = rest {
        pin(cpu.parse()?)?;
    }
    let mut operations = Operations::new(Path::new(program))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = match line.split(' ').collect::<Vec<_>>()[..] {
            ["block", case, ops] => block(&mut operations, serde_json::from_str(case)?, ops.parse()?)?,
            ["storm", ms] => storm(Duration::from_millis(ms.parse()?))?,
            _ => return Err(format!("not a command: {line:?}").into()),
        };
        println!("{answer}");
    }
    Ok(())
}

fn block(operations: &mut Operations, case: Case, ops: u64) -> Res<u128> {
    operations.repeat(case, warm_up(ops))?;
    let start = Instant::now();
    operations.repeat(case, ops)?;
    Ok(start.elapsed().as_nanos())
}

fn storm(length: Duration) -> Res<u128> {
    let start = Instant::now();
    let mut forks = 0;
    while start.elapsed() < length {
        ops::fork_exit_wait()?;
        forks += 1;
    }
    Ok(forks)
}

/// A worker that runs; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts one; with `cpu` it and its children stay there.
    pub(crate) fn start(program: &Path, cpu: Option<usize>) -> Res<Self> {
        let exe: PathBuf = std::env::current_exe()?;
        let mut child = ops::tied_command(exe)
            .arg(WORD)
            .arg(program)
            .args(cpu.map(|cpu| cpu.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from the worker")?);
        Ok(Self { child, orders, answers })
    }

    pub(crate) fn tgid(&self) -> u32 {
        self.child.id()
    }

    /// Nanoseconds that so many operations took.
    pub(crate) fn block(&mut self, case: Case, ops: u64) -> Res<u64> {
        self.order(&format!("block {} {ops}", serde_json::to_string(&case)?))?;
        self.answer()
    }

    /// Begins to fork as fast as it can; [`Worker::answer`] has the number of forks.
    pub(crate) fn begin_storm(&mut self, length: Duration) -> Res<()> {
        self.order(&format!("storm {}", length.as_millis()))
    }

    pub(crate) fn answer(&mut self) -> Res<u64> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim().parse().map_err(|_no_number| "the worker ended before its time")?)
    }

    fn order(&mut self, line: &str) -> Res<()> {
        let orders = self.orders.as_mut().ok_or("the worker takes no orders")?;
        Ok(writeln!(orders, "{line}")?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input is the end of the worker.
        self.orders = None;
        if let Err(error) = self.child.wait() {
            eprintln!("warning: cannot reap the worker: {error}");
        }
    }
}
