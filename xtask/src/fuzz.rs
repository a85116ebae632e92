//! `cargo xtask fuzz`: random input for what podrt reads (`runtime/fuzz`, laid out as cargo-fuzz has it).
//!
//! Built with the coverage instrumentation that cargo-fuzz asks for, which the stable compiler has too. What was found to
//! reach new code is kept in `target/fuzz/corpus`, and the next run begins there; an input that fails is written to
//! `target/fuzz/artifacts`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::build::GUEST_TARGET;
use crate::cmd::Cmd;
use crate::setup::{self, Tool};
use crate::test::{Context, Tally};
use crate::workspace;

/// The targets.
const TARGETS: [&str; 4] = ["config", "layer", "manifest", "state"];

/// Seconds per target in the gate, and in a full run of the tests.
const SHORT: u64 = 15;
const LONG: u64 = 600;

/// The options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct FuzzArgs {
    /// What to fuzz: config (config.json and the plan made of it), layer (of an image), manifest (of a pod), state (state.json);
    /// all without one
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    target: Option<String>,
    /// How long, per target
    #[arg(long, value_name = "S", default_value_t = 60)]
    seconds: u64,
}

/// Fuzzes, and tells what failed.
pub(crate) fn run(args: &FuzzArgs) -> Result<ExitCode> {
    let targets: Vec<&str> = TARGETS
        .into_iter()
        .filter(|name| args.target.as_deref().is_none_or(|asked| asked == *name))
        .collect();
    let tally = fuzz(&targets, args.seconds)?;
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stage of the tests.
pub(crate) fn command(context: &Context) -> Result<Cmd> {
    let seconds = if context.is_full { LONG } else { SHORT };
    Ok(Cmd::ourselves()?.args(["fuzz", "--seconds", &seconds.to_string()]))
}

/// Counts the targets; the output says which one failed.
pub(crate) fn tally(_: &Context, is_good: bool) -> Result<Tally> {
    Ok(Tally::check(&format!("fuzz targets {}", TARGETS.join(", ")), is_good))
}

fn fuzz(targets: &[&str], seconds: u64) -> Result<Tally> {
    setup::ensure(&[Tool::Linker, Tool::Cxx])?;
    let programs = build()?;
    let mut tally = Tally::default();
    for name in targets {
        tally.add(&Tally::check(&format!("fuzz {name}"), one(&programs.join(name), name, seconds)?));
    }
    Ok(tally)
}

fn dir() -> PathBuf {
    workspace::target().join("fuzz")
}

/// Builds the targets; the folder that they are in.
fn build() -> Result<PathBuf> {
    const FLAGS: [&str; 9] = [
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
        // With several units the linker would drop the table of some.
        "-Ccodegen-units=1",
        "-Cdebug-assertions",
        "-Coverflow-checks",
        "--cfg=fuzzing",
    ];
    Cmd::new(workspace::cargo())
        .args(["build", "--quiet", "--release", "--locked", "--package", "podrt-fuzz", "--bins"])
        // With a target named, build scripts are not instrumented.
        .args(["--target", GUEST_TARGET, "--target-dir"])
        .arg(dir())
        .dir(workspace::root())
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .run()
        .context("cannot build the fuzz targets")?;
    Ok(dir().join(GUEST_TARGET).join("release"))
}

/// Runs one target; false when an input failed.
fn one(program: &PathBuf, name: &str, seconds: u64) -> Result<bool> {
    let (corpus, artifacts) = (dir().join("corpus").join(name), dir().join("artifacts"));
    for made in [&corpus, &artifacts] {
        fs::create_dir_all(made).with_context(|| format!("cannot create {}", made.display()))?;
    }
    let seeds = workspace::root().join("runtime/fuzz/seeds").join(name);
    ensure!(seeds.is_dir(), "{} is missing: it holds the inputs to begin with", seeds.display());
    println!("fuzzing {name} for {seconds} s");
    let is_good = Cmd::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{name}-", artifacts.display()))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-verbosity=0", "-print_final_stats=1"])
        .args([&corpus, &seeds])
        .succeeds()?;
    if !is_good {
        eprintln!("error: an input of {name} failed; it is in {}, and is run again by", artifacts.display());
        eprintln!("    {} FILE", program.display());
    }
    Ok(is_good)
}
