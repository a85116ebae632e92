//! What tests of the exporter in a VM have in common: an image for pods of podrt, podrt itself, pages, and waiting.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

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

/// Families of the exporter that are not in an exposition.
pub(crate) fn missing_families(text: &str) -> Vec<&'static str> {
    let types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let is_there = |name: &str| types.iter().any(|line| line.split(' ').next() == Some(name));
    ::exporter::metrics::FAMILIES.iter().map(|family| family.name).filter(|name| !is_there(name)).collect()
}

/// All samples of an exposition, by the name with its labels as it stands in the text.
pub(crate) fn samples(text: &str) -> Res<BTreeMap<String, f64>> {
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').ok_or_else(|| format!("no sample: {line}"))?;
        if samples.insert(name.to_owned(), value.parse()?).is_some() {
            return Err(format!("{name} is there twice").into());
        }
    }
    Ok(samples)
}
