//! What a scenario says of itself: one JSON line per fact, on its standard output.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use podproof_ebpf::event::{NsKind, NsSet, TaskRef};
use serde::{Deserialize, Serialize};

use crate::Res;

/// One fact, under the name that the check asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Line {
    /// What a task is.
    Task(String, TaskTruth),
    /// A number: a result, an id, a pid.
    Number(String, i64),
    /// A text.
    Text(String, String),
    /// This machine cannot play the scenario.
    Skip(String),
}

/// A task as /proc shows it to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TaskTruth {
    pub(crate) tid: u32,
    pub(crate) tgid: u32,
    /// `NSpid`, outermost first.
    pub(crate) ns_pids: Vec<u32>,
    pub(crate) ns: NsSet,
    /// Start time in clock ticks since boot.
    pub(crate) start_ticks: u64,
    pub(crate) comm: String,
    /// `None` where no v2 hierarchy is mounted.
    pub(crate) cgroup_id: Option<u64>,
}

/// Nanoseconds per clock tick of /proc (USER_HZ is 100 on every supported architecture).
const TICK_NS: u64 = 10_000_000;

impl TaskTruth {
    /// Reads it for the calling thread. /proc belongs to the initial pid namespace in every scenario, so its links
    /// give the outer numbers even inside of another one.
    pub(crate) fn read() -> Res<Self> {
        let link = fs::read_link("/proc/thread-self")?.display().to_string();
        let mut parts = link.split('/');
        let tgid = parts.next().ok_or("thread-self without a group")?.parse()?;
        let tid = parts.nth(1).ok_or("thread-self without a thread")?.parse()?;
        let status = fs::read_to_string("/proc/thread-self/status")?;
        let ns_pids =
            field(&status, "NSpid")?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let stat = fs::read_to_string("/proc/thread-self/stat")?;
        let after_comm = stat.rsplit_once(") ").ok_or("stat without a name")?.1;
        // Field 22 of proc_pid_stat(5); `after_comm` begins with field 3.
        let start_ticks = after_comm.split(' ').nth(19).ok_or("stat without a start time")?.parse()?;
        let comm = fs::read_to_string("/proc/thread-self/comm")?.trim_end().to_owned();
        Ok(Self { tid, tgid, ns_pids, ns: namespaces()?, start_ticks, comm, cgroup_id: own_cgroup_id() })
    }

    /// Whether an event means this task.
    pub(crate) fn is(&self, task: &TaskRef) -> bool {
        task.tid == self.tid && task.tgid == self.tgid && task.start_ns / TICK_NS == self.start_ticks
    }
}

/// The value of one line of /proc/PID/status.
pub(crate) fn field<'a>(status: &'a str, name: &str) -> Res<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim).ok_or_else(|| format!("/proc/self/status has no {name}").into())
}

/// The namespaces of the calling thread.
pub(crate) fn namespaces() -> Res<NsSet> {
    let inode = |kind: NsKind| -> Option<u32> {
        let link = fs::read_link(Path::new("/proc/thread-self/ns").join(kind.proc_name())).ok()?;
        link.to_str()?.rsplit_once('[')?.1.strip_suffix(']')?.parse().ok()
    };
    let [mnt, uts, ipc, net, pid, pid_for_children, cgroup, user, time, time_for_children] =
        NsKind::ALL.map(inode);
    Ok(NsSet { mnt, uts, ipc, net, pid, pid_for_children, cgroup, user, time, time_for_children })
}

/// Where the v2 hierarchy is mounted.
pub(crate) fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

fn own_cgroup_id() -> Option<u64> {
    let cgroup = fs::read_to_string("/proc/thread-self/cgroup").ok()?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(fs::metadata(cgroup2_mount()?.join(path)).ok()?.ino())
}

/// Prints a fact. One write per line, so that lines of several processes do not mix.
pub(crate) fn say(line: &Line) -> Res<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Says what the calling thread is.
pub(crate) fn say_task(label: &str) -> Res<TaskTruth> {
    let truth = TaskTruth::read()?;
    say(&Line::Task(label.into(), truth.clone()))?;
    Ok(truth)
}

/// Says a number.
pub(crate) fn say_number(label: &str, value: impl Into<i64>) -> Res<()> {
    say(&Line::Number(label.into(), value.into()))
}

/// Says a text.
pub(crate) fn say_text(label: &str, text: &str) -> Res<()> {
    say(&Line::Text(label.into(), text.into()))
}

/// Says why the scenario cannot be played here.
pub(crate) fn say_skip(reason: &str) -> Res<()> {
    say(&Line::Skip(reason.into()))
}
