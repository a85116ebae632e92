//! `cargo xtask build`: the BPF object and the static programs that run in a VM, in containers, or on the host as they are.
//!
//! Each is built by cargo in a target folder of its own, so that nothing is rebuilt when nothing changed and a plain
//! `cargo build` does not disturb it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::cmd::Cmd;
use crate::setup::{self, Tool, Toolbox};
use crate::workspace;

const BPF_TARGET: &str = "bpfel-unknown-none";
pub(crate) const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";
/// Linked statically at fixed addresses: nothing is relocated at each start, which costs time in an emulated machine.
pub(crate) const STATIC: &str = "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static";
/// Names the BPF object to the build script of `podproof-ebpf`, which embeds it.
pub(crate) const BPF_OBJECT_VAR: &str = "PODPROOF_BPF_OBJECT";

/// The finished files.
#[derive(Clone, Debug)]
pub(crate) struct Artifacts {
    pub(crate) podproof: PathBuf,
    pub(crate) podrt: PathBuf,
    pub(crate) podrt_pod: PathBuf,
    pub(crate) witness: PathBuf,
    pub(crate) saboteur: PathBuf,
    /// The exporter of metrics.
    pub(crate) exporter: PathBuf,
    pub(crate) vm_init: PathBuf,
    pub(crate) pause: PathBuf,
    pub(crate) probes: PathBuf,
}

/// Builds everything and prints where it is.
pub(crate) fn run(probe_log: bool) -> Result<ExitCode> {
    let tools = setup::ensure(&Tool::BUILD)?;
    let built =
        if probe_log { all_with(&logging_probes(&tools)?, &["podproof/probe-log"]) } else { all(&tools) }?;
    let Artifacts { podproof, podrt, podrt_pod, witness, saboteur, exporter, vm_init, pause, probes } =
        &built;
    for path in [podproof, podrt, podrt_pod, witness, saboteur, exporter, vm_init, pause, probes] {
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds everything.
///
/// # Errors
/// A build fails; cargo has printed why.
pub(crate) fn all(tools: &Toolbox) -> Result<Artifacts> {
    all_with(&probes(tools)?, &[])
}

/// Builds the static programs with this BPF object and these features.
fn all_with(probes: &Path, features: &[&str]) -> Result<Artifacts> {
    let packages = [
        "podproof",
        "podrt",
        "podrt-pod",
        "podproof-witness",
        "podproof-saboteur",
        "podproof-exporter",
        "vm-init",
    ];
    let dir = guest(&packages, Some(probes), features)?;
    let pause = pause(&dir)?;
    let program = |name: &str| dir.join(name);
    Ok(Artifacts {
        podproof: program("podproof"),
        podrt: program("podrt"),
        podrt_pod: program("podrt-pod"),
        witness: program("podproof-witness"),
        saboteur: program("podproof-saboteur"),
        exporter: program("podproof-exporter"),
        vm_init: program("vm-init"),
        pause,
        probes: probes.to_owned(),
    })
}

/// Where the BPF object is after a build.
pub(crate) fn bpf_object() -> PathBuf {
    workspace::target().join("bpf/probes")
}

/// The cargo command of the BPF programs, up to the sub-command's own options.
pub(crate) fn bpf_cargo(tools: &Toolbox, subcommand: &str) -> Result<Cmd> {
    let rust = tools.tool(Tool::BpfRust)?;
    let linker = tools.tool(Tool::BpfLinker)?;
    let mut flags =
        OsString::from("--cfg=bpf_target_arch=\"x86_64\"\u{1f}-Cdebuginfo=2\u{1f}-Ctarget-cpu=v3");
    flags.push("\u{1f}-Clink-arg=--btf\u{1f}-Clinker=");
    flags.push(&linker.path);
    let mut cargo = workspace::cargo();
    if rust.build_std {
        cargo = rust.path.with_file_name("cargo");
    }
    let mut command = Cmd::new(cargo)
        .arg(subcommand)
        .args([
            "--package",
            "podproof-probes",
            "--release",
            "--locked",
            "--target",
            BPF_TARGET,
            "--target-dir",
        ])
        .arg(workspace::target().join("bpf-build"))
        .dir(workspace::root())
        .env("RUSTC", &rust.path)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // The BTF is made from the debug information, so none of it may be left out.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    if rust.build_std {
        command = command.args(["-Z", "build-std=core"]);
    }
    if let Some(dir) = linker.libraries.as_deref().or(rust.libraries.as_deref()) {
        command = command.env("LD_LIBRARY_PATH", dir);
    }
    Ok(command)
}

/// Builds the BPF object, and the one of the injector beside it.
///
/// # Errors
/// The build fails; cargo has printed why.
pub(crate) fn probes(tools: &Toolbox) -> Result<PathBuf> {
    bpf(tools, "inject", &[], bpf_object().with_file_name("inject"))?;
    bpf(tools, "probes", &[], bpf_object())
}

/// Builds the BPF object whose programs log, beside the other one.
///
/// # Errors
/// The build fails; cargo has printed why.
pub(crate) fn logging_probes(tools: &Toolbox) -> Result<PathBuf> {
    bpf(tools, "probes", &["--features", "log"], bpf_object().with_file_name("probes-log"))
}

fn bpf(tools: &Toolbox, name: &str, options: &[&str], object: PathBuf) -> Result<PathBuf> {
    bpf_cargo(tools, "build")?
        .args(["--quiet", "--bin", name])
        .args(options)
        .run()
        .with_context(|| format!("cannot build the BPF object {name}"))?;
    let built = workspace::target().join("bpf-build").join(BPF_TARGET).join("release").join(name);
    replace_if_different(&built, &object)?;
    Ok(object)
}

/// Builds static programs for the VM, whose C library is the build machine's, with these features (`PACKAGE/FEATURE`), and
/// returns the folder that they are in.
///
/// # Errors
/// The build fails; cargo has printed why.
pub(crate) fn guest(packages: &[&str], probes: Option<&Path>, features: &[&str]) -> Result<PathBuf> {
    let dir = workspace::target().join("guest");
    let mut command = Cmd::new(workspace::cargo())
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--bins",
            "--target",
            GUEST_TARGET,
            "--target-dir",
        ])
        .arg(&dir)
        .args(packages.iter().flat_map(|name| ["--package", name]))
        .args(features.iter().flat_map(|name| ["--features", name]))
        .dir(workspace::root())
        .env("CARGO_ENCODED_RUSTFLAGS", STATIC);
    if let Some(object) = probes {
        command = command.env(BPF_OBJECT_VAR, object);
    }
    command.run().context("cannot build the static programs")?;
    Ok(dir.join(GUEST_TARGET).join("release"))
}

/// Builds test programs, each named by its package and its own name, statically for the VM, with these features; the files
/// by name.
///
/// # Errors
/// The build fails; cargo has printed why.
pub(crate) fn guest_tests(
    programs: &[(&str, &str)],
    probes: &Path,
    features: &[&str],
) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = Cmd::new(workspace::cargo())
        .args(["test", "--quiet", "--no-run", "--release", "--locked", "--message-format", "json"])
        .args(["--target", GUEST_TARGET, "--target-dir"])
        .arg(workspace::target().join("guest"))
        .dir(workspace::root())
        .env("CARGO_ENCODED_RUSTFLAGS", STATIC)
        .env(BPF_OBJECT_VAR, probes);
    for (package, name) in programs {
        command = command.args(["--package", package, "--test", name]);
    }
    command = command.args(features.iter().flat_map(|name| ["--features", name]));
    let output = command.read().context("cannot build the test programs")?;
    let mut built = BTreeMap::new();
    for message in output.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
        let (Some(name), Some(path)) = (message["target"]["name"].as_str(), message["executable"].as_str())
        else {
            continue;
        };
        if programs.iter().any(|(_, wanted)| *wanted == name) {
            built.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    for (_, name) in programs {
        ensure!(built.contains_key(*name), "cargo named no executable of the test program {name}");
    }
    Ok(built)
}

/// Builds pause and puts it beside podrt-pod, in `beside`, where that looks for it.
fn pause(beside: &Path) -> Result<PathBuf> {
    let dir = workspace::target().join("pause");
    Cmd::new(workspace::cargo())
        .args(["build", "--quiet", "--locked", "--package", "pause", "--profile", "pause"])
        .args(["--target", GUEST_TARGET, "--target-dir"])
        .arg(&dir)
        .dir(workspace::root())
        .env("CARGO_ENCODED_RUSTFLAGS", STATIC)
        .run()
        .context("cannot build pause")?;
    let pause = beside.join("pause");
    replace_if_different(&dir.join(GUEST_TARGET).join("pause/pause"), &pause)?;
    Ok(pause)
}

/// Copies a file with its mode over another only if they differ, so that what is made from it is not made again in vain.
fn replace_if_different(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let dir = to.parent().unwrap_or(to);
    let partial = to.with_extension("partial");
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    fs::copy(from, &partial).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, to).with_context(|| format!("cannot rename {}", partial.display()))
}
