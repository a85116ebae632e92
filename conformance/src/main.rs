//! `podproof`: judges container runtimes by two witnesses.

use std::process::ExitCode;

fn main() -> ExitCode {
    conformance::cli::main()
}
