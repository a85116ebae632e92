//! The two programs that make the BPF object: a rustc that has `core` for `bpfel-unknown-none`, and bpf-linker.
//!
//! They go together: the LLVM of the linker must not be older than that of the rustc. In this order: Debian's `rustc-web`
//! unpacked under `target/tools` with a bpf-linker built against its LLVM; a rustc of the user's with the target prebuilt,
//! and a nightly that can build `core` (it has rust-src), both with the bpf-linker in PATH.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cmd::Cmd;
use crate::setup::apt::Apt;
use crate::setup::store::{self, Source};
use crate::setup::{Found, Tool, host, recipe};
use crate::workspace;

const TARGET: &str = "bpfel-unknown-none";
/// The series of bpf-linker whose options the build uses.
const LINKER_SERIES: &str = "0.13";

/// The first pair that works; else why none does.
pub(crate) fn find(base: &Path) -> Result<(Found, Found), String> {
    let own = unpacked(base);
    let Err(why) = own else { return own };
    let linker = host::in_path("bpf-linker").and_then(|path| linker_at(&path, None).ok());
    let rust = prebuilt().or_else(nightly);
    match (rust, linker) {
        (Some(rust), Some(linker)) => Ok((rust, linker)),
        (Some(rust), None) => {
            Err(format!("{why}; {} has core for {TARGET}, but there is no bpf-linker", rust.version))
        }
        (None, _) => Err(format!("{why}; no rustc here has core for {TARGET}, and no nightly has rust-src")),
    }
}

/// Fetches Debian's rustc and builds bpf-linker against its LLVM.
pub(crate) fn provide(base: &Path, apt: &Apt) -> Result<()> {
    let dir = base.join(Tool::BpfRust.name());
    if unpacked_rust(&dir).is_err() {
        let packages =
            apt.with_libraries(&["rustc-web", "libstd-rust-web-dev", "libstd-rust-web-dev-bpf"])?;
        let version = |name| packages.iter().find(|p| p.name == name).map(|p| &p.version);
        ensure!(
            version("rustc-web") == version("libstd-rust-web-dev-bpf"),
            "the package lists have rustc-web {:?} and libstd-rust-web-dev-bpf {:?}, which do not fit: try again later",
            version("rustc-web"),
            version("libstd-rust-web-dev-bpf")
        );
        recipe::unpack(base, Tool::BpfRust, apt, packages)?;
    }
    let rust = unpacked_rust(&dir).map_err(anyhow::Error::msg)?;
    build_linker(base, &rust)
}

fn unpacked(base: &Path) -> Result<(Found, Found), String> {
    let rust = unpacked_rust(&base.join(Tool::BpfRust.name())).map_err(|why| format!("rustc-web: {why}"))?;
    let dir = base.join(Tool::BpfLinker.name());
    recipe::check(&dir).map_err(|why| format!("bpf-linker: {why}"))?;
    let linker = linker_at(&dir.join("bin/bpf-linker"), rust.libraries.as_deref())
        .map_err(|err| format!("bpf-linker: {err:#}"))?;
    Ok((rust, linker))
}

fn unpacked_rust(dir: &Path) -> Result<Found, String> {
    recipe::check(dir)?;
    rust_at(&dir.join("usr/bin/rustc"), Some(&dir.join(recipe::LIBRARIES))).map_err(|err| format!("{err:#}"))
}

/// A rustc of the user's that comes with the target.
fn prebuilt() -> Option<Found> {
    let mut candidates = host::in_path("rustc").into_iter().chain([PathBuf::from("/usr/bin/rustc")]);
    candidates.find_map(|rustc| rust_at(&rustc, None).ok())
}

/// Tries a rustc: it runs and has a `core` for the target.
fn rust_at(rustc: &Path, libraries: Option<&Path>) -> Result<Found> {
    let command = || {
        let command = Cmd::new(rustc);
        match libraries {
            Some(dir) => command.env("LD_LIBRARY_PATH", dir),
            None => command,
        }
    };
    let dir = PathBuf::from(command().args(["--print", "target-libdir", "--target", TARGET]).read()?.trim());
    let entries = fs::read_dir(&dir).with_context(|| format!("no core for {TARGET}: {}", dir.display()))?;
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    ensure!(
        entries.flatten().any(|entry| is_core(&entry.file_name().to_string_lossy())),
        "no core for {TARGET} in {}",
        dir.display()
    );
    Ok(Found {
        path: rustc.to_owned(),
        libraries: libraries.map(Path::to_owned),
        version: rustc_version(&command().arg("-V").read()?),
        build_std: false,
    })
}

/// The nightly toolchain of rustup, if it has the source of `core`.
fn nightly() -> Option<Found> {
    let rustc = Cmd::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]).try_read()?;
    let rustc = PathBuf::from(rustc.trim());
    let sysroot = Cmd::new(&rustc).args(["--print", "sysroot"]).try_read()?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !source.is_file() {
        return None;
    }
    let version = rustc_version(&Cmd::new(&rustc).arg("-V").try_read()?);
    Some(Found { path: rustc, libraries: None, version, build_std: true })
}

fn linker_at(path: &Path, libraries: Option<&Path>) -> Result<Found> {
    let mut command = Cmd::new(path).arg("--version");
    if let Some(dir) = libraries {
        command = command.env("LD_LIBRARY_PATH", dir);
    }
    let said = command.read()?;
    Ok(Found {
        path: path.to_owned(),
        libraries: libraries.map(Path::to_owned),
        version: said.split_whitespace().last().unwrap_or("unknown").to_owned(),
        build_std: false,
    })
}

/// `rustc 1.96.0 (hash date) ...` without the word and what is in brackets.
fn rustc_version(said: &str) -> String {
    said.split_whitespace().nth(1).unwrap_or("unknown").to_owned()
}

fn build_linker(base: &Path, rust: &Found) -> Result<()> {
    let libraries = rust.libraries.as_deref().context("the unpacked rustc has no folder of libraries")?;
    let said = Cmd::new(&rust.path).arg("-vV").env("LD_LIBRARY_PATH", libraries).read()?;
    let llvm = said
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .context("rustc -vV names no LLVM")?;
    let major = llvm.split('.').next().unwrap_or_default();
    let shared = libraries.join(format!("libLLVM-{major}.so"));
    ensure!(shared.exists(), "{} is missing: the unpacked rustc should use it", shared.display());
    eprintln!("setup: building bpf-linker {LINKER_SERIES} against LLVM {llvm} (about a minute)");
    store::install(&base.join(Tool::BpfLinker.name()), Vec::new(), |into, sources| {
        let prefix = into.join("llvm");
        fs::create_dir_all(prefix.join("lib"))
            .with_context(|| format!("cannot create {}", prefix.display()))?;
        // All that its build takes from an LLVM is the shared library, under the name without a version.
        symlink(&shared, prefix.join("lib/libLLVM.so"))
            .with_context(|| format!("cannot link to {}", shared.display()))?;
        let scratch = into.join("build");
        Cmd::new(workspace::cargo())
            .args(["install", "bpf-linker", "--quiet", "--locked", "--force"])
            .args(["--version", &format!("^{LINKER_SERIES}")])
            .args(["--no-default-features", "--features", &format!("llvm-{major}")])
            .arg("--root")
            .arg(into)
            .arg("--target-dir")
            .arg(&scratch)
            .env("LLVM_PREFIX", &prefix)
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .read()?;
        store::remove(&scratch)?;
        store::remove(&prefix)?;
        let program = into.join("bin/bpf-linker");
        let version = linker_at(&program, Some(libraries))?.version;
        sources.push(Source { name: "bpf-linker".to_owned(), version, sha256: store::sha256(&program)? });
        Ok(())
    })
    .context("cannot build bpf-linker")?;
    Ok(())
}
