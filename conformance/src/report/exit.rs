//! The exit status (ARCHITECTURE.md): 0 passed, 1 a MUST failed, 3 nothing certain. 2, wrong usage, is not of a report.

use super::model::RunReport;

/// At least one check passed, no MUST failed, nothing was inconclusive.
pub const PASSED: u8 = 0;
/// A MUST failed.
pub const FAILED: u8 = 1;
/// Wrong usage or set-up.
pub const USAGE: u8 = 2;
/// Inconclusive, nothing passed, or the machine died.
pub const INCONCLUSIVE: u8 = 3;

/// The exit status of these runs: a failed MUST wins over everything.
#[must_use]
pub fn status(runs: &[RunReport]) -> u8 {
    let checks = || runs.iter().flat_map(|run| &run.checks);
    if checks().any(|check| check.verdict == "fail" && check.level == "MUST") {
        return FAILED;
    }
    let uncertain = checks().any(|check| check.verdict == "inconclusive")
        || runs.iter().any(|run| run.ended_early.is_some() || !run.left_behind.is_empty())
        || !runs.iter().all(|run| run.checks.iter().any(|check| check.verdict == "pass"));
    if uncertain || runs.is_empty() { INCONCLUSIVE } else { PASSED }
}
