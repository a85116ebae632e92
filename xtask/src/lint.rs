//! `cargo xtask lint`: formatting, clippy, rustdoc, house rules, licences and sources. All offences are shown, not only
//! those of the first step that finds some.

mod tidy;

use std::process::ExitCode;

use anyhow::Result;

use crate::build;
use crate::cmd::Cmd;
use crate::setup::{self, Tool};
use crate::workspace;

/// Runs every step.
pub(crate) fn run() -> Result<ExitCode> {
    let mut failed: Vec<&str> = Vec::new();
    let mut step = |name: &'static str, is_clean: bool| {
        if !is_clean {
            failed.push(name);
        }
    };
    step("fmt", cargo(&["fmt", "--all", "--", "--check", "-l"]).succeeds()?);
    step("clippy", clippy(&["--all-targets", "--features", "podproof/probe-log"]).succeeds()?);
    // No clippy knows the BPF target, but the programs can be compiled for this machine as well. Like pause they have no
    // standard library and so cannot unwind.
    let probes = clippy(&["--package", "podproof-probes", "--release", "--features", "log"])
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("RUSTC_BOOTSTRAP", "1");
    step("clippy of the probes", probes.succeeds()?);
    setup::ensure(&[Tool::Linker, Tool::Cxx])?;
    step("clippy of the fuzz targets", clippy(&["--package", "podrt-fuzz", "--bins"]).succeeds()?);
    step("clippy of pause", clippy(&["--package", "pause", "--profile", "pause"]).succeeds()?);
    let doc = cargo(&["doc", "--quiet", "--locked", "--no-deps", "--document-private-items", "--keep-going"])
        .env("RUSTDOCFLAGS", "-D warnings");
    step("rustdoc", doc.succeeds()?);
    step("house rules", tidy::run()?);
    if Cmd::new(workspace::cargo()).args(["deny", "--version"]).try_read().is_some() {
        let checks = ["bans", "licenses", "sources"];
        step(
            "licences and sources",
            cargo(&["deny", "--log-level", "warn", "check"]).args(checks).succeeds()?,
        );
    } else {
        eprintln!("lint: no cargo-deny here: licences and sources are not checked");
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("lint: offences in: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn clippy(what: &[&str]) -> Cmd {
    cargo(&["clippy", "--quiet", "--locked", "--keep-going"]).args(what).args(["--", "-D", "warnings"])
}

fn cargo(args: &[&str]) -> Cmd {
    let object = build::bpf_object();
    let command = Cmd::new(workspace::cargo()).args(args).dir(workspace::root());
    // The same as in a test run, so that neither makes the other's work stale.
    if object.exists() { command.env(build::BPF_OBJECT_VAR, object) } else { command }
}
