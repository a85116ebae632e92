//! What /proc tells of a process in one line.

use std::fs::File;
use std::io::Read as _;

use nix::unistd::{Pid, getpgid};
use procfs::process::Stat;
use procfs::{FromRead as _, ProcError, ProcResult};

/// Longer than any (proc_pid_stat(5)): 64 bytes of a name, and some fifty numbers of at most 20 digits.
const LEN: usize = 2048;

/// Opens the file and reads it at once: a comparison looks at every process of the node, and most of its time would go into asking
/// for sizes and ends.
pub(super) fn stat(pid: i32) -> ProcResult<Stat> {
    let path = format!("/proc/{pid}/stat");
    let mut line = [0; LEN];
    let read = File::open(&path).and_then(|mut file| file.read(&mut line));
    let len = read.map_err(|error| ProcError::Io(error, Some(path.into())))?;
    Stat::from_read(line.get(..len).unwrap_or_default())
}

/// Whether there is such a process though /proc does not tell of it (proc(5), `hidepid`).
pub(super) fn is_hidden(pid: i32) -> bool {
    // Of anybody's process it tells whether that is there (getpgid(2)).
    stat(pid).is_err() && getpgid(Some(Pid::from_raw(pid))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_this_process_and_of_none() {
        let own = std::process::id().cast_signed();
        let stat = stat(own).unwrap();
        let parent = nix::unistd::getppid().as_raw();
        assert_eq!((stat.pid, stat.ppid), (own, parent));
        assert!(!is_hidden(own) && !is_hidden(i32::MAX));
        let error = super::stat(0).unwrap_err();
        assert!(
            matches!(&error, ProcError::Io(error, Some(path))
            if error.kind() == std::io::ErrorKind::NotFound && path.ends_with("0/stat")),
            "{error}"
        );
    }
}
