//! How each tool is fetched and unpacked on Debian 12, and how it is found afterwards.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::cmd::Cmd;
use crate::setup::apt::{Apt, Package};
use crate::setup::store::{self, Record, Unusable};
use crate::setup::{Found, Tool, bpf, host, image, youki};

/// Where Debian puts shared libraries.
pub(crate) const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// Fetches and installs what is missing.
pub(crate) fn provide(base: &Path, missing: Vec<Tool>) -> Result<()> {
    let apt = Apt::new(&base.join("apt"), None)?;
    let installed: Vec<Tool> = missing
        .iter()
        .copied()
        .filter(|tool| matches!(tool, Tool::Linker | Tool::Cxx | Tool::Qemu | Tool::Chromium))
        .collect();
    if !installed.is_empty() {
        host::install(&host::System::detect(), &installed, &apt)?;
    }
    if missing.iter().any(|tool| matches!(tool, Tool::BpfRust | Tool::BpfLinker)) {
        bpf::provide(base, &apt)?;
    }
    for tool in missing {
        match tool {
            Tool::Linker | Tool::Cxx | Tool::Qemu | Tool::Chromium | Tool::BpfRust | Tool::BpfLinker => {}
            Tool::Kernel61 => unpack(base, tool, &apt, kernel(&apt, "linux-image-cloud-amd64")?)?,
            Tool::Kernel612 => unpack(base, tool, &apt, kernel(&apt, "linux-image-6.12-cloud-amd64")?)?,
            Tool::Busybox => unpack(base, tool, &apt, apt.show(&["busybox-static"])?)?,
            // Of its dependencies the programs need the C library alone; the rest is for its pages.
            Tool::Catatonit | Tool::Tini | Tool::Prometheus => {
                unpack(base, tool, &apt, apt.show(&[tool.name()])?)?
            }
            Tool::Runc
            | Tool::Crun
            | Tool::Erofs
            | Tool::Bpftrace
            | Tool::LibbpfTools
            | Tool::NodeExporter => {
                unpack(base, tool, &apt, apt.with_libraries(&[tool.name()])?)?;
            }
            Tool::Podman | Tool::Containerd | Tool::Systemd => image::provide(base, tool, &apt)?,
            Tool::Youki => youki::provide(base, &apt)?,
        }
    }
    apt.discard()
}

/// The image that a kernel metapackage stands for at present.
fn kernel(apt: &Apt, metapackage: &str) -> Result<Vec<Package>> {
    let meta = apt.show(&[metapackage])?;
    let image =
        meta.iter().flat_map(|package| &package.depends).find(|name| name.starts_with("linux-image-"));
    apt.show(&[image.with_context(|| format!("{metapackage} depends on no kernel image"))?])
}

/// Fetches `packages` into the folder of `tool`.
pub(crate) fn unpack(base: &Path, tool: Tool, apt: &Apt, packages: Vec<Package>) -> Result<()> {
    let dir = base.join(tool.name());
    if let Err(Unusable::Damaged(why)) = store::open(&dir) {
        eprintln!("setup: {tool} is damaged ({why}): fetching it again");
    }
    let names: Vec<String> = packages.iter().map(|p| format!("{} {}", p.name, p.version)).collect();
    eprintln!("setup: fetching {tool}: {}", names.join(", "));
    let sources = packages.iter().map(Package::source).collect();
    store::install(&dir, sources, |into, _| {
        apt.unpack(&packages, into)?;
        merge_libraries(into)
    })
    .with_context(|| format!("cannot fetch {tool}"))?;
    Ok(())
}

/// Debian 12 is between two layouts: what one package has in `lib`, another has in `usr/lib`; one folder is searched.
fn merge_libraries(dir: &Path) -> Result<()> {
    let (from, to) = (dir.join("lib/x86_64-linux-gnu"), dir.join(LIBRARIES));
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(&from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        fs::rename(entry.path(), to.join(entry.file_name()))
            .with_context(|| format!("cannot move {}", entry.path().display()))?;
    }
    fs::remove_dir(&from).with_context(|| format!("cannot remove {}", from.display()))
}

/// Tries a tool: for programs the one in PATH first, then the unpacked one.
pub(crate) fn find(base: &Path, tool: Tool) -> Result<Found, String> {
    let dir = base.join(tool.name());
    let (name, program, version) = match tool {
        Tool::Kernel61 | Tool::Kernel612 => return kernel_tree(&dir).map_err(|err| format!("{err:#}")),
        // Only the static one is of use in a VM without a file system, so PATH is not asked.
        Tool::Busybox => {
            check(&dir)?;
            return program(&dir.join("bin/busybox"), None, &[]).map_err(|err| format!("{err:#}"));
        }
        // Nor for these: a sandbox has no libraries for them.
        Tool::Catatonit => return in_folder(&dir, "usr/bin/catatonit"),
        Tool::Tini => return in_folder(&dir, "usr/bin/tini-static"),
        Tool::LibbpfTools => return libbpf_tools(&dir).map_err(|err| format!("{err:#}")),
        Tool::Prometheus => return prometheus(&dir),
        Tool::Podman | Tool::Containerd | Tool::Systemd => return image::find(&dir, tool),
        Tool::Youki => return youki::find(&dir),
        Tool::Erofs => ("mkfs.erofs", "usr/bin/mkfs.erofs", "--help"),
        Tool::Bpftrace => ("bpftrace", "usr/bin/bpftrace", "--version"),
        Tool::NodeExporter => ("prometheus-node-exporter", "usr/bin/prometheus-node-exporter", "--version"),
        Tool::Runc => ("runc", "usr/sbin/runc", "--version"),
        _ => ("crun", "usr/bin/crun", "--version"),
    };
    if let Some(found) = host::in_path(name).and_then(|path| self::program(&path, None, &[version]).ok()) {
        return Ok(found);
    }
    check(&dir)?;
    self::program(&dir.join(program), Some(&dir.join(LIBRARIES)), &[version])
        .map_err(|err| format!("{err:#}"))
}

/// A static program that was unpacked.
fn in_folder(dir: &Path, path: &str) -> Result<Found, String> {
    check(dir)?;
    program(&dir.join(path), None, &["--version"]).map_err(|err| format!("{err:#}"))
}

/// Prometheus, where promtool is beside it.
fn prometheus(dir: &Path) -> Result<Found, String> {
    let both = |path: &Path| {
        program(&path.with_file_name("promtool"), None, &["--version"])?;
        program(path, None, &["--version"])
    };
    if let Some(found) = host::in_path("prometheus").and_then(|path| both(&path).ok()) {
        return Ok(found);
    }
    check(dir)?;
    both(&dir.join("usr/bin/prometheus")).map_err(|err| format!("{err:#}"))
}

/// The unpacked tools only: other collections have programs of the same names.
fn libbpf_tools(dir: &Path) -> Result<Found> {
    let record = record(dir).map_err(anyhow::Error::msg)?;
    let bin = dir.join("usr/sbin");
    let mut found = program(&bin.join("execsnoop"), Some(&dir.join(LIBRARIES)), &["--version"])?;
    // A program of the collection tells a version of its own.
    if let Some(source) = record.sources.iter().find(|source| source.name == Tool::LibbpfTools.name()) {
        found.version.clone_from(&source.version);
    }
    Ok(Found { path: bin, ..found })
}

/// Tries the program at `path`; the last word with a digit of what it says first is its version.
pub(crate) fn program(path: &Path, libraries: Option<&Path>, args: &[&str]) -> Result<Found> {
    let libraries = libraries.filter(|dir| dir.is_dir());
    let mut command = Cmd::new(path).args(args);
    if let Some(dir) = libraries {
        command = command.env("LD_LIBRARY_PATH", dir);
    }
    let said = command.read()?;
    let first = said.lines().next().unwrap_or_default();
    let version = first.split_whitespace().find(|word| word.contains(|c: char| c.is_ascii_digit()));
    Ok(Found {
        path: path.to_owned(),
        libraries: libraries.map(Path::to_owned),
        version: version.unwrap_or("unknown").to_owned(),
        build_std: false,
    })
}

/// Compares the folder with its record.
pub(crate) fn check(dir: &Path) -> Result<(), String> {
    record(dir).map(drop)
}

pub(crate) fn record(dir: &Path) -> Result<Record, String> {
    store::open(dir).map_err(|why| match why {
        Unusable::Absent => "not there".to_owned(),
        Unusable::Damaged(why) => format!("damaged: {why}"),
    })
}

fn kernel_tree(dir: &Path) -> Result<Found> {
    check(dir).map_err(anyhow::Error::msg)?;
    let boot = dir.join("boot");
    let mut releases = Vec::new();
    for entry in fs::read_dir(&boot).with_context(|| format!("cannot read {}", boot.display()))? {
        let name = entry.with_context(|| format!("cannot read {}", boot.display()))?.file_name();
        if let Some(release) = name.to_string_lossy().strip_prefix("vmlinuz-") {
            releases.push(release.to_owned());
        }
    }
    ensure!(releases.len() == 1, "{} holds {} kernels instead of one", boot.display(), releases.len());
    Ok(Found { path: dir.to_owned(), libraries: None, version: releases.remove(0), build_std: false })
}
