//! Finding the program and its user's home, as the container's user in the container's root.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, faccessat};

use super::super::StepError;
use crate::spec::ProcessSpec;

/// What will be executed, as far as it is known.
#[derive(Debug)]
pub(super) struct Executable {
    /// Path of the program, when it has been found.
    pub(super) path: Option<CString>,
    /// Environment.
    pub(super) env: Vec<CString>,
}

impl Executable {
    pub(super) fn of(process: &ProcessSpec) -> Self {
        Self { path: None, env: process.env.clone() }
    }

    /// Sets `HOME` to the directory that the container's passwd(5) has for the user, `/` without one.
    pub(super) fn set_home(&mut self, uid: u32) {
        let passwd = read_passwd().unwrap_or_default();
        let home = home_of(&passwd, uid).unwrap_or(b"/");
        let Ok(entry) = CString::new([b"HOME=", home].concat()) else { return };
        self.env.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
        self.env.push(entry);
    }
}

/// A passwd(5) that is longer is not read on.
const PASSWD_MAX: u64 = 1 << 20;

/// The image decides what is there: nothing that blocks is waited for, nothing endless read.
fn read_passwd() -> Option<Vec<u8>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd")
        .ok()?;
    let mut text = Vec::new();
    if file.metadata().ok()?.is_file() {
        file.take(PASSWD_MAX).read_to_end(&mut text).ok()?;
    }
    Some(text)
}

/// The sixth field of the first line whose third is the user.
fn home_of(passwd: &[u8], uid: u32) -> Option<&[u8]> {
    let uid = uid.to_string();
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let is_user = fields.nth(2)? == uid.as_bytes();
        fields.nth(2).filter(|home| is_user && home.starts_with(b"/"))
    })
}

/// Finds `process.args[0]`: a name with a slash as it is, any other in the `PATH` of the container.
pub(super) fn find(process: &ProcessSpec) -> Result<CString, StepError> {
    let name = process.args.first().ok_or(Errno::ENOENT)?;
    let shown = name.to_string_lossy();
    if name.as_bytes().contains(&b'/') {
        check(name).map_err(|errno| StepError::new(format!("{shown:?} in the container"), errno))?;
        return Ok(name.clone());
    }
    let search_path = process.search_path().unwrap_or_default();
    let mut last = Errno::ENOENT;
    for directory in search_path.split(|byte| *byte == b':') {
        // An empty entry is the working directory (environ(7)).
        let directory = if directory.is_empty() { b"." } else { directory };
        let candidate =
            CString::new([directory, b"/", name.as_bytes()].concat()).map_err(|_nul| Errno::EINVAL)?;
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(errno) => last = errno,
        }
    }
    let path = String::from_utf8_lossy(search_path);
    Err(StepError::new(format!("{shown:?} in PATH {path:?} of process.env"), last))
}

fn check(path: &CString) -> Result<(), Errno> {
    let mode = SFlag::from_bits_truncate(stat(path.as_c_str())?.st_mode);
    if mode & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Errno::EACCES);
    }
    faccessat(AT_FDCWD, path.as_c_str(), AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

#[cfg(test)]
mod tests {
    use super::home_of;

    #[test]
    fn the_first_line_of_a_user_with_an_absolute_directory_counts() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\nshort:x:7\nbad:x:8:8::relative:/bin/sh\n\
            app:x:1000:1000:An App:/srv/app:\nagain:x:1000:1000::/elsewhere:\nlast:x:9:9::/last";
        let home = |uid| home_of(passwd, uid).map(|home| String::from_utf8_lossy(home).into_owned());
        assert_eq!(home(0).as_deref(), Some("/root"));
        assert_eq!(home(1000).as_deref(), Some("/srv/app"));
        assert_eq!(home(9).as_deref(), Some("/last"));
        for nobody in [7, 8, 10] {
            assert_eq!(home(nobody), None, "{nobody}");
        }
        assert_eq!(home_of(b"", 0), None);
    }
}
