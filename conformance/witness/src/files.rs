//! Files, directories and one mount.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::time::ClockId;
use podproof_witness::MAX_PACKET;
use serde_json::{Value, json};

use crate::failure::{During, Failure, errno_of};
use crate::time::now_ns;

/// Name of the file in a tmpfs of ours.
const MARKER: &str = "marker";

/// `mark FILE`, of the command line: appends `pid PID boottime_ns N`, in one write, so that lines never mix.
pub(crate) fn mark(file: &Path) -> Result<(), Failure> {
    let now = now_ns(ClockId::CLOCK_BOOTTIME).during(|| "read CLOCK_BOOTTIME".to_owned())?;
    let line = format!("pid {} boottime_ns {now}\n", std::process::id());
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .during(|| format!("append to {}", file.display()))
}

/// `mount_tmpfs`.
pub(crate) fn mount_tmpfs(path: &Path) -> Result<Value, Failure> {
    fs::create_dir_all(path).during(|| format!("make the directory {}", path.display()))?;
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, None::<&str>)
        .during(|| format!("mount a tmpfs on {}", path.display()))?;
    let marker = path.join(MARKER);
    fs::write(&marker, "podproof\n").during(|| format!("write {}", marker.display()))?;
    Ok(Value::Null)
}

/// `try_write`.
pub(crate) fn try_write(path: &Path) -> Value {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_file) => json!(0),
        Err(error) => json!(errno_of(&error) as i32),
    }
}

/// `exists`.
pub(crate) fn exists(path: &Path) -> Result<Value, Failure> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(json!(true)),
        Err(error) if matches!(errno_of(&error), Errno::ENOENT | Errno::ENOTDIR) => Ok(json!(false)),
        Err(error) => Err(Failure::new(format!("stat {}", path.display()), errno_of(&error))),
    }
}

/// `read_file`. Bytes that are not UTF-8 become U+FFFD.
pub(crate) fn read(path: &Path) -> Result<Value, Failure> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PACKET as u64 + 1).read_to_end(&mut bytes))
        .during(|| format!("read {}", path.display()))?;
    if bytes.len() > MAX_PACKET {
        return Err(Failure::new(format!("read {}: more than a packet holds", path.display()), Errno::EFBIG));
    }
    Ok(json!(String::from_utf8_lossy(&bytes)))
}

/// `write_file`.
pub(crate) fn write(path: &Path, text: &str) -> Value {
    let written =
        OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    json!(written.err().map_or(0, |error| errno_of(&error) as i32))
}

/// `list_dir`, sorted.
pub(crate) fn list(path: &Path) -> Result<Value, Failure> {
    let mut names = fs::read_dir(path)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<Result<Vec<_>, _>>()
        })
        .during(|| format!("list {}", path.display()))?;
    names.sort_unstable();
    Ok(json!(names))
}
