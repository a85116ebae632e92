//! Runs checks as tests: libtest-mimic gives the filters and the live lines, the verdicts are ours.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::cell::{Cell, Obstacle};
use crate::checks::Check;
use crate::evidence::{Evidence, Lost};
use crate::interrupt;
use crate::judge::{Judgement, Verdict, judge};
use crate::report::model::CheckReport;
use crate::report::records::{Record, Recorder};
use crate::run::Run;

/// Runs these checks and returns their verdicts in the order of the catalog.
///
/// Checks that measure time, CPU or memory run alone, the others in parallel.
pub fn run(
    run: &Arc<Run>,
    checks: &[Check],
    arguments: &Arguments,
    recorder: &Arc<Recorder>,
) -> Vec<CheckReport> {
    let verdicts: Arc<Mutex<Vec<CheckReport>>> = Arc::default();
    let alone: Arc<RwLock<()>> = Arc::default();
    // Serial ones last: a writer that waits would hold up every reader behind it.
    let mut ordered = checks.to_vec();
    ordered.sort_by_key(|check| check.serial);
    let trials = ordered
        .into_iter()
        .map(|check| {
            let (run, verdicts, alone, recorder) =
                (Arc::clone(run), Arc::clone(&verdicts), Arc::clone(&alone), Arc::clone(recorder));
            Trial::ignorable_test(check.test_name(), move || {
                if interrupt::requested().is_some() {
                    return Ok(Completion::ignored_with("interrupted"));
                }
                let (_shared, _exclusive);
                if check.serial {
                    _exclusive = alone.write().unwrap_or_else(PoisonError::into_inner);
                } else {
                    _shared = alone.read().unwrap_or_else(PoisonError::into_inner);
                }
                note(&recorder, &Record::Start { id: check.requirement.id.to_owned() });
                let report = verdict(&run, &check);
                note(&recorder, &Record::Check(Box::new(report.clone())));
                let completion = complete(&check, &report);
                verdicts.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                completion
            })
        })
        .collect();
    // The exit status comes from the verdicts, not from the count of failed trials.
    drop(libtest_mimic::run(arguments, trials));
    let mut verdicts = std::mem::take(&mut *verdicts.lock().unwrap_or_else(PoisonError::into_inner));
    let place = |id: &str| checks.iter().position(|check| check.requirement.id == id);
    verdicts.sort_by_key(|report| place(&report.id));
    verdicts
}

/// Runs these checks without a word, and returns their verdicts in the order given.
#[must_use]
pub fn verdicts(run: &Run, checks: &[Check], threads: usize, recorder: &Recorder) -> Vec<CheckReport> {
    let done: Mutex<Vec<CheckReport>> = Mutex::default();
    let judge_one = |check: &Check| {
        note(recorder, &Record::Start { id: check.requirement.id.to_owned() });
        let report = verdict(run, check);
        note(recorder, &Record::Check(Box::new(report.clone())));
        done.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    };
    let (alone, together): (Vec<&Check>, Vec<&Check>) = checks.iter().partition(|check| check.serial);
    let queue = Mutex::new(together.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(check) = next.filter(|_| interrupt::requested().is_none()) else { return };
                    judge_one(check);
                }
            });
        }
    });
    alone.into_iter().filter(|_| interrupt::requested().is_none()).for_each(judge_one);
    let mut verdicts = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let place = |id: &str| checks.iter().position(|check| check.requirement.id == id);
    verdicts.sort_by_key(|report| place(&report.id));
    verdicts
}

fn note(recorder: &Recorder, record: &Record) {
    if let Err(error) = recorder.write(record) {
        tracing::error!(%error, "write a record");
    }
}

/// Plays one check in a cell of its own and judges what it saw.
#[must_use]
pub fn verdict(run: &Run, check: &Check) -> CheckReport {
    let begin = Instant::now();
    let mut leaked = Vec::new();
    let (judgement, evidence) = match Cell::open(run, check.requirement.id) {
        Ok(mut cell) => {
            // A defect of the suite must not cost the clean-up of the cell.
            let seen = catch_unwind(AssertUnwindSafe(|| {
                cell.need_adapter(check.requirement)?;
                (check.observe)(&mut cell)
            }));
            let lost = cell.events_lost();
            let (found, stuck) = cell.close();
            leaked = found;
            let (judgement, evidence) = match seen {
                Ok(seen) => judged(check, seen, lost),
                Err(_) => (
                    Judgement::bare(Verdict::Inconclusive("the check itself panicked".to_owned())),
                    Evidence { events_lost: lost, ..Evidence::default() },
                ),
            };
            if stuck.is_empty() {
                (judgement, evidence)
            } else {
                let reason = format!("could not be cleaned up: {}", stuck.join("; "));
                (worse(judgement, reason), evidence)
            }
        }
        Err(obstacle) => judged(check, Err(obstacle), 0),
    };
    let requirement = check.requirement;
    CheckReport {
        id: requirement.id.to_owned(),
        level: requirement.level.to_string(),
        subject: match requirement.subject {
            crate::catalog::Subject::Runtime => "runtime".to_owned(),
            crate::catalog::Subject::Sandbox => "sandbox".to_owned(),
            crate::catalog::Subject::Pod => "pod".to_owned(),
        },
        verdict: judgement.verdict.word().to_owned(),
        reason: judgement.verdict.reason().to_owned(),
        expected: judgement.expected,
        observed: judgement.observed,
        inside: evidence.inside,
        kernel: evidence.kernel,
        trace: evidence.trace,
        events_lost: evidence.events_lost,
        leaked,
        wall_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// `events_lost` is of the whole cell: an obstacle may be nothing but such a loss.
fn judged(check: &Check, seen: Result<Evidence, Obstacle>, events_lost: u64) -> (Judgement, Evidence) {
    match seen {
        Ok(evidence) => (judge(&check.rules, &evidence), evidence),
        Err(obstacle) => {
            let (verdict, mut reason): (fn(String) -> Verdict, String) = match obstacle {
                Obstacle::Skip(reason) => (Verdict::Skip, reason),
                obstacle => (Verdict::Inconclusive, obstacle.to_string()),
            };
            if events_lost > 0 {
                reason += &format!("; {} of its events were lost", Lost(events_lost));
            }
            let evidence = Evidence { events_lost, ..Evidence::default() };
            (Judgement::bare(verdict(reason)), evidence)
        }
    }
}

/// A failure stays one; anything else becomes inconclusive for this reason.
fn worse(judgement: Judgement, reason: String) -> Judgement {
    match judgement.verdict {
        Verdict::Fail(_) => judgement,
        _ => Judgement { verdict: Verdict::Inconclusive(reason), ..judgement },
    }
}

fn complete(check: &Check, report: &CheckReport) -> Result<Completion, Failed> {
    match report.verdict.as_str() {
        "pass" => Ok(Completion::Completed),
        "skip" => Ok(Completion::ignored_with(report.reason.clone())),
        _ => Err(Failed::from(explanation(check, report))),
    }
}

/// Why a check did not pass: the statement, its clause, expected against observed, and the lines that show it.
#[must_use]
pub fn explanation(check: &Check, report: &CheckReport) -> String {
    let requirement = check.requirement;
    let mut text = format!(
        "{} {} ({}): {}\n  {}\n  source: {}\n",
        requirement.id,
        report.verdict,
        requirement.level,
        report.reason,
        requirement.statement,
        requirement.source
    );
    if !report.expected.is_empty() {
        text += &format!("  expected: {}\n  observed: {}\n", report.expected, report.observed);
    }
    for (title, facts) in [("inside", &report.inside), ("kernel", &report.kernel)] {
        for fact in facts {
            text += &format!("  {title}: {} = {}  [{}]\n", fact.key, fact.value, fact.source);
        }
    }
    for line in &report.trace {
        text += &format!("  trace: {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_shows_what_was_lost() {
        let check = crate::checks::find("NS-01").unwrap();
        let of = |obstacle, lost| {
            let (judgement, evidence) = judged(&check, Err(obstacle), lost);
            (judgement.verdict, evidence.events_lost)
        };
        let skip = || Obstacle::Skip("needs cgroup v2".to_owned());
        assert_eq!(of(skip(), 0), (Verdict::Skip("needs cgroup v2".to_owned()), 0));
        let reason = "needs cgroup v2; 3 of its events were lost".to_owned();
        assert_eq!(of(skip(), 3), (Verdict::Skip(reason), 3));
        let reason = "refused; an unknown number of its events were lost".to_owned();
        let refused = Obstacle::Runtime("refused".to_owned());
        assert_eq!(of(refused, u64::MAX), (Verdict::Inconclusive(reason), u64::MAX));
    }
}
