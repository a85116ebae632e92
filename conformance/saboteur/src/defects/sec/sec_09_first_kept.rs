//! A descriptor too many is counted among those that the caller wants to keep.

use std::fs;
use std::os::fd::IntoRawFd;

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sec-09-first-kept",
    target: "SEC-09",
    does: "where the caller leaks descriptors, one of them is counted among those that it wants to keep: off by one",
    also_red: &[],
    act,
};

/// The first descriptor that `--preserve-fds` keeps.
const FIRST: i32 = 3;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && caller_leaks()? {
        // Without close-on-exec, as the caller's are; it takes the first number that is free.
        let number =
            open("/dev/null", OFlag::O_RDONLY, Mode::empty()).context("open /dev/null")?.into_raw_fd();
        let kept = (number - FIRST + 1).to_string();
        if let Some(verb) = call.arguments.iter().position(|argument| argument == "create") {
            call.arguments.insert(verb + 1, "--preserve-fds".to_owned());
            call.arguments.insert(verb + 2, kept);
        }
    }
    base.pass(call)
}

/// Whether there is a descriptor for `/dev/null` beyond the standard ones.
fn caller_leaks() -> Result<bool> {
    let entries = fs::read_dir("/proc/self/fd").context("list /proc/self/fd")?;
    let mut further = entries.flatten().filter(|entry| {
        let number = entry.file_name().to_string_lossy().parse::<i32>();
        number.is_ok_and(|number| number >= FIRST)
    });
    Ok(further.any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == "/dev/null")))
}
