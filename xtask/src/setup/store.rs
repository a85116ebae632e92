//! The folders under `target/tools`, one for each tool, and their records.
//!
//! A tool is put together in a sibling folder and renamed into place, so its folder is there whole or not at all. The
//! record in it names what was fetched (version and hash) and every file with its size: what was cut short or deleted
//! later is noticed without reading hundreds of megabytes at each start.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const RECORD: &str = "record.json";
const SCHEMA: u32 = 1;

/// Something that was fetched: a package, or a crate that was built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SHA-256 of what was fetched (a package), or of what was built from it (a crate).
    pub(crate) sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    schema: u32,
    pub(crate) sources: Vec<Source>,
    files: Vec<(String, u64)>,
}

/// Why a folder cannot be used as it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    Absent,
    /// It was there once; the text says what is wrong with it.
    Damaged(String),
}

/// Reads the record of the tool in `dir` and compares every file with it.
pub(crate) fn open(dir: &Path) -> Result<Record, Unusable> {
    let text = match fs::read(dir.join(RECORD)) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound && !dir.exists() => return Err(Unusable::Absent),
        Err(err) => return Err(Unusable::Damaged(format!("{RECORD}: {err}"))),
    };
    let record: Record =
        serde_json::from_slice(&text).map_err(|err| Unusable::Damaged(format!("{RECORD}: {err}")))?;
    if record.schema != SCHEMA {
        return Err(Unusable::Damaged(format!("{RECORD} has schema {}", record.schema)));
    }
    for (path, size) in &record.files {
        let meta = fs::symlink_metadata(dir.join(path))
            .map_err(|err| Unusable::Damaged(format!("{path}: {err}")))?;
        if meta.len() != *size {
            return Err(Unusable::Damaged(format!("{path} has {} bytes instead of {size}", meta.len())));
        }
    }
    Ok(record)
}

/// Puts a tool together: `fill` gets an empty folder beside `dir`, which then takes the place of `dir`.
///
/// # Errors
/// `fill` fails, or the folder cannot be written; `dir` is then as it was.
pub(crate) fn install(
    dir: &Path,
    sources: Vec<Source>,
    fill: impl FnOnce(&Path, &mut Vec<Source>) -> Result<()>,
) -> Result<Record> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let partial = dir.with_file_name(format!(".{name}.partial"));
    remove(&partial)?;
    fs::create_dir_all(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let mut record = Record { schema: SCHEMA, sources, files: Vec::new() };
    fill(&partial, &mut record.sources)?;
    list(&partial, Path::new(""), &mut record.files)
        .with_context(|| format!("cannot list {}", partial.display()))?;
    record.files.sort();
    let text = serde_json::to_vec(&record).context("cannot write the record as JSON")?;
    fs::write(partial.join(RECORD), text).with_context(|| format!("cannot write {}", partial.display()))?;
    remove(dir)?;
    fs::rename(&partial, dir).with_context(|| format!("cannot rename {}", partial.display()))?;
    Ok(record)
}

/// Removes a folder tree that may be absent.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(err).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn list(base: &Path, below: &Path, files: &mut Vec<(String, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(base.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        let meta = entry.metadata()?;
        if meta.is_dir() {
            list(base, &path, files)?;
        } else if std::str::from_utf8(path.as_os_str().as_bytes()).is_ok() {
            files.push((path.to_string_lossy().into_owned(), meta.len()));
        }
    }
    Ok(())
}

/// The SHA-256 of a file, in hexadecimal digits.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = HashWriter(Sha256::new());
    io::copy(&mut file, &mut hash).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hash.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An exclusive lock on the tools folder, held while something in it is changed.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Waits until no other set-up works in `tools`.
pub(crate) fn lock(tools: &Path) -> Result<Lock> {
    fs::create_dir_all(tools).with_context(|| format!("cannot create {}", tools.display()))?;
    let path: PathBuf = tools.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(Lock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(dir: &Path) -> Record {
        install(dir, Vec::new(), |into, sources| {
            sources.push(Source { name: "hello".into(), version: "1".into(), sha256: String::new() });
            fs::create_dir(into.join("bin"))?;
            fs::write(into.join("bin/hello"), "hello, world")?;
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn a_whole_tool_is_accepted_and_a_damaged_one_is_not() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("hello");
        assert_eq!(open(&dir).unwrap_err(), Unusable::Absent);
        tool(&dir);
        assert_eq!(open(&dir).unwrap().sources[0].name, "hello");

        File::options().write(true).open(dir.join("bin/hello")).unwrap().set_len(3).unwrap();
        let why = "bin/hello has 3 bytes instead of 12".to_owned();
        assert_eq!(open(&dir).unwrap_err(), Unusable::Damaged(why));

        tool(&dir);
        fs::remove_file(dir.join("bin/hello")).unwrap();
        assert!(matches!(open(&dir), Err(Unusable::Damaged(why)) if why.starts_with("bin/hello: ")));

        tool(&dir);
        let record = dir.join(RECORD);
        fs::write(&record, &fs::read(&record).unwrap()[..20]).unwrap();
        assert!(matches!(open(&dir), Err(Unusable::Damaged(why)) if why.starts_with(RECORD)));
    }

    #[test]
    fn a_failed_installation_keeps_what_was_there() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("hello");
        tool(&dir);
        let failed = install(&dir, Vec::new(), |into, _| {
            fs::write(into.join("half"), "half")?;
            anyhow::bail!("no network")
        });
        assert!(failed.is_err());
        assert_eq!(open(&dir).unwrap().files, [("bin/hello".to_owned(), 12)]);
        tool(&dir);
        let left: Vec<_> = fs::read_dir(tmp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["hello"], "the half tree of the failed try is gone");
    }
}
