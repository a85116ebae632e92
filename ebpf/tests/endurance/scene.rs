//! The children of the tests. Each says `ready`, waits for a byte (or for the end of its input, which ends it), and says a
//! number of lines when it is done.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use podproof_ebpf::{TraceOptions, Tracer};

use crate::sys::fork_exit_wait;
use crate::{Res, bpftrace, chain, equal};

/// The first word of their command line.
pub(crate) const WORD: &str = "scene";

const READY: &[u8] = b"ready\n";

/// The child's side.
pub(crate) fn play(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["noop"] => Ok(()),
        ["storm", ms] => storm(ms),
        ["mixed"] => mixed(),
        ["tracer"] => tracer(),
        ["bpftrace", program, script] => bpftrace::become_it(program, script),
        _ => Err(format!("no scene {words:?}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scene {words:?}: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// False when nobody wants it to begin.
fn wait_for_go() -> Res<bool> {
    let mut stdout = std::io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    Ok(std::io::stdin().read(&mut [0])? == 1)
}

/// Forks as fast as it can for so many milliseconds; says how often.
fn storm(ms: &str) -> Res<()> {
    let length = Duration::from_millis(ms.parse()?);
    if !wait_for_go()? {
        return Ok(());
    }
    let start = Instant::now();
    let mut forks = 0u64;
    while start.elapsed() < length {
        fork_exit_wait()?;
        forks += 1;
    }
    println!("{forks}");
    Ok(())
}

/// What the scene `mixed` does.
pub(crate) const FORKS: u64 = 300;
pub(crate) const THREADS: u64 = 60;
pub(crate) const EXECS: u64 = 40;

fn mixed() -> Res<()> {
    if !wait_for_go()? {
        return Ok(());
    }
    for _ in 0..FORKS {
        fork_exit_wait()?;
    }
    for _ in 0..THREADS {
        std::thread::spawn(|| ()).join().map_err(|_panic| "a thread panicked")?;
    }
    for _ in 0..EXECS {
        let status = Command::new(std::env::current_exe()?).args([WORD, "noop"]).status()?;
        equal("it ends well", &status.success(), &true)?;
    }
    Ok(())
}

/// Loads the probes, watches itself, and waits to be killed.
fn tracer() -> Res<()> {
    let tracer = Tracer::start(&TraceOptions { counters: true, ..TraceOptions::default() })?;
    let scope = tracer.open_scope()?;
    scope.add_thread_group(std::process::id())?;
    wait_for_go().map(drop)
}

/// A scene that runs; killed when the test gives up.
#[derive(Debug)]
pub(crate) struct Scene {
    child: Child,
}

impl Scene {
    /// Starts one, which is ready.
    pub(crate) fn start(words: &[&str]) -> Res<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(WORD).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut scene = Self { child: command.spawn()? };
        let mut word = [0; READY.len()];
        scene.child.stdout.as_mut().ok_or("no standard output")?.read_exact(&mut word)?;
        equal("first word of the scene", &word.as_slice(), &READY)?;
        Ok(scene)
    }

    pub(crate) fn tgid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it begin.
    pub(crate) fn go(&mut self) -> Res<()> {
        Ok(self.child.stdin.as_mut().ok_or("no standard input")?.write_all(b"!")?)
    }

    /// Waits until it has ended well; what it said.
    pub(crate) fn finish(mut self) -> Res<String> {
        let mut said = String::new();
        self.child.stdout.as_mut().ok_or("no standard output")?.read_to_string(&mut said)?;
        let status = self.child.wait()?;
        if status.success() { Ok(said) } else { Err(format!("the scene ended with {status}").into()) }
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(mut self) -> Res<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
