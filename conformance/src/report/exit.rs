//! The exit status (ARCHITECTURE.md): 0 passed, 1 a MUST failed, 3 nothing certain. 2, wrong usage, is not of a report.

use super::baseline::Standing;
use super::model::{Round, RunReport};

/// At least one check passed, no MUST failed, nothing was inconclusive.
pub const PASSED: u8 = 0;
/// A MUST failed.
pub const FAILED: u8 = 1;
/// Wrong usage or set-up.
pub const USAGE: u8 = 2;
/// Inconclusive, nothing passed, or the machine died.
pub const INCONCLUSIVE: u8 = 3;

/// The exit status of these runs, each with its standing when it has a baseline: a failed MUST, a new failure and an unexpected
/// pass win over everything.
#[must_use]
pub fn status(runs: &[RunReport], standings: &[Option<Standing>]) -> u8 {
    let one = |(index, run): (usize, &RunReport)| of_run(run, standings.get(index).and_then(Option::as_ref));
    let all: Vec<u8> = runs.iter().enumerate().map(one).collect();
    if all.contains(&FAILED) {
        return FAILED;
    }
    if all.is_empty() || all.contains(&INCONCLUSIVE) { INCONCLUSIVE } else { PASSED }
}

fn of_run(run: &RunReport, standing: Option<&Standing>) -> u8 {
    // What is known to be red only sometimes may change between that and green.
    let sometimes = standing.map_or(&[][..], |standing| &standing.sometimes);
    let is_rare = |id: &String, rounds: &[Round]| {
        let known = sometimes.iter().find(|(known, _)| known == id);
        known.is_some_and(|(_, red)| rounds.iter().all(|round| ["pass", red].contains(&&*round.verdict)))
    };
    let changed = run.repeats.iter().flat_map(|repeats| &repeats.changed);
    let changed = changed.filter(|(id, rounds)| !is_rare(id, rounds));
    let level = |id: &str| run.checks.iter().find(|check| check.id == id).map(|check| check.level.as_str());
    let failed_once = changed
        .clone()
        .any(|(id, rounds)| level(id) == Some("MUST") && rounds.iter().any(|round| round.verdict == "fail"));
    let (has_failed, is_uncertain) = match standing {
        Some(standing) => {
            let verdict = |id: &String| {
                run.checks.iter().find(|check| check.id == *id).map(|check| check.verdict.as_str())
            };
            let (fails, others): (Vec<_>, Vec<_>) =
                standing.new.iter().partition(|id| verdict(id) == Some("fail"));
            (!fails.is_empty() || !standing.gone.is_empty(), !others.is_empty())
        }
        None => (
            run.checks.iter().any(|check| check.verdict == "fail" && check.level == "MUST"),
            run.checks.iter().any(|check| check.verdict == "inconclusive"),
        ),
    };
    if has_failed || failed_once {
        return FAILED;
    }
    let is_uncertain = is_uncertain
        || changed.count() > 0
        || run.ended_early.is_some()
        || !run.left_behind.is_empty()
        || !run.checks.iter().any(|check| check.verdict == "pass" || check.known.is_some());
    if is_uncertain { INCONCLUSIVE } else { PASSED }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::baseline::{Baseline, Known};
    use crate::report::model::Repeats;
    use crate::report::sample::{check, run};

    fn of(run: RunReport) -> u8 {
        status(&[run], &[])
    }

    #[test]
    fn without_a_baseline_the_verdicts_decide() {
        let of = |verdicts: &[&str]| {
            of(run("runc", "6.12.1", verdicts.iter().map(|it| check("A-01", it)).collect()))
        };
        assert_eq!(of(&["pass", "skip"]), PASSED);
        assert_eq!(of(&["pass", "fail", "inconclusive"]), FAILED);
        assert_eq!(of(&["pass", "inconclusive"]), INCONCLUSIVE);
        assert_eq!(of(&["skip"]), INCONCLUSIVE);
        assert_eq!(status(&[], &[]), INCONCLUSIVE);
    }

    #[test]
    fn with_a_baseline_what_differs_decides() {
        let known = |id: &str| Known {
            id: id.to_owned(),
            kernels: Vec::new(),
            verdict: "fail".to_owned(),
            explanation: "because".to_owned(),
            sometimes: None,
            clause: String::new(),
            evidence: Vec::new(),
        };
        let baseline = Baseline { failures: vec![known("A-02")], ..Baseline::empty("runc", "1") };
        let of = |first: &str, second: &str| {
            let run = run("runc", "6.12.1", vec![check("A-01", first), check("A-02", second)]);
            let standing = baseline.standing(&run, Path::new("x"));
            status(&[run], &[Some(standing)])
        };
        assert_eq!(of("pass", "fail"), PASSED);
        assert_eq!(of("pass", "pass"), FAILED);
        assert_eq!(of("fail", "fail"), FAILED);
        assert_eq!(of("inconclusive", "fail"), INCONCLUSIVE);
    }

    #[test]
    fn a_verdict_that_changes_is_none() {
        let repeated = |first: &str, second: &str| {
            let round = |verdict: &str| Round { verdict: verdict.to_owned(), reason: String::new() };
            let changed = [("A-01".to_owned(), vec![round(first), round(second)])].into();
            let repeats = Some(Repeats { rounds: 2, changed });
            of(RunReport { repeats, ..run("runc", "6.12.1", vec![check("A-01", first)]) })
        };
        assert_eq!(repeated("pass", "skip"), INCONCLUSIVE);
        assert_eq!(repeated("pass", "fail"), FAILED);
    }

    #[test]
    fn what_is_red_only_sometimes_may_change() {
        let repeated = |verdicts: &[&str]| {
            let round = |verdict: &&str| Round { verdict: (*verdict).to_owned(), reason: String::new() };
            let changed = [("A-01".to_owned(), verdicts.iter().map(round).collect())].into();
            let repeats = Some(Repeats { rounds: 3, changed });
            let checks = vec![check("A-01", verdicts[0]), check("A-02", "pass")];
            let run = RunReport { repeats, ..run("crun", "6.12.1", checks) };
            let sometimes = vec![("A-01".to_owned(), "fail".to_owned())];
            let standing = Standing { sometimes, ..Standing::default() };
            status(&[run], &[Some(standing)])
        };
        assert_eq!(repeated(&["pass", "fail", "pass"]), PASSED);
        assert_eq!(repeated(&["fail", "pass", "fail"]), PASSED);
        assert_eq!(repeated(&["pass", "fail", "inconclusive"]), FAILED);
        assert_eq!(repeated(&["pass", "inconclusive", "pass"]), INCONCLUSIVE);
    }
}
