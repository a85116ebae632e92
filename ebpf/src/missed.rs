//! Runs that the kernel skipped: a program that interrupts itself on one CPU (a signal from an interrupt, during the
//! program for another signal) is not run a second time. Nothing says whose record that was.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::ProgramFd;

/// The attached programs.
#[derive(Debug)]
pub(crate) struct Missed(Vec<ProgramFd>);

impl Missed {
    pub(crate) fn of(programs: Vec<ProgramFd>) -> Self {
        Self(programs)
    }

    /// Runs skipped so far; `None` when the kernel does not tell.
    pub(crate) fn count(&self) -> Option<u64> {
        self.0.iter().try_fold(0, |sum: u64, program| {
            let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
            Some(sum.saturating_add(recursion_misses(&fs::read_to_string(path).ok()?)?))
        })
    }

    /// Runs skipped since an earlier count. What is not known must not look like none.
    pub(crate) fn since(&self, before: Option<u64>) -> u64 {
        match (before, self.count()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => u64::MAX,
        }
    }
}

fn recursion_misses(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::recursion_misses;

    #[test]
    fn reads_the_counter_of_a_program() {
        let text = "pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t12\nverified_insns:\t608\n";
        assert_eq!(recursion_misses(text), Some(12));
        assert_eq!(recursion_misses("pos:\t0\n"), None);
    }
}
