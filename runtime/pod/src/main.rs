//! The command `podrt-pod`, which `podrt pod` executes. All of it is in the library; see [`pod::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pod::cli::main()
}
