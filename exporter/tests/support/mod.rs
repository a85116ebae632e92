//! What tests of the exporter in a VM have in common: an image for pods of podrt, podrt itself, pages, and waiting.

mod exposition;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

pub(crate) use exposition::{Sample, differences};

/// Any error, in words.
pub(crate) type Res<T> = Result<T, Box<dyn std::error::Error>>;

/// Makes a root file system with busybox in it.
pub(crate) fn make_image(image: &Path) -> Res<()> {
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "run"] {
        fs::create_dir_all(image.join(name))?;
    }
    fs::copy("/bin/busybox", image.join("bin/busybox"))?;
    Ok(symlink("busybox", image.join("bin/sh"))?)
}

/// Runs `podrt pod` on the pods of a directory.
pub(crate) fn podrt(root: &Path, arguments: &[&str]) -> Res<()> {
    let program = std::env::var_os("PODRT_POD").ok_or("PODRT_POD is not set")?;
    let output = Command::new(program).arg("--root").arg(root).args(arguments).output()?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

/// Tries until there is something, or the time is over.
pub(crate) fn until<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Res<Option<T>>,
) -> Res<T> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        poll(&mut [], PollTimeout::from(100u8))?;
    }
    Err(format!("waited for {what} in vain").into())
}

/// Asks for a page over a new connection; its status code and body.
pub(crate) fn get(stream: &mut (impl Read + Write), path: &str) -> Res<(u16, String)> {
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("an answer without a code")?;
    Ok((code, body.to_owned()))
}

/// All samples of an exposition, by the name with its labels as it stands in the text.
pub(crate) fn samples(text: &str) -> Res<BTreeMap<String, f64>> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let sample = Sample::parse(line)?;
        if samples.insert(sample.series.to_owned(), sample.value).is_some() {
            return Err(format!("{} is there twice", sample.series).into());
        }
    }
    Ok(samples)
}
