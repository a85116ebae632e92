//! Tells the program what it was built from: the commit, where git knows it, and the compiler.

use std::process::Command;

fn main() {
    // Of a tarball nobody knows the commit.
    println!(
        "cargo::rustc-env=PODPROOF_REVISION={}",
        line("git", &["rev-parse", "HEAD"]).unwrap_or_default()
    );
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_unset| "rustc".to_owned());
    let version = line(&rustc, &["--version"]).unwrap_or_default();
    println!("cargo::rustc-env=PODPROOF_RUSTVERSION={}", version.split(' ').nth(1).unwrap_or_default());
    for file in line("git", &["rev-parse", "--git-path", "HEAD", "--git-path", "logs/HEAD"])
        .iter()
        .flat_map(|text| text.lines())
    {
        println!("cargo::rerun-if-changed={file}");
    }
}

/// What a program says, if it succeeds.
fn line(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
