//! The command `podrt`. All of it is in the library; see [`runtime::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::cli::main()
}
