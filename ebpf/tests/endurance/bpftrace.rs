//! bpftrace beside the probes: both count one cgroup, and must come to the same numbers.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use libtest_mimic::Completion;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::counters::Counter;
use podproof_ebpf::event::EventKind;
use podproof_ebpf::{TraceOptions, Tracer};

use crate::cgroup::Cgroup;
use crate::scene::{EXECS, FORKS, Scene, THREADS, WORD};
use crate::{PATIENCE, Res, equal};

const PROGRAM: &str = "PODPROOF_TEST_BPFTRACE";
const LIBRARIES: &str = "PODPROOF_TEST_BPFTRACE_LIBRARIES";

/// How often it is given something to see until it is attached, and asked to end until it has ended: it misses a signal that
/// comes while it handles an event.
const AGAIN: Duration = Duration::from_millis(200);
const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";

/// The probe of `oom_score_adj_update` tells that its neighbours are attached: nothing raises it but a write to a file of
/// /proc. It stands at both ends, since some versions attach in reverse.
fn script(cgroup: u64) -> String {
    format!(
        r#"
tracepoint:oom:oom_score_adj_update {{ printf("attached\n"); }}
tracepoint:task:task_newtask /cgroup == {cgroup}/ {{ @new = count(); }}
tracepoint:sched:sched_process_exec /cgroup == {cgroup}/ {{ @exec = count(); }}
tracepoint:sched:sched_process_exit /cgroup == {cgroup}/ {{ @exit = count(); }}
tracepoint:signal:signal_generate /args->sig == 17 && cgroup == {cgroup}/ {{ @sigchld = count(); }}
tracepoint:oom:oom_score_adj_update {{ printf("attached\n"); }}
"#
    )
}

/// The scene that becomes bpftrace: it looks tracepoints up in tracefs, which not every machine has mounted, so it is
/// mounted for this process alone.
pub(crate) fn become_it(program: &str, script: &str) -> Res<()> {
    const DIR: &str = "/sys/kernel/tracing";
    if !Path::new(DIR).join("events").exists() {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tracefs"), DIR, Some("tracefs"), MsFlags::empty(), none)
            .map_err(|error| format!("cannot mount tracefs at {DIR}: {error}"))?;
    }
    let mut command = Command::new(program);
    if let Some(libraries) = std::env::var_os(LIBRARIES) {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    Err(command.args(["-e", script]).exec().into())
}

/// bpftrace, attached; killed when the test gives up.
#[derive(Debug)]
struct Bpftrace {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Bpftrace {
    fn start(program: &str, script: &str) -> Res<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([WORD, "bpftrace", program, script]).stdin(Stdio::null()).stdout(Stdio::piped());
        // It complains of limits there, also when all is well.
        command.stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut bpftrace = Self { child, lines };
        bpftrace.wait_until_attached()?;
        Ok(bpftrace)
    }

    /// Raises the event that the script marks, until both marks of one event have come.
    fn wait_until_attached(&mut self) -> Res<()> {
        let score = fs::read_to_string(OOM_SCORE_ADJ)?;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            fs::write(OOM_SCORE_ADJ, score.trim())?;
            let (mut marks, deadline) = (0, Instant::now() + AGAIN);
            while marks < 2 {
                match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                    Ok(line) if line == "attached" => marks += 1,
                    Ok(_line) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => {
                        let mut said = String::new();
                        if let Some(stderr) = &mut self.child.stderr {
                            stderr.read_to_string(&mut said)?;
                        }
                        return Err(format!("bpftrace ended before it was attached: {}", said.trim()).into());
                    }
                }
            }
            if marks == 2 {
                return Ok(());
            }
        }
        Err(format!("bpftrace was not attached within {PATIENCE:?}").into())
    }

    /// Asks it to end; what it counted, by name.
    fn finish(mut self) -> Res<BTreeMap<String, u64>> {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let mut counts = BTreeMap::new();
        let start = Instant::now();
        kill(pid, Signal::SIGTERM)?;
        loop {
            match self.lines.recv_timeout(AGAIN) {
                Ok(line) => {
                    let count = line.strip_prefix('@').and_then(|rest| rest.split_once(": "));
                    if let Some((name, count)) = count {
                        counts.insert(name.to_owned(), count.trim().parse()?);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) if start.elapsed() < PATIENCE => kill(pid, Signal::SIGTERM)?,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("bpftrace did not end within {PATIENCE:?}").into());
                }
            }
        }
        self.child.wait()?;
        Ok(counts)
    }
}

pub(crate) fn same() -> Res<Completion> {
    let Ok(program) = std::env::var(PROGRAM) else {
        return Ok(Completion::ignored_with(format!("no bpftrace: {PROGRAM} is not set")));
    };
    let cgroup = match Cgroup::make("bpftrace") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let tracer = Tracer::start(&TraceOptions { counters: true, ..TraceOptions::default() })?;
    tracer.count_cgroup(cgroup.id)?;
    let scope = tracer.open_scope()?;
    scope.add_cgroup(cgroup.id)?;
    let mut scene = Scene::start(&["mixed"])?;
    cgroup.add(scene.tgid())?;
    let bpftrace = Bpftrace::start(&program, &script(cgroup.id))?;
    scene.go()?;
    scene.finish()?;
    let theirs = bpftrace.finish()?;
    scope.fence(PATIENCE)?;
    equal("lost", &scope.lost(), &0)?;

    let (mut new, mut exec, mut exit, mut sigchld) = (0, 0, 0, 0);
    for event in scope.events() {
        match event.kind {
            EventKind::NewTask { .. } => new += 1,
            EventKind::Exec { .. } => exec += 1,
            EventKind::Exit { .. } => exit += 1,
            EventKind::SignalGenerate { signal: 17, .. } => sigchld += 1,
            _ => {}
        }
    }
    let counted = |new: u64, exec: u64, exit: u64, sigchld: u64| -> BTreeMap<String, u64> {
        let all = [("new", new), ("exec", exec), ("exit", exit), ("sigchld", sigchld)];
        all.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    };
    let children = FORKS + EXECS;
    // The scene itself ends too, and its end is told.
    let done = counted(children + THREADS, EXECS, children + THREADS + 1, children + 1);
    equal("counted by bpftrace", &theirs, &done)?;
    equal("events of the scope", &counted(new, exec, exit, sigchld), &theirs)?;

    let snapshot = tracer.counters()?;
    let counts = snapshot.cgroups.get(&cgroup.id).ok_or("the cgroup is not counted")?;
    let sum = |counters: &[Counter]| counters.iter().map(|counter| counts.get(*counter).unwrap_or(0)).sum();
    let births: u64 = sum(&[Counter::ForksProcess, Counter::ForksThread]);
    equal("new tasks counted by the probes", &births, &theirs["new"])?;
    equal("execs counted by the probes", &sum(&[Counter::Execs]), &theirs["exec"])?;
    // The counters know processes only.
    let ends = sum(&[Counter::ExitsSuccess, Counter::ExitsError, Counter::ExitsSignal]);
    equal("ends counted by the probes", &ends, &(theirs["exit"] - THREADS))?;
    Ok(Completion::Completed)
}
