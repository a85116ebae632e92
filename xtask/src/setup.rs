//! `cargo xtask setup`: finds what podproof builds and runs with, and fetches what is missing.
//!
//! Tools that can be used from any folder are unpacked under `target/tools`, one folder each, and the system is left as it
//! is; those that must be installed (QEMU, a C linker, a C++ compiler) are announced first. Found means tried: a program counts only
//! if it runs. Nothing of the user's (rustup, rustc, installed packages) is removed or changed.

mod apt;
mod bpf;
mod host;
mod image;
mod recipe;
mod store;
mod youki;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// What set-up can provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    Linker,
    Cxx,
    BpfRust,
    BpfLinker,
    Qemu,
    Kernel61,
    Kernel612,
    Busybox,
    Runc,
    Crun,
    Podman,
    Containerd,
    Systemd,
    Prometheus,
    Erofs,
    Youki,
    Bpftrace,
    LibbpfTools,
    NodeExporter,
    Chromium,
    Catatonit,
    Tini,
}

impl Tool {
    /// What building, judging and testing take.
    pub(crate) const ALL: [Self; 13] = [
        Self::Linker,
        Self::Cxx,
        Self::BpfRust,
        Self::BpfLinker,
        Self::Qemu,
        Self::Kernel61,
        Self::Kernel612,
        Self::Busybox,
        Self::Runc,
        Self::Crun,
        Self::Podman,
        Self::Containerd,
        Self::Prometheus,
    ];

    /// Tools that watch what the probes watch; only a command that compares the probes with them fetches them.
    pub(crate) const PEERS: [Self; 2] = [Self::Bpftrace, Self::LibbpfTools];

    /// What building podproof takes, the BPF object included.
    pub(crate) const BUILD: [Self; 3] = [Self::Linker, Self::BpfRust, Self::BpfLinker];

    /// The kernel of a series that podproof knows by name.
    #[must_use]
    pub(crate) fn kernel(series: &str) -> Option<Self> {
        match series {
            "6.1" => Some(Self::Kernel61),
            "6.12" => Some(Self::Kernel612),
            _ => None,
        }
    }

    /// The sandbox program that is known by this name.
    #[must_use]
    pub(crate) fn sandbox(name: &str) -> Option<Self> {
        match name {
            "catatonit" => Some(Self::Catatonit),
            "tini" => Some(Self::Tini),
            _ => None,
        }
    }

    /// The runtime that is known by this name.
    #[must_use]
    pub(crate) fn runtime(name: &str) -> Option<Self> {
        match name {
            "runc" => Some(Self::Runc),
            "crun" => Some(Self::Crun),
            "youki" => Some(Self::Youki),
            _ => None,
        }
    }

    /// Its name in tables and messages, and the name of its folder under `target/tools`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linker => "linker",
            Self::Cxx => "c++",
            Self::BpfRust => "rust-web",
            Self::BpfLinker => "bpf-linker",
            Self::Qemu => "qemu",
            Self::Kernel61 => "kernel-6.1",
            Self::Kernel612 => "kernel-6.12",
            Self::Busybox => "busybox",
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Systemd => "systemd",
            Self::Prometheus => "prometheus",
            Self::Erofs => "erofs-utils",
            Self::Youki => "youki",
            Self::Bpftrace => "bpftrace",
            Self::LibbpfTools => "libbpf-tools",
            Self::NodeExporter => "prometheus-node-exporter",
            Self::Chromium => "chromium",
            Self::Catatonit => "catatonit",
            Self::Tini => "tini",
        }
    }

    /// What it is needed for.
    fn purpose(self) -> &'static str {
        match self {
            Self::Linker => "links static programs",
            Self::Cxx => "compiles the fuzzer",
            Self::BpfRust => "compiles the probes (a rustc with core for bpfel-unknown-none)",
            Self::BpfLinker => "links the probes",
            Self::Qemu => "runs the VMs",
            Self::Kernel61 | Self::Kernel612 => "kernel of the VMs",
            Self::Busybox => "shell and commands in the VMs",
            Self::Runc | Self::Crun | Self::Youki => "runtime to judge",
            Self::Podman | Self::Containerd => "disk image for VMs, with an engine that drives runtimes",
            Self::Systemd => "disk image for VMs, with a service manager",
            Self::Prometheus => "scrapes the exporter and judges its alerts",
            Self::Erofs => "makes disk images",
            Self::Bpftrace | Self::LibbpfTools => "compared with the probes",
            Self::NodeExporter => "compared with the exporter",
            Self::Chromium => "opens pages in the tests",
            Self::Catatonit | Self::Tini => "sandbox program to judge",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tool that was tried and works.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The program; for a kernel the folder that holds `boot` and `lib/modules`, for libbpf-tools that of its programs,
    /// for an engine and for systemd the image of a disk. Prometheus has promtool beside it.
    pub(crate) path: PathBuf,
    /// The folder of shared libraries that the program needs besides the system's.
    pub(crate) libraries: Option<PathBuf>,
    pub(crate) version: String,
    /// The nightly toolchain that has to build `core` first; only for the rustc of the BPF object.
    pub(crate) build_std: bool,
}

/// The tools that a command asked for.
#[derive(Debug)]
pub(crate) struct Toolbox {
    found: BTreeMap<Tool, Found>,
}

impl Toolbox {
    /// A tool that was asked for in [`ensure`].
    ///
    /// # Errors
    /// It was not asked for.
    pub(crate) fn tool(&self, tool: Tool) -> Result<&Found> {
        self.found
            .get(&tool)
            .with_context(|| format!("{tool} was not asked for in the set-up of this command"))
    }

    /// The folder of a kernel, which holds `boot` and `lib/modules`.
    pub(crate) fn kernel_tree(&self, series: &str) -> Result<&Path> {
        let tool = Tool::kernel(series).with_context(|| format!("no kernel is known as {series:?}"))?;
        Ok(&self.tool(tool)?.path)
    }
}

/// Finds `tools`, and fetches or installs those that are missing.
///
/// # Errors
/// Something cannot be fetched, or must be installed by the user; the message says how.
pub(crate) fn ensure(tools: &[Tool]) -> Result<Toolbox> {
    let wanted: BTreeSet<Tool> = tools.iter().copied().collect();
    let (mut found, mut missing) = survey(&wanted);
    if !missing.is_empty() {
        let base = tools_dir();
        let _lock = store::lock(&base)?;
        // Another process may have fetched them while we waited for the lock.
        (found, missing) = survey(&wanted);
        if !missing.is_empty() {
            let system = host::System::detect();
            if !system.is_debian_12() {
                bail!(
                    "{}",
                    host::how_elsewhere(&system, missing.iter().map(|(tool, why)| (*tool, why.as_str())))
                );
            }
            recipe::provide(&base, missing.iter().map(|(tool, _)| *tool).collect())?;
            (found, missing) = survey(&wanted);
        }
        if let Some((tool, why)) = missing.first() {
            bail!("{tool} still does not work after its installation: {why}");
        }
    }
    Ok(Toolbox { found })
}

/// `cargo xtask setup`: everything; with `is_check` only the table.
pub(crate) fn run(is_check: bool) -> Result<ExitCode> {
    if !is_check {
        ensure(&Tool::ALL)?;
    }
    let (found, missing) = survey(&Tool::ALL.into_iter().collect());
    let system = host::System::detect();
    for tool in Tool::ALL {
        if let Some(found) = found.get(&tool) {
            println!("{:<12} found    {:<28} {}", tool.name(), found.version, found.path.display());
        } else {
            let why = missing.iter().find(|(it, _)| *it == tool).map_or("", |(_, why)| why);
            println!("{:<12} MISSING  {} ({why})", tool.name(), tool.purpose());
            println!("{:<12}          {}", "", host::how(&system, tool));
        }
    }
    Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn tools_dir() -> PathBuf {
    workspace::target().join("tools")
}

/// Tries each tool: what works, and what does not with the reason.
fn survey(wanted: &BTreeSet<Tool>) -> (BTreeMap<Tool, Found>, Vec<(Tool, String)>) {
    let base = tools_dir();
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    let needs_bpf = wanted.contains(&Tool::BpfRust) || wanted.contains(&Tool::BpfLinker);
    let mut bpf = needs_bpf.then(|| bpf::find(&base));
    for &tool in wanted {
        let result = match tool {
            Tool::Linker => host::linker(),
            Tool::Cxx => host::cxx(),
            Tool::Qemu => host::qemu(),
            Tool::Chromium => host::chromium(),
            Tool::BpfRust | Tool::BpfLinker => match &mut bpf {
                Some(Ok(pair)) if tool == Tool::BpfRust => Ok(pair.0.clone()),
                Some(Ok(pair)) => Ok(pair.1.clone()),
                Some(Err(why)) => Err(why.clone()),
                None => Err(String::new()),
            },
            _ => recipe::find(&base, tool),
        };
        match result {
            Ok(it) => {
                found.insert(tool, it);
            }
            Err(why) => missing.push((tool, why)),
        }
    }
    (found, missing)
}
