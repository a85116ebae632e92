//! What the controllers tell of one cgroup. A file that is not there means that its controller is off: not measured, which is
//! not zero.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::read;

use super::tree::{is_gone, is_hidden};

/// Values that only grow while the cgroup is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FileCounters {
    /// `memory.events`: low, high, max, oom, oom_kill, oom_group_kill.
    pub(crate) memory: Option<[u64; 6]>,
    /// `cpu.stat`: nr_periods, nr_throttled, throttled_usec.
    pub(crate) cpu: Option<[u64; 3]>,
    /// `pids.events`: max.
    pub(crate) pids_limit_hits: Option<u64>,
}

impl FileCounters {
    /// The keys of `memory.events`, which are the values of the label `event`.
    pub(crate) const MEMORY_EVENTS: [&str; 6] = ["low", "high", "max", "oom", "oom_kill", "oom_group_kill"];
    const CPU: [&str; 3] = ["nr_periods", "nr_throttled", "throttled_usec"];

    /// This, and of the other what this does not know: the files of a cgroup go one after the other when it is removed
    /// (`cgroup_destroy_locked`), and what was counted stays.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            memory: self.memory.or(other.memory),
            cpu: self.cpu.or(other.cpu),
            pids_limit_hits: self.pids_limit_hits.or(other.pids_limit_hits),
        }
    }

    /// The sum of what both know.
    pub(crate) fn add(&mut self, other: &Self) {
        fn sum<const N: usize>(a: &mut Option<[u64; N]>, b: Option<[u64; N]>) {
            let Some(b) = b else { return };
            let a = a.get_or_insert([0; N]);
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        }
        sum(&mut self.memory, other.memory);
        sum(&mut self.cpu, other.cpu);
        if let Some(hits) = other.pids_limit_hits {
            *self.pids_limit_hits.get_or_insert(0) += hits;
        }
    }
}

/// Values of the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FileGauges {
    /// `pids.current`.
    pub(crate) pids: Option<u64>,
    /// `pids.max`; `None` also when there is no limit.
    pub(crate) pids_limit: Option<u64>,
}

/// What the files of one cgroup say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) counters: FileCounters,
    pub(crate) gauges: FileGauges,
}

/// `None` when the cgroup is gone.
///
/// # Errors
/// When a file that is there cannot be read.
pub(crate) fn read_files(cgroup: &Path) -> io::Result<Option<Files>> {
    // Looked up once: its path is the longest part of that of each file.
    let directory = match open(cgroup, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(directory) => directory,
        Err(errno) => return absent(errno).map(|()| None),
    };
    let files = &mut Reader { directory, buffer: [0; 4096] };
    let memory = files.read("memory.events")?.map(|text| pick(text, FileCounters::MEMORY_EVENTS));
    // Without the controller the file has usage only.
    let cpu = files.read("cpu.stat")?.filter(|text| text.contains("nr_periods "));
    let cpu = cpu.map(|text| pick(text, FileCounters::CPU));
    let pids_limit_hits = files.read("pids.events")?.map(|text| pick(text, ["max"])[0]);
    let mut number = |name: &str| files.read(name).ok()??.trim().parse().ok();
    let gauges = FileGauges { pids: number("pids.current"), pids_limit: number("pids.max") };
    Ok(Some(Files { counters: FileCounters { memory, cpu, pids_limit_hits }, gauges }))
}

/// Processes in the cgroup itself; zombies are not listed there. `None` when it is gone or threaded.
pub(crate) fn processes(cgroup: &Path) -> Option<Vec<i32>> {
    /// Room for a process more.
    const LINE: usize = 16;
    let mut file = File::open(cgroup.join("cgroup.procs")).ok()?;
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let len = file.read(&mut buffer).ok()?;
        text.extend_from_slice(buffer.get(..len)?);
        // The kernel fills the buffer with whole lines: where another had room there is none.
        if len + LINE <= buffer.len() {
            break;
        }
    }
    std::str::from_utf8(&text).ok()?.lines().map(|line| line.parse().ok()).collect()
}

/// Reads files of a directory, each of which is one page at most: the kernel writes no more of a cgroup's values.
struct Reader {
    directory: OwnedFd,
    buffer: [u8; 4096],
}

impl Reader {
    /// Reads a file at once: there are thousands of them in a scrape, and to ask for a size or an end first doubles what each costs.
    /// `None` when it is not there, or its owner hides it.
    fn read(&mut self, name: &str) -> io::Result<Option<&str>> {
        let file = openat(self.directory.as_fd(), name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        match file.and_then(|file| read(file, &mut self.buffer)) {
            Ok(len) => Ok(self.buffer.get(..len).and_then(|bytes| std::str::from_utf8(bytes).ok())),
            Err(errno) => absent(errno).map(|()| None),
        }
    }
}

/// What is not there, or hidden, is no error.
fn absent(errno: Errno) -> io::Result<()> {
    let error = errno.into();
    if is_gone(&error) || is_hidden(&error) { Ok(()) } else { Err(error) }
}

/// The values of these keys in a flat keyed file, which has a key and a number per line; 0 for a key that it has not.
fn pick<const N: usize>(text: &str, keys: [&str; N]) -> [u64; N] {
    let mut values = [0; N];
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        if let Some(place) = keys.iter().position(|wanted| *wanted == key) {
            values[place] = value.trim().parse().unwrap_or(0);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn however_many_processes_there_are() {
        let dir = tempfile::tempdir().unwrap();
        for n in [0, 1, 817, 818, 819, 820, 10_000] {
            let pids: Vec<i32> = (1000..1000 + n).collect();
            let text: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
            fs::write(dir.path().join("cgroup.procs"), text).unwrap();
            assert_eq!(processes(dir.path()), Some(pids));
        }
    }

    #[test]
    fn files_of_a_limited_cgroup() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("memory.events", "low 0\nhigh 3\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n");
        write("cpu.stat", "usage_usec 9\nnr_periods 7\nnr_throttled 5\nthrottled_usec 1200\nnr_bursts 0\n");
        write("pids.events", "max 4\n");
        write("pids.current", "11\n");
        write("pids.max", "max\n");
        write("cgroup.procs", "1\n2\n3\n");
        let Files { counters, gauges } = read_files(dir.path()).unwrap().unwrap();
        assert_eq!(counters.memory, Some([0, 3, 12, 2, 1, 0]));
        assert_eq!(counters.cpu, Some([7, 5, 1200]));
        assert_eq!(counters.pids_limit_hits, Some(4));
        assert_eq!(gauges, FileGauges { pids: Some(11), pids_limit: None });
        assert_eq!(processes(dir.path()), Some(vec![1, 2, 3]));
    }

    #[test]
    fn without_controllers_nothing_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cpu.stat"), "usage_usec 9\nuser_usec 1\n").unwrap();
        assert_eq!(read_files(dir.path()).unwrap(), Some(Files::default()));
        assert_eq!(read_files(&dir.path().join("gone")).unwrap(), None);
        // What is there and cannot be read is not off.
        fs::create_dir(dir.path().join("pids.events")).unwrap();
        assert!(read_files(dir.path()).is_err());
    }

    #[test]
    fn sums_know_what_either_knows() {
        let mut sum = FileCounters { cpu: Some([1, 2, 3]), ..FileCounters::default() };
        sum.add(&FileCounters { cpu: Some([1, 1, 1]), pids_limit_hits: Some(2), memory: None });
        assert_eq!(sum, FileCounters { cpu: Some([2, 3, 4]), pids_limit_hits: Some(2), memory: None });
    }
}
