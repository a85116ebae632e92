//! A container that crashes again and again, and how the kernel sees that: when each of its processes ended, and when the next
//! one executed the program. What the C library and the language do before and after `main` is the program's own time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

use crate::measure::Res;
use crate::node::{CRASHER, DIR, rest};

/// Makes this program the one of the container.
pub(crate) const OPTION: &str = "--crash";

/// How long a run is: its supervisor has done all that follows a start by then.
const RUN: Duration = Duration::from_millis(200);
/// How long one restart may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The events, each with the filter by which only those of the program come. The name of a process is the last part of the path.
const EVENTS: [(&str, &str); 2] =
    [("sched_process_exec", r#"filename == "/bin/crasher""#), ("sched_process_exit", r#"comm == "crasher""#)];

/// What the container does: waits, and fails.
pub(crate) fn program() -> ExitCode {
    match rest(RUN) {
        // No success in any case.
        Ok(()) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The tracing of ends and programs, until it is dropped.
#[derive(Debug)]
pub(crate) struct Tracing {
    dir: PathBuf,
}

impl Tracing {
    /// Starts it, on a clock that counts nanoseconds and is the same for all CPUs.
    pub(crate) fn start() -> Res<Self> {
        assert!(CRASHER.ends_with("/bin/crasher"), "the filters name another program");
        let dir = Path::new(DIR).join("tracing");
        fs::create_dir_all(&dir)?;
        match mount(Some("tracefs"), &dir, Some("tracefs"), MsFlags::empty(), None::<&str>) {
            Ok(()) => {}
            Err(Errno::ENODEV) => return Err("this kernel has no tracefs (CONFIG_FTRACE)".into()),
            Err(errno) => return Err(format!("mount tracefs at {}: {errno}", dir.display()).into()),
        }
        let tracing = Self { dir };
        tracing.set("trace_clock", "mono")?;
        for (event, filter) in EVENTS {
            tracing.set(&format!("events/sched/{event}/filter"), filter)?;
            tracing.set(&format!("events/sched/{event}/enable"), "1")?;
        }
        tracing.set("tracing_on", "1")?;
        Ok(tracing)
    }

    fn set(&self, file: &str, value: &str) -> Res<()> {
        let path = self.dir.join(file);
        fs::write(&path, value)
            .map_err(|error| format!("write {value:?} to {}: {error}", path.display()).into())
    }

    /// Waits until the container has been started again so many times; nanoseconds between an end and the next program. The first
    /// is not counted.
    pub(crate) fn restarts(&self, n: usize) -> Res<Vec<u64>> {
        let (mut have, mut since) = (0, Instant::now());
        loop {
            let times = gaps(&fs::read_to_string(self.dir.join("trace"))?)?;
            if times.len() > n {
                return Ok(times.into_iter().skip(1).take(n).collect());
            }
            if times.len() > have {
                (have, since) = (times.len(), Instant::now());
            }
            if since.elapsed() > DEADLINE {
                return Err(format!("the container was started again {have} times, and not once more").into());
            }
            rest(Duration::from_millis(500))?;
        }
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        for (event, _) in EVENTS {
            drop(self.set(&format!("events/sched/{event}/enable"), "0"));
        }
        let _gone_with_the_machine = nix::mount::umount(&self.dir);
    }
}

/// Nanoseconds between each end and the next program in the text of a trace, in which they take turns.
fn gaps(text: &str) -> Res<Vec<u64>> {
    let (mut gaps, mut end) = (Vec::new(), None);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        // COMM-PID [CPU] FLAGS SECONDS: EVENT: FIELDS
        let (head, event) = EVENTS
            .iter()
            .find_map(|(event, _)| Some((line.split_once(&format!(": {event}: "))?.0, *event)))
            .ok_or_else(|| format!("not an event: {line:?}"))?;
        let time = head.split_whitespace().next_back().and_then(nanoseconds);
        let time = time.ok_or_else(|| format!("no time: {line:?}"))?;
        match (event, end.take()) {
            ("sched_process_exec", Some(end)) => {
                gaps.push(time.checked_sub(end).ok_or("a clock that went back")?);
            }
            ("sched_process_exec", None) => {}
            (_, None) => end = Some(time),
            (_, Some(_)) => return Err(format!("two ends in a row: {line:?}").into()),
        }
    }
    Ok(gaps)
}

/// `SECONDS.MICROSECONDS`.
fn nanoseconds(text: &str) -> Option<u64> {
    let (seconds, micros) = text.split_once('.').filter(|(_, micros)| micros.len() == 6)?;
    Some((seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?) * 1_000)
}
