//! FS-11: masked paths cannot be read.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use nix::sys::statvfs::{FsFlags, statvfs};
use podproof_ebpf::event::EventKind;
use podproof_witness::{Command, SOCKET_DIR};
use serde_json::json;

use crate::bundle::Bundle;
use crate::catalog::{Adapter, Level, Requirement, Subject};
use crate::cell::{Cell, Container, Obstacle};
use crate::checks::{Check, Scene, Turn, facts};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::{Finding, Rules};
use crate::observe::witness::refusable;

const REQUIREMENT: Requirement = Requirement {
    id: "FS-11",
    name: "masked_paths_cannot_be_read",
    level: Level::Must,
    statement: "Masked paths cannot be read: files look empty, directories look empty and read-only, or opening fails.",
    source: "runtime-spec config-linux.md#masked-paths",
    subject: Subject::Runtime,
    adapters: &[Adapter::Oci],
    scenario: "A list of masked paths that starts with one that does not exist, followed by files of /proc, and a file and \
               a directory with content in a directory that is bound into the container. Unmasked, the same are read on \
               the node.",
    inside: "Reading each file gives nothing or fails; listing the directory gives nothing or fails, and no file can be \
             made in it.",
    kernel: "From the node, through /proc/PID/root: each file is the null device, empty, or cannot be opened; the \
             directory is empty and its mount read-only, or it cannot be opened.",
    defects: &[
        ("fs-11-directory-writable", "a masked directory is empty, and can be written"),
        ("fs-11-missing-path-ends-it", "a path that does not exist ends the work on the whole list"),
    ],
};

pub(super) const CHECK: Check = Check {
    requirement: &REQUIREMENT,
    scene: Scene::Container,
    turn: Turn::Any,
    observe,
    rules: Rules { inside, kernel },
};

/// What is masked: the first is not there.
const MISSING: &str = "/proc/podproof-is-not-there";
/// Files of /proc that everybody may read.
const OF_PROC: [&str; 2] = ["/proc/cpuinfo", "/proc/keys"];
const TEXT: &str = "what is masked\n";

fn observe(cell: &mut Cell<'_>) -> Result<Evidence, Obstacle> {
    let shared = cell.shared_dir();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Obstacle::Node { op: "write", path, source }
    };
    let (file, directory) = (shared.join("secret"), shared.join("secrets"));
    fs::create_dir(&directory).map_err(failed(&directory))?;
    for path in [&file, &directory.join("secret")] {
        fs::write(path, TEXT).map_err(failed(path))?;
    }
    let mut files: Vec<String> =
        OF_PROC.iter().filter(|path| Path::new(path).exists()).map(|path| (*path).to_owned()).collect();
    files.push(format!("{SOCKET_DIR}/secret"));
    let directory = format!("{SOCKET_DIR}/secrets");
    let mut masked = vec![MISSING.to_owned()];
    masked.extend(files.iter().cloned());
    masked.push(directory.clone());
    let mut container = cell.container(&Bundle::witness("a").with("/linux/maskedPaths", json!(masked)))?;

    let mut evidence = Evidence::default();
    inside_facts(cell, &mut container, (files.as_slice(), directory.as_str()), &mut evidence)?;
    let root = PathBuf::from(format!("/proc/{}/root", container.outer_pid()));
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let seen: Vec<String> =
        files.iter().map(|path| format!("{path} {}", file_from_node(&below(path)))).collect();
    evidence.kernel("node.files", seen, format!("{} on the node: stat, read", root.display()));
    let source = format!("{} on the node: list, statvfs", root.display());
    evidence.kernel("node.directory", directory_from_node(&below(&directory)), source);
    let trace = cell.trace()?;
    facts::keep_trace(&mut evidence, &trace, |kind| {
        matches!(kind, EventKind::Mount { .. } | EventKind::MoveMount { .. } | EventKind::Exec { .. })
    });
    Ok(evidence)
}

fn inside_facts(
    cell: &Cell<'_>,
    container: &mut Container,
    (files, directory): (&[String], &str),
    evidence: &mut Evidence,
) -> Result<(), Obstacle> {
    let timeout = cell.deadline(5.0);
    let witness = container.witness()?;
    let mut seen = Vec::new();
    for path in files {
        let read = refusable(witness.ask_as::<String>(Command::ReadFile { path: path.clone() }, timeout))?;
        let what = match read {
            Ok(text) if text.is_empty() => MASKED.to_owned(),
            Ok(text) => format!("{} bytes are read", text.len()),
            // More than the witness takes was there to be read.
            Err(libc::EFBIG) => "many bytes are read".to_owned(),
            Err(_refused) => MASKED.to_owned(),
        };
        seen.push(format!("{path} {what}"));
    }
    evidence.inside("files", seen, "witness a: open(2) and read(2)");
    let path = directory.to_owned();
    let listed = refusable(witness.ask_as::<Vec<String>>(Command::ListDir { path }, timeout))?;
    let made: i32 = witness.ask_as(Command::TryWrite { path: format!("{directory}/made") }, timeout)?;
    let what = match listed {
        Ok(names) if !names.is_empty() => format!("has the entries {}", names.join(", ")),
        _ if made == 0 => "can be written".to_owned(),
        _ => MASKED.to_owned(),
    };
    evidence.inside("directory", what, "witness a: getdents(2), open(2) to make a file");
    Ok(())
}

/// How a path that is masked is told.
const MASKED: &str = "is masked";

fn file_from_node(path: &Path) -> String {
    // What is not to be opened is not to be seen either.
    let Ok(file) = fs::metadata(path) else { return MASKED.to_owned() };
    let is_null = file.file_type().is_char_device() && (major(file.rdev()), minor(file.rdev())) == (1, 3);
    let is_empty = || fs::read(path).is_ok_and(|bytes| bytes.is_empty());
    if is_null || file.mode() & 0o777 == 0 || is_empty() {
        MASKED.to_owned()
    } else {
        "has content".to_owned()
    }
}

fn directory_from_node(path: &Path) -> String {
    let Ok(mut entries) = fs::read_dir(path) else { return MASKED.to_owned() };
    let is_read_only = statvfs(path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
    match (entries.next(), is_read_only) {
        (None, true) => MASKED.to_owned(),
        (None, false) => "is empty, on a mount that can be written".to_owned(),
        (Some(_), _) => "has entries".to_owned(),
    }
}

fn inside(side: &Side<'_>) -> Result<Finding, Gap> {
    finding(side.texts("files")?, side.text("directory")?)
}

fn kernel(side: &Side<'_>) -> Result<Finding, Gap> {
    finding(side.texts("node.files")?, side.text("node.directory")?)
}

fn finding(files: Vec<&str>, directory: &str) -> Result<Finding, Gap> {
    let mut seen: Vec<&str> = files;
    if seen.len() < 2 {
        return Err(Gap("the files that are masked".to_owned()));
    }
    let directory = format!("{SOCKET_DIR}/secrets {directory}");
    seen.push(&directory);
    let open: Vec<&str> = seen.iter().copied().filter(|what| !what.ends_with(MASKED)).collect();
    let observed = if open.is_empty() { format!("all {} are masked", seen.len()) } else { open.join("; ") };
    Ok(Finding::new(open.is_empty(), format!("all {} masked", seen.len()), observed))
}
