//! A container that crashes again and again, and writes down when it began and when it ended.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::measure::Res;
use crate::node::{DIR, rest};

/// Makes this program the one of the container.
pub(crate) const OPTION: &str = "--crash";
/// The file of times as the container sees it.
pub(crate) const INSIDE: &str = "/times/times";

/// How long a run is: its supervisor has done all that follows a start by then.
const RUN: Duration = Duration::from_millis(200);
/// How long one restart may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// The directory of the file on the node.
pub(crate) fn dir() -> PathBuf {
    Path::new(DIR).join("times")
}

/// Makes the directory; the file that will be in it.
pub(crate) fn prepare() -> Res<PathBuf> {
    fs::create_dir_all(dir())?;
    Ok(dir().join("times"))
}

/// What the container does: notes the time, waits, notes the time, and fails.
pub(crate) fn program(path: &str) -> ExitCode {
    match run(path) {
        // No success in any case.
        Ok(()) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(path: &str) -> Res<()> {
    let begin = now()?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "begin {begin}")?;
    rest(RUN)?;
    writeln!(file, "end {}", now()?)?;
    Ok(())
}

/// On the clock of the node, which all containers have.
fn now() -> Res<u64> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
    Ok(u64::try_from(time.as_nanos())?)
}

/// Waits until the container has been started again so many times; the times between an end and the next begin. The first is not
/// counted.
pub(crate) fn times(path: &Path, n: usize) -> Res<Vec<u64>> {
    let (mut have, mut since) = (0, Instant::now());
    loop {
        let times = gaps(&fs::read_to_string(path).unwrap_or_default())?;
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

/// The times between an `end` and the next `begin`.
fn gaps(text: &str) -> Res<Vec<u64>> {
    let (mut gaps, mut end) = (Vec::new(), None);
    // The last line may not be complete.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let (word, time) = line.split_once(' ').ok_or_else(|| format!("not a time: {line:?}"))?;
        let time: u64 = time.parse()?;
        match (word, end.take()) {
            ("begin", Some(end)) => gaps.push(time.checked_sub(end).ok_or("a clock that went back")?),
            ("begin", None) => {}
            ("end", None) => end = Some(time),
            _ => return Err(format!("{line:?} in the wrong place").into()),
        }
    }
    Ok(gaps)
}
