//! `podproof-exporter`: what the kernel knows about every pod, as Prometheus metrics.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    exporter::run::main(exporter::cli::Cli::parse())
}
