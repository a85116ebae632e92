//! Other tools as subjects: started and stopped around the blocks, their output read as it comes.

use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Res;
use crate::ops;
use crate::record::{Case, ProgramRuns, Subject};
use crate::stats;
use crate::worker::Worker;

/// How long a tool may take to attach, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a tool that is not attached yet is given something to see.
const RETRY: Duration = Duration::from_millis(20);
/// How often a tool is asked to end.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Executions at a time while a tool is waited for that writes only full buffers.
const BURST: u64 = 50;

/// The four events. The probe of `oom_score_adj_update` tells that its neighbours are attached: nothing raises it but a
/// write to a file of /proc. It stands at both ends, since bpftrace attaches some kinds of probes in reverse.
const COUNT: &str = r#"
tracepoint:oom:oom_score_adj_update { printf("attached\n"); }
tracepoint:task:task_newtask { @new = count(); }
tracepoint:sched:sched_process_exec { @exec = count(); }
tracepoint:sched:sched_process_exit { @exit = count(); }
tracepoint:signal:signal_generate /args->sig == 17/ { @sigchld = count(); }
tracepoint:oom:oom_score_adj_update { printf("attached\n"); }
"#;
const PRINTF: &str = r#"
tracepoint:oom:oom_score_adj_update { printf("attached\n"); }
tracepoint:task:task_newtask { printf("new %d %s %lx\n", args->pid, args->comm, args->clone_flags); }
tracepoint:sched:sched_process_exec { printf("exec %d %s\n", pid, str(args->filename)); }
tracepoint:sched:sched_process_exit { printf("exit %d %s\n", pid, comm); }
tracepoint:signal:signal_generate /args->sig == 17/ { printf("sigchld %d\n", args->pid); }
tracepoint:oom:oom_score_adj_update { printf("attached\n"); }
"#;

/// What has to be known of a program that watches.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    /// What its BPF programs are attached to, in the order in which they are loaded.
    programs: &'static [&'static str],
    /// Ends it, also when sent more than once.
    end: Signal,
}

/// It misses a signal that comes while it handles an event, so one may not be enough; a second SIGINT would keep it from
/// printing its counts.
const BPFTRACE: Kind = Kind {
    name: "bpftrace",
    programs: &[
        "oom_score_adj_update",
        "task_newtask",
        "sched_process_exec",
        "sched_process_exit",
        "signal_generate",
        "oom_score_adj_update",
    ],
    end: Signal::SIGTERM,
};
const EXECSNOOP: Kind =
    Kind { name: "execsnoop", programs: &["sys_enter_execve", "sys_exit_execve"], end: Signal::SIGINT };
const EXITSNOOP: Kind = Kind { name: "exitsnoop", programs: &["sched_process_exit"], end: Signal::SIGINT };
const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";

/// A program of somebody else's, and the folders of its libraries.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) path: PathBuf,
    pub(crate) libraries: Option<PathBuf>,
}

/// The tools that were given on the command line.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    pub(crate) bpftrace: Option<Tool>,
    pub(crate) execsnoop: Option<Tool>,
    pub(crate) exitsnoop: Option<Tool>,
}

/// What a tool has written so far.
#[derive(Debug, Default)]
struct Said {
    /// Complete lines that are neither of the following.
    lines: u64,
    /// Lines of new tasks in what bpftrace prints.
    new_tasks: u64,
    /// Marks that it is attached.
    attached: u64,
    /// Events that it reports as lost.
    lost: u64,
    /// The count of new tasks in what bpftrace prints at its end.
    counted: Option<u64>,
    /// The last line of its standard error.
    complaint: Option<String>,
    /// Streams that have come to their end.
    closed: u32,
}

#[derive(Debug, Default)]
struct Output {
    said: Mutex<Said>,
    changed: Condvar,
}

impl Output {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_line(&self, line: &str, is_error: bool) {
        let mut said = self.said();
        if let Some(rest) = line.strip_prefix("Lost ") {
            let lost = rest.split(' ').next().and_then(|n| n.parse::<u64>().ok());
            said.lost += lost.unwrap_or(0);
        } else if is_error {
            said.complaint = Some(line.to_owned());
        } else if line == "attached" {
            said.attached += 1;
            self.changed.notify_all();
        } else if let Some(count) = line.strip_prefix("@new: ") {
            said.counted = count.parse().ok();
        } else {
            said.lines += 1;
            said.new_tasks += u64::from(line.starts_with("new "));
        }
    }
}

/// One process of a tool.
#[derive(Debug)]
struct Process {
    child: Child,
    kind: &'static Kind,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    fn start(kind: &'static Kind, tool: &Option<Tool>, args: &[&str]) -> Res<Self> {
        let tool = tool.as_ref().ok_or_else(|| format!("{} was not given", kind.name))?;
        let mut command = ops::tied_command(&tool.path);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(dir) = &tool.libraries {
            command.env("LD_LIBRARY_PATH", dir);
        }
        let mut child =
            command.spawn().map_err(|error| format!("cannot run {}: {error}", tool.path.display()))?;
        let output = Arc::new(Output::default());
        let mut readers = vec![];
        if let Some(stream) = child.stdout.take() {
            readers.push(read(stream, false, Arc::clone(&output)));
        }
        if let Some(stream) = child.stderr.take() {
            readers.push(read(stream, true, Arc::clone(&output)));
        }
        Ok(Self { child, kind, output, readers })
    }

    /// Waits until `done`, for at most `timeout`; false when that has not happened, or no longer can.
    fn wait(&self, timeout: Duration, done: impl Fn(&Said) -> bool) -> bool {
        let pending = |said: &mut Said| !done(said) && said.closed < 2;
        let (said, _timed_out) = self
            .output
            .changed
            .wait_timeout_while(self.output.said(), timeout, pending)
            .unwrap_or_else(PoisonError::into_inner);
        done(&said)
    }

    fn has_ended(&self) -> bool {
        self.output.said().closed == 2
    }

    fn not_attached(&self) -> Box<dyn Error> {
        let said = self.output.said();
        let what = if said.closed == 2 { "ended" } else { "went on for too long" };
        let why = said.complaint.as_deref().unwrap_or("it said nothing");
        format!("{} {what} before it was attached: {why}", self.kind.name).into()
    }

    /// Asks it to end and waits until it has.
    fn stop(mut self) -> Res<Said> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let deadline = Instant::now() + PATIENCE;
        let has_ended = loop {
            kill(pid, self.kind.end)?;
            if self.wait(ASK_AGAIN, |said| said.closed == 2) {
                break true;
            }
            if Instant::now() >= deadline {
                break false;
            }
        };
        if !has_ended {
            self.child.kill()?;
        }
        self.child.wait()?;
        for reader in self.readers.drain(..) {
            if reader.join().is_err() {
                return Err(format!("the reader of {}'s output panicked", self.kind.name).into());
            }
        }
        if !has_ended {
            let (name, end) = (self.kind.name, self.kind.end);
            return Err(format!("{name} did not end within {} s of {end}", PATIENCE.as_secs()).into());
        }
        Ok(std::mem::take(&mut *self.output.said()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it was stopped already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn read(stream: impl Read + Send + 'static, is_error: bool, output: Arc<Output>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::with_capacity(1 << 16, stream);
        let mut line = vec![];
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line);
            if !text.trim().is_empty() {
                output.take_line(text.trim(), is_error);
            }
            line.clear();
        }
        output.said().closed += 1;
        output.changed.notify_all();
    })
}

/// A subject's processes, attached.
#[derive(Debug)]
pub(crate) struct Peer {
    subject: Subject,
    processes: Vec<Process>,
}

/// What a tool has to have seen: the operations of the blocks that it watched.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) tasks: u64,
    pub(crate) execs: u64,
}

impl Done {
    pub(crate) fn add(&mut self, case: Case, ops: u64) {
        match case {
            Case::ForkExitWait | Case::Clone3FiveNamespaces => self.tasks += ops,
            Case::VforkExecWait => {
                self.tasks += ops;
                self.execs += ops;
            }
            Case::Getpid | Case::Setns | Case::Unshare => {}
        }
    }
}

impl Peer {
    /// Starts the tools of a subject and waits until they see what they are to see.
    pub(crate) fn start(subject: Subject, tools: &Tools, worker: &mut Worker) -> Res<Self> {
        let mut peer = Self { subject, processes: vec![] };
        match subject {
            Subject::BpftraceCount | Subject::BpftracePrintf => {
                let script = if subject == Subject::BpftraceCount { COUNT } else { PRINTF };
                let process = Process::start(&BPFTRACE, &tools.bpftrace, &["-e", script])?;
                await_bpftrace(&process)?;
                peer.processes.push(process);
            }
            Subject::ExecsnoopExitsnoop => {
                for (kind, tool) in [(&EXECSNOOP, &tools.execsnoop), (&EXITSNOOP, &tools.exitsnoop)] {
                    let process = Process::start(kind, tool, &[])?;
                    await_lines(&process, worker)?;
                    peer.processes.push(process);
                }
            }
            _ => return Err(format!("{subject:?} is no other tool").into()),
        }
        Ok(peer)
    }

    /// Ends the tools and checks that they saw all that was done; how many events they lost.
    pub(crate) fn stop(self, done: &Done) -> Res<u64> {
        let subject = self.subject;
        let said = self.processes.into_iter().map(Process::stop).collect::<Res<Vec<Said>>>()?;
        let lost = said.iter().map(|said| said.lost).sum();
        let check = |what: &str, seen: u64, lost: u64, expected: u64| {
            if seen + lost >= expected {
                return Ok(());
            }
            Err(format!("saw {seen} of {expected} {what} and reports {lost} as lost"))
        };
        match (subject, said.as_slice()) {
            (Subject::BpftraceCount, [said]) => {
                check("new tasks", said.counted.unwrap_or(0), 0, done.tasks)?;
            }
            (Subject::BpftracePrintf, [said]) => {
                check("new tasks", said.new_tasks, said.lost, done.tasks)?;
            }
            (_, [execs, exits]) => {
                check("executions", execs.lines, execs.lost, done.execs)?;
                check("exits", exits.lines, exits.lost, done.tasks)?;
            }
            _ => return Err("no output to check".into()),
        }
        Ok(lost)
    }

    /// What the programs of the tools have done so far, by the kernel's BPF statistics.
    pub(crate) fn programs(&self) -> Res<Vec<ProgramRuns>> {
        let mut all = vec![];
        for process in &self.processes {
            let found = stats::of_process(process.child.id())?;
            let is_known = found.len() == process.kind.programs.len();
            for (idx, (id, (runs, time_ns))) in found.into_iter().enumerate() {
                // Another version may load others: then an id stands for the name.
                let name = if is_known { process.kind.programs[idx].to_owned() } else { id.to_string() };
                all.push(ProgramRuns { name, runs, time_ns });
            }
        }
        Ok(all)
    }
}

/// Raises the event that the scripts mark, until both marks of one event have come.
fn await_bpftrace(process: &Process) -> Res<()> {
    let score = fs::read_to_string(OOM_SCORE_ADJ)?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && !process.has_ended() {
        let before = process.output.said().attached;
        fs::write(OOM_SCORE_ADJ, score.trim())?;
        if process.wait(RETRY, |said| said.attached >= before + 2) {
            return Ok(());
        }
    }
    Err(process.not_attached())
}

/// Executes programs until the tool has written of some.
fn await_lines(process: &Process, worker: &mut Worker) -> Res<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && !process.has_ended() {
        worker.block(Case::VforkExecWait, BURST)?;
        // The first line is the head of the table.
        if process.wait(RETRY, |said| said.lines > 1) {
            return Ok(());
        }
    }
    Err(process.not_attached())
}

/// The path of a tool below the folder of its packages, with their libraries.
pub(crate) fn tool(path: &Path, libraries: Option<&Path>) -> Tool {
    Tool { path: path.to_owned(), libraries: libraries.map(Path::to_owned) }
}
