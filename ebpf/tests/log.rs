//! What the programs log arrives as lines of `tracing`, on this kernel and its verifier.
//!
//! Needs root and an object that was built with the programs' feature `log`, which `cargo xtask test` makes and says so by
//! `PODPROOF_TEST_PROBE_LOG`. Runs as it is inside of a VM when linked statically.

use std::io;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::wait::{WaitPidFlag, waitpid};
use podproof_ebpf::{Scope, TraceOptions, Tracer};
use tracing_subscriber::EnvFilter;

/// How long a line may take to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// Calls that are made until a record is lost.
const MAX_CALLS: u32 = 1_000_000;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("child") {
        return ExitCode::from(3);
    }
    let lines = Arc::<Lines>::default();
    let sink = Arc::clone(&lines);
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("probes=debug"))
        .with_writer(move || Sink(Arc::clone(&sink)))
        .init();
    let for_losses = Arc::clone(&lines);
    let mut arguments = Arguments::from_args();
    // Both read the same lines.
    arguments.test_threads = Some(1);
    let trials = vec![
        trial("the_life_of_a_process_is_logged", move || the_life_of_a_process_is_logged(&lines)),
        trial("a_lost_record_is_logged", move || a_lost_record_is_logged(&for_losses)),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, || match missing() {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => test().map(|()| Completion::Completed),
    })
}

fn missing() -> Option<&'static str> {
    if std::env::var_os("PODPROOF_TEST_PROBE_LOG").is_none() {
        Some("PODPROOF_TEST_PROBE_LOG is not set: not known to be built with programs that log")
    } else if !nix::unistd::geteuid().is_root() {
        Some("needs root")
    } else {
        None
    }
}

/// Everything that was logged so far.
#[derive(Default)]
struct Lines {
    text: Mutex<String>,
    changed: Condvar,
}

impl Lines {
    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for(&self, line: &str) -> Result<(), Failed> {
        let is_missing = |text: &mut String| !text.lines().any(|known| known.ends_with(line));
        let (text, _timed_out) = self
            .changed
            .wait_timeout_while(self.text(), PATIENCE, is_missing)
            .unwrap_or_else(PoisonError::into_inner);
        if text.lines().any(|known| known.ends_with(line)) {
            return Ok(());
        }
        Err(format!("nothing logged {line:?}, but:\n{text}").into())
    }
}

struct Sink(Arc<Lines>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.text().push_str(&String::from_utf8_lossy(bytes));
        self.0.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn watch_ourselves(options: &TraceOptions) -> Result<(Tracer, Scope), Failed> {
    let tracer = Tracer::start(options)?;
    let scope = tracer.open_scope()?;
    scope.add_thread_group(std::process::id())?;
    Ok((tracer, scope))
}

/// Starts this program again, and waits for it; its number.
fn child() -> Result<u32, Failed> {
    let mut child = Command::new("/proc/self/exe").arg("child").spawn()?;
    let tgid = child.id();
    child.wait()?;
    Ok(tgid)
}

fn the_life_of_a_process_is_logged(lines: &Lines) -> Result<(), Failed> {
    let (_tracer, scope) = watch_ourselves(&TraceOptions::default())?;
    let (scope, tgid) = (scope.id(), child()?);
    lines.wait_for(&format!("probes: scope {scope}: {tgid} belongs to it"))?;
    lines.wait_for(&format!("probes: scope {scope}: task {tgid}/{tgid} is born"))?;
    lines.wait_for(&format!("probes: scope {scope}: {tgid} executes a program"))?;
    lines.wait_for(&format!("probes: scope {scope}: task {tgid}/{tgid} ends with status 300"))
}

fn a_lost_record_is_logged(lines: &Lines) -> Result<(), Failed> {
    // A ring of one page has room for some twenty records, and its reader comes every few milliseconds.
    let (_tracer, scope) = watch_ourselves(&TraceOptions { ring_bytes: 4096, ..TraceOptions::default() })?;
    let mut n_calls = 0;
    while scope.lost() == 0 {
        if n_calls == MAX_CALLS {
            return Err(format!("no record of {n_calls} calls was lost").into());
        }
        for _ in 0..1000 {
            // There is no child, and a record of that.
            _ = waitpid(None, Some(WaitPidFlag::WNOHANG));
        }
        n_calls += 1000;
    }
    lines.wait_for(&format!("probes: scope {}: a record is lost", scope.id()))
}
