//! The cgroup that a bundle asks for (v2), where a defect has to act on it.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;

/// Where the hierarchy is mounted.
pub(crate) const ROOT: &str = "/sys/fs/cgroup";

/// Directory of the cgroup that a configuration asks for.
pub(crate) fn dir(config: &Value) -> Result<PathBuf> {
    let path = config["linux"]["cgroupsPath"].as_str().context("linux.cgroupsPath is needed")?;
    Ok(Path::new(ROOT).join(path.trim_start_matches('/')))
}

/// The same for a container that exists, by the bundle that the good runtime's `state` names; `None` when it
/// does not know the container.
pub(crate) fn of_container(call: &Call, base: &Base) -> Result<Option<PathBuf>> {
    let Some(state) = base.state(call)? else { return Ok(None) };
    let bundle = state["bundle"].as_str().context("find the bundle in the state")?;
    let path = Path::new(bundle).join("config.json");
    let config = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let config = serde_json::from_slice(&config).with_context(|| format!("parse {}", path.display()))?;
    dir(&config).map(Some)
}

/// The main process of a container, by the good runtime's `state`; `None` when there is none.
pub(crate) fn main_process(call: &Call, base: &Base) -> Result<Option<i32>> {
    let state = base.ask(&call.other(&["state", call.id()]))?;
    let state: Value = serde_json::from_slice(&state.stdout).unwrap_or_default();
    Ok(state["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0))
}

/// Writes a file of a cgroup.
pub(crate) fn write(dir: &Path, file: &str, text: &str) -> Result<()> {
    let path = dir.join(file);
    fs::write(&path, text).with_context(|| format!("write {text} to {}", path.display()))
}

/// Processes of a cgroup; none where it is gone.
pub(crate) fn processes(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Waits until no process is left in a cgroup, at most this long.
pub(crate) fn await_empty(dir: &Path, at_most_ms: u16) -> Result<()> {
    let events = dir.join("cgroup.events");
    let watch = Inotify::init(InitFlags::IN_CLOEXEC).context("make an inotify instance")?;
    watch
        .add_watch(&events, AddWatchFlags::IN_MODIFY)
        .with_context(|| format!("watch {}", events.display()))?;
    let text = fs::read_to_string(&events).with_context(|| format!("read {}", events.display()))?;
    if text.lines().any(|line| line == "populated 1") {
        poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], PollTimeout::from(at_most_ms))
            .with_context(|| format!("wait for {}", events.display()))?;
    }
    Ok(())
}
