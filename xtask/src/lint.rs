//! `cargo xtask lint`: formatting, clippy, rustdoc, house rules, licences and sources. All offences are shown, not only
//! those of the first step that finds some.

mod tidy;

use std::process::ExitCode;

use anyhow::Result;

use crate::build;
use crate::cmd::Cmd;
use crate::workspace;

/// Runs every step.
pub(crate) fn run() -> Result<ExitCode> {
    let mut failed: Vec<&str> = Vec::new();
    let mut step = |name: &'static str, is_clean: bool| {
        if !is_clean {
            failed.push(name);
        }
    };
    step("fmt", cargo(&["fmt", "--all", "--check"]).succeeds()?);
    let deny = ["--", "-D", "warnings"];
    let clippy = |what: &[&str]| {
        cargo(&["clippy", "--quiet", "--locked", "--keep-going"]).args(what).args(deny).succeeds()
    };
    step("clippy", clippy(&["--all-targets"])?);
    // These two have no main of the standard library and abort on a panic, as the release profiles do.
    step("clippy of the probes", clippy(&["--package", "podproof-probes", "--release"])?);
    step("clippy of pause", clippy(&["--package", "pause", "--profile", "pause"])?);
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

fn cargo(args: &[&str]) -> Cmd {
    let object = build::bpf_object();
    let command = Cmd::new(workspace::cargo()).args(args).dir(workspace::root());
    // The same as in a test run, so that neither makes the other's work stale.
    if object.exists() { command.env(build::BPF_OBJECT_VAR, object) } else { command }
}
