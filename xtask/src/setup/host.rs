//! What the system itself provides: QEMU, a C linker, programs in PATH; and how to get them where they are missing.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::unistd::geteuid;

use crate::cmd::Cmd;
use crate::setup::apt::Apt;
use crate::setup::{Found, Tool};

/// The distribution, from os-release.
#[derive(Debug)]
pub(crate) struct System {
    id: String,
    version: String,
    /// The distribution and those that it is like, nearest first.
    family: Vec<String>,
}

impl System {
    pub(crate) fn detect() -> Self {
        let text = fs::read_to_string("/etc/os-release")
            .or_else(|_absent| fs::read_to_string("/usr/lib/os-release"))
            .unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let fields: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches(['"', '\''])))
            .collect();
        let field = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        let (id, like) = (field("ID"), field("ID_LIKE"));
        let family = std::iter::once(id.as_str()).chain(like.split_whitespace()).map(str::to_owned).collect();
        Self { id, version: field("VERSION_ID"), family }
    }

    /// Only here are packages fetched and installed: their names, versions and layout are known.
    pub(crate) fn is_debian_12(&self) -> bool {
        self.id == "debian" && self.version == "12" && cfg!(target_arch = "x86_64")
    }

    fn package(&self, tool: Tool) -> &'static str {
        let is = |name: &str| self.family.iter().any(|id| id == name);
        match tool {
            Tool::Linker if is("debian") => "gcc libc6-dev",
            Tool::Linker if is("fedora") => "gcc glibc-static",
            Tool::Linker if is("suse") || is("opensuse") => "gcc glibc-devel-static",
            Tool::Linker => "gcc (with a static C library)",
            Tool::Cxx if is("fedora") || is("suse") || is("opensuse") => "gcc-c++",
            Tool::Cxx => "g++",
            Tool::Qemu if is("debian") => "qemu-system-x86",
            Tool::Qemu if is("fedora") => "qemu-system-x86-core",
            Tool::Qemu if is("suse") || is("opensuse") => "qemu-x86",
            Tool::Qemu => "qemu-system-x86",
            Tool::Busybox if is("debian") => "busybox-static",
            Tool::BpfRust => "rustup toolchain install nightly --component rust-src",
            Tool::BpfLinker => "cargo install bpf-linker",
            Tool::Kernel61 | Tool::Kernel612 => {
                "a kernel of this series with BTF and its modules; those of Debian 12 are fetched on Debian 12 only"
            }
            Tool::Podman | Tool::Containerd | Tool::Systemd => {
                "a disk image of Debian 12's packages; it is made on Debian 12 only"
            }
            Tool::Youki => "cargo install youki",
            other => other.name(),
        }
    }
}

/// One line that says how to get `tool`.
pub(crate) fn how(system: &System, tool: Tool) -> String {
    let package = system.package(tool);
    match tool {
        _ if !system.is_debian_12() => package.to_owned(),
        Tool::Linker | Tool::Cxx | Tool::Qemu | Tool::Chromium => {
            format!("cargo xtask setup, or: {}", install_line(&[package]))
        }
        _ => "cargo xtask setup".to_owned(),
    }
}

/// What is missing, with the names of this distribution.
pub(crate) fn how_elsewhere<'a>(
    system: &System,
    missing: impl IntoIterator<Item = (Tool, &'a str)>,
) -> String {
    let mut text = format!(
        "some tools are missing, and this is {} {} on {}: set-up fetches packages on Debian 12 (x86_64) only\n",
        if system.id.is_empty() { "an unknown system" } else { &system.id },
        system.version,
        env::consts::ARCH,
    );
    for (tool, why) in missing {
        let _infallible = writeln!(text, "  {:<12} {} ({why})", tool.name(), system.package(tool));
    }
    text + "install them and try again"
}

fn install_line(packages: &[&str]) -> String {
    format!("sudo apt-get update && sudo apt-get install --no-install-recommends {}", packages.join(" "))
}

/// The browser, which tests of pages drive.
pub(crate) fn chromium() -> Result<Found, String> {
    let path = in_path("chromium").ok_or("chromium is not in PATH")?;
    super::recipe::program(&path, None, &["--version"]).map_err(|err| format!("{err:#}"))
}

/// Installs what cannot be unpacked; announces it first.
///
/// # Errors
/// Neither root nor password-less sudo (the message has the command to run), or apt fails.
pub(crate) fn install(system: &System, tools: &[Tool], apt: &Apt) -> Result<()> {
    let packages: Vec<&str> = tools.iter().flat_map(|tool| system.package(*tool).split(' ')).collect();
    let is_root = geteuid().is_root();
    if !is_root && Cmd::new("sudo").args(["-n", "true"]).try_read().is_none() {
        bail!(
            "{} must be installed, which takes root; sudo is not there or asks for a password. Run\n    {}\nand try again",
            packages.join(", "),
            install_line(&packages)
        );
    }
    eprintln!("setup: installing packages of the system: {}", packages.join(" "));
    apt.refresh()?;
    let command = if is_root { Cmd::new("env") } else { Cmd::new("sudo").args(["-n", "env"]) };
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-c"])
        .arg(apt.config())
        // Our lists, but what is installed is the system's business, and its root-owned archives too.
        .args(["-o", "Dir::State::status=/var/lib/dpkg/status"])
        .args(["-o", "Dir::Cache::archives=/var/cache/apt/archives"])
        .args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache="])
        .args(["-q", "-y", "--no-install-recommends", "install"])
        .args(&packages)
        .read()
        .with_context(|| format!("cannot install {}", packages.join(", ")))?;
    Ok(())
}

/// A C compiler that finds a static C library.
pub(crate) fn linker() -> Result<Found, String> {
    let archive = Cmd::new("cc").arg("-print-file-name=libc.a").try_read().ok_or("no cc that runs")?;
    // A file that it does not find is printed as it was asked for.
    if !Path::new(archive.trim()).is_absolute() {
        return Err("cc finds no libc.a".to_owned());
    }
    let version = Cmd::new("cc").arg("-dumpfullversion").try_read().unwrap_or_default();
    Ok(Found {
        path: in_path("cc").unwrap_or_else(|| "cc".into()),
        libraries: None,
        version: format!("cc {}", version.trim()),
        build_std: false,
    })
}

/// A C++ compiler.
pub(crate) fn cxx() -> Result<Found, String> {
    let version = Cmd::new("c++").arg("-dumpfullversion").try_read().ok_or("no c++ that runs")?;
    Ok(Found {
        path: in_path("c++").unwrap_or_else(|| "c++".into()),
        libraries: None,
        version: format!("c++ {}", version.trim()),
        build_std: false,
    })
}

/// QEMU with its firmware.
pub(crate) fn qemu() -> Result<Found, String> {
    const PROGRAM: &str = "qemu-system-x86_64";
    let path = in_path(PROGRAM).ok_or_else(|| format!("no {PROGRAM} in PATH"))?;
    let said = Cmd::new(&path).arg("--version").read().map_err(|err| format!("{err:#}"))?;
    let version = said.split("version ").nth(1).and_then(|rest| rest.split_whitespace().next());
    Ok(Found { path, libraries: None, version: version.unwrap_or("unknown").to_owned(), build_std: false })
}

/// The executable that a shell would start for `name`; runtimes are often in the sbin folders that users' PATHs lack.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(usual)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_12_is_recognised_and_its_relatives_are_not() {
        let debian = System::parse("PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n");
        assert_eq!((debian.id.as_str(), debian.version.as_str()), ("debian", "12"));
        let ubuntu = System::parse("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n");
        assert!(!ubuntu.is_debian_12());
        assert_eq!(ubuntu.package(Tool::Qemu), "qemu-system-x86");
        assert!(!System::parse("ID=debian\nVERSION_ID=\"13\"\n").is_debian_12());
        assert!(!System::parse("").is_debian_12());
    }

    #[test]
    fn elsewhere_every_missing_tool_is_listed_by_its_name_there() {
        let fedora = System::parse("ID=fedora\nVERSION_ID=42\n");
        let text = how_elsewhere(&fedora, [(Tool::Qemu, "no program"), (Tool::Linker, "no cc")]);
        assert!(text.contains("qemu-system-x86-core") && text.contains("glibc-static"), "{text}");
        assert!(!text.contains("apt-get"), "{text}");
    }
}
