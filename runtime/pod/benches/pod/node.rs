//! The image of all pods, and what runs on the node.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use crate::measure::Res;

/// Where everything of the measurement is: in memory.
pub(crate) const DIR: &str = "/run/bench";
/// The program of every container and sandbox, by its name in the image.
pub(crate) const PROGRAM: &str = "/bin/pause";
/// As podrt has it in the sandbox.
pub(crate) const SANDBOX_PROGRAM: &str = "/pause";
/// The measuring program in the image.
pub(crate) const CRASHER: &str = "/bin/crasher";

/// How long processes may take to come or to go.
const DEADLINE: Duration = Duration::from_secs(60);

/// Makes a root file system with pause, and this program for containers that crash.
pub(crate) fn make_image(pause: &Path) -> Res<PathBuf> {
    let root = Path::new(DIR).join("image");
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "run"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy(pause, root.join(&PROGRAM[1..]))?;
    fs::copy("/proc/self/exe", root.join(&CRASHER[1..]))?;
    Ok(root)
}

/// The processes whose first argument is one of these.
pub(crate) fn processes(programs: &[&str]) -> Res<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile has none.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let program = String::from_utf8_lossy(line.split(|byte| *byte == 0).next().unwrap_or_default());
        if programs.iter().any(|wanted| program == *wanted || program.ends_with(&format!("/{wanted}"))) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Waits until the containers and sandboxes have so many processes, and no engine is at work behind their backs. Not timed: who
/// asks in a loop takes the time of whom it asks about.
pub(crate) fn expect_programs(n: usize) -> Res<()> {
    let since = Instant::now();
    loop {
        let programs = processes(&[PROGRAM, SANDBOX_PROGRAM])?.len();
        let engines =
            processes(if n == 0 { &["podman", "conmon", "podrt-pod", "crun"] } else { &["podman", "crun"] })?;
        if programs == n && engines.is_empty() {
            return Ok(());
        }
        if since.elapsed() > DEADLINE {
            return Err(format!(
                "{programs} processes of containers after {DEADLINE:?}, instead of {n}; engines: {engines:?}"
            )
            .into());
        }
        rest(Duration::from_millis(5))?;
    }
}

/// Lets time pass.
pub(crate) fn rest(duration: Duration) -> Res<()> {
    poll(&mut [], PollTimeout::try_from(duration)?)?;
    Ok(())
}
