//! Networks of pods on a real kernel: needs root, bridges and veth, and says so where it has none.
//!
//! Each case is a process of its own that begins with a new network namespace, which plays the node. The node's own is never
//! touched. The test process itself enters no namespace.

mod cases;
mod crashes;
mod node;

use std::error::Error;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sched::{CloneFlags, unshare};
use pod::net::{NetError, connect, lease};

use crate::node::Netns;

/// A test and its name.
type Case = (&'static str, fn() -> Result<(), Box<dyn Error>>);

/// Exit code of a case that cannot be run on this kernel.
const SKIPPED: u8 = 77;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("--case") => return inside(args.get(2).map_or("", String::as_str)),
        Some("--connect") => return told(crashes::connect_as(&args[2..])),
        _ => {}
    }
    let reason = missing_prerequisite();
    let cases = cases::CASES.iter().chain(crashes::CASES);
    let trials = cases.map(|(name, _)| {
        let reason = reason.clone();
        Trial::ignorable_test(*name, move || match reason {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => run(name).map(|()| Completion::Completed),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Why nothing can be tested here.
fn missing_prerequisite() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    match case("").map(|output| (output.status.code(), output)) {
        Ok((Some(0), _)) => None,
        Ok((Some(code), output)) if code == i32::from(SKIPPED) => {
            Some(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
        // Whatever else is wrong is for the cases to tell.
        _ => None,
    }
}

/// Runs a case in a process of its own.
fn run(name: &str) -> Result<(), Failed> {
    let output = case(name)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

fn case(name: &str) -> std::io::Result<std::process::Output> {
    Command::new(std::env::current_exe()?).args(["--case", name]).output()
}

/// The process of a case; without a name, of the question whether cases can run at all.
fn inside(name: &str) -> ExitCode {
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
        eprintln!("no new network namespace: {}", errno.desc());
        return ExitCode::from(SKIPPED);
    }
    if name.is_empty() {
        return match try_out() {
            Err(error @ NetError::Unsupported { .. }) => {
                eprintln!("{error}");
                ExitCode::from(SKIPPED)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    let case = cases::CASES.iter().chain(crashes::CASES).find(|(known, _)| *known == name);
    told(case.map_or_else(|| Err("no such case".into()), |(_, case)| case()))
}

fn try_out() -> Result<(), NetError> {
    let (Ok(dir), Ok(netns)) = (tempfile::tempdir(), Netns::new()) else { return Ok(()) };
    let lease = lease(dir.path(), "pod", &pod::net::Bridge::default())?;
    connect(netns.as_fd(), &lease)
}

fn told(result: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    eprintln!("{text}");
    ExitCode::FAILURE
}
