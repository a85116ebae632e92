//! Files whose names are somebody else's: they are looked at before they are opened, since opening a device may do something
//! (start a watchdog, rewind a tape) and opening a fifo may wait.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use crate::descriptor::fd_path;

/// Opens for reading what an `O_PATH` descriptor stands for; `None` when it is no regular file.
///
/// # Errors
/// The failed operation.
pub(super) fn open(found: OwnedFd) -> io::Result<Option<File>> {
    let found = File::from(found);
    if !found.metadata()?.is_file() {
        return Ok(None);
    }
    // The link of the descriptor leads to the very file that was looked at.
    File::open(fd_path(&found)).map(Some)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::fcntl::{OFlag, open as open_path};
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let temp = tempfile::tempdir().unwrap();
        let found = |path: &std::path::Path| {
            open_path(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).unwrap()
        };
        let (file, fifo) = (temp.path().join("file"), temp.path().join("fifo"));
        std::fs::write(&file, "text").unwrap();
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let mut text = String::new();
        open(found(&file)).unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        for other in [temp.path(), &fifo, "/dev/null".as_ref()] {
            assert!(open(found(other)).unwrap().is_none(), "{}", other.display());
        }
    }
}
