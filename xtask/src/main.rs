//! The commands of the workspace, `cargo xtask COMMAND`: dispatch only.
//!
//! Exit status: 0 success; 1 a test or check failed; 2 wrong usage or set-up; 3 no verdict, or the VM died.

mod bench;
mod build;
mod cmd;
mod conformance;
mod dist;
mod engine;
mod example;
mod exporter_demo;
mod fuzz;
mod lint;
mod markdown;
mod mutants;
mod setup;
mod suite;
mod sweep;
mod test;
mod trace;
mod vm;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The commands of the podproof workspace")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge runtimes in a VM under each kernel: sets up what is missing, builds, boots, prints the verdicts
    Conformance(Box<conformance::ConformanceArgs>),
    /// Prove that every check can fail: judge runtimes with one deliberate defect each
    Mutants(mutants::MutantsArgs),
    /// Kill the commands of runtimes at their system calls, in a VM, and look for what is left
    Sweep(sweep::SweepArgs),
    /// Find what podproof builds and runs with, and fetch what is missing under target/tools
    Setup {
        /// Only print what is there, what is missing and how to get it
        #[arg(long)]
        check: bool,
    },
    /// Build everything that runs in a VM, the BPF object included
    Build {
        /// BPF programs that log some lines for debugging; `PODPROOF_LOG=probes=debug podproof ...` shows them
        #[arg(long)]
        probe_log: bool,
    },
    /// Make a tarball of the static programs, for machines that have neither Rust nor LLVM
    Dist,
    /// Check formatting, clippy, rustdoc and house rules; licences and sources where cargo-deny is present
    Lint,
    /// Run all tests of the workspace: unit, host, VM
    Test {
        /// Whole matrices and repeats as well
        #[arg(long)]
        full: bool,
        /// Only the stages whose names contain this; may be given again
        #[arg(long, value_name = "NAME")]
        stage: Vec<String>,
    },
    /// Run the examples of the pod layer in a VM, with the commands that each names
    Example(example::ExampleArgs),
    /// Set off the exporter's alerts in a VM, with a Prometheus that scrapes it, and see them resolve
    ExporterDemo(exporter_demo::ExporterDemoArgs),
    /// Give what podrt reads random input, to find what makes it fail
    Fuzz(fuzz::FuzzArgs),
    /// Measure, beside other tools where there are some
    Bench(bench::BenchArgs),
    /// Show how a runtime makes, runs and ends one container, as the kernel of a VM sees it
    Trace(trace::TraceArgs),
    /// Open a shell, or run one command, in a VM
    Vm(vm::VmArgs),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Conformance(args) => conformance::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Setup { check } => setup::run(check),
        Command::Build { probe_log } => build::run(probe_log),
        Command::Dist => dist::run(),
        Command::Lint => lint::run(),
        Command::Test { full, stage } => test::run(full, &stage),
        Command::Example(args) => example::run(&args),
        Command::ExporterDemo(args) => exporter_demo::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Vm(args) => vm::run(args),
    }
}
