//! Runs that the kernel skipped, over all programs.

use aya::programs::ProgramFd;

use crate::programs::Runs;

/// The usable programs.
#[derive(Debug)]
pub(crate) struct Missed(Vec<ProgramFd>);

impl Missed {
    pub(crate) fn of(programs: Vec<ProgramFd>) -> Self {
        Self(programs)
    }

    /// Runs skipped so far; `None` when the kernel does not tell.
    pub(crate) fn count(&self) -> Option<u64> {
        self.0.iter().try_fold(0, |sum: u64, program| Some(sum.saturating_add(Runs::read(program)?.missed)))
    }

    /// Runs skipped since an earlier count. What is not known must not look like none.
    pub(crate) fn since(&self, before: Option<u64>) -> u64 {
        match (before, self.count()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => u64::MAX,
        }
    }
}
