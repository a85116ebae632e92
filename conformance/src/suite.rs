//! Runs checks, several at a time, and judges what each has seen.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::cell::{Cell, Obstacle};
use crate::checks::{Check, Turn};
use crate::duration::millis;
use crate::evidence::{Evidence, Lost};
use crate::interrupt;
use crate::judge::{Judgement, Verdict, judge};
use crate::report::live::Live;
use crate::report::model::{CheckReport, Repeats, Round};
use crate::report::records::{Record, Recorder};
use crate::run::Run;

/// How checks are run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Checks that run at the same time.
    pub threads: usize,
    /// How often each is played.
    pub rounds: u32,
}

impl Default for Plan {
    fn default() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // One more, as each waits for what it has started some of its time.
        Self { threads: cpus + 1, rounds: 1 }
    }
}

/// What a run has come to.
#[derive(Debug, Default)]
pub struct Played {
    /// Verdicts of the first round, in the order given.
    pub checks: Vec<CheckReport>,
    /// What the other rounds showed, when there were some.
    pub repeats: Option<Repeats>,
}

/// Plays these checks as often as the plan says; each round after the first one in another order, as none may matter.
#[must_use]
pub fn run(run: &Run, checks: &[Check], plan: Plan, recorder: &Recorder, live: &Live) -> Played {
    let mut first = verdicts(
        run,
        &in_order_of(1, checks),
        plan.threads,
        &mut |check| {
            note(recorder, &Record::Check(Box::new(check.clone())));
            live.done(check);
        },
        &|id| note(recorder, &Record::Start { id: id.to_owned() }),
    );
    first.sort_by_key(|report| checks.iter().position(|check| check.requirement.id == report.id));
    if plan.rounds < 2 {
        return Played { checks: first, repeats: None };
    }
    let mut rounds: BTreeMap<String, Vec<Round>> = BTreeMap::new();
    let mut keep = |check: &CheckReport| {
        let round = Round { verdict: check.verdict.clone(), reason: check.reason.clone() };
        rounds.entry(check.id.clone()).or_default().push(round);
    };
    first.iter().for_each(&mut keep);
    let mut n_rounds = 1;
    for round in 2..=plan.rounds {
        live.round(round);
        let checks = in_order_of(round, checks);
        let again = verdicts(run, &checks, plan.threads, &mut |check| live.done(check), &|_id| {});
        if interrupt::requested().is_some() {
            break;
        }
        again.iter().for_each(&mut keep);
        n_rounds = round;
    }
    rounds.retain(|_, rounds| rounds.iter().any(|round| round.verdict != rounds[0].verdict));
    Played { checks: first, repeats: Some(Repeats { rounds: n_rounds, changed: rounds }) }
}

/// The checks in the order of a round. Of the first one, those that wait come first; the others go backwards in every second one,
/// each beginning at another place.
fn in_order_of(round: u32, checks: &[Check]) -> Vec<Check> {
    let mut order = checks.to_vec();
    if round == 1 {
        order.sort_by_key(|check| check.turn != Turn::First);
        return order;
    }
    if round.is_multiple_of(2) {
        order.reverse();
    }
    // By a step that has no factor in common with usual numbers of checks, so that neighbours in time change.
    let begin = (round as usize - 1) * 37 % order.len().max(1);
    order.rotate_left(begin);
    order
}

/// Hears of each verdict.
type Done<'d> = dyn FnMut(&CheckReport) + Send + 'd;

/// Plays each check once and returns their verdicts as they came. Checks that measure time, CPU or memory run alone after the
/// others.
fn verdicts(
    run: &Run,
    checks: &[Check],
    threads: usize,
    done: &mut Done<'_>,
    begun: &(dyn Fn(&str) + Sync),
) -> Vec<CheckReport> {
    let kept = Mutex::new((Vec::new(), done));
    let judge_one = |check: &Check| {
        begun(check.requirement.id);
        let report = verdict(run, check);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.1)(&report);
        kept.0.push(report);
    };
    let (alone, together): (Vec<&Check>, Vec<&Check>) =
        checks.iter().partition(|check| check.turn == Turn::Alone);
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
    kept.into_inner().unwrap_or_else(PoisonError::into_inner).0
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
    let mut timeline = None;
    let (judgement, evidence) = match Cell::open(run, check.requirement.id) {
        Ok(mut cell) => {
            // A defect of the suite must not cost the clean-up of the cell.
            let seen = catch_unwind(AssertUnwindSafe(|| {
                cell.need_adapter(check.requirement)?;
                (check.observe)(&mut cell)
            }));
            let lost = cell.events_lost();
            timeline = cell.timeline();
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
        name: requirement.name.replace('_', " "),
        statement: requirement.statement.to_owned(),
        clause: requirement.source.to_owned(),
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
        known: None,
        timeline,
        wall_ms: millis(begin.elapsed()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_has_all_checks_in_an_order_of_its_own() {
        let checks = crate::checks::matching(&["REAP".to_owned(), "SIG".to_owned()]);
        let ids =
            |checks: &[Check]| -> Vec<&str> { checks.iter().map(|check| check.requirement.id).collect() };
        let orders: Vec<Vec<&str>> = (1..=20).map(|round| ids(&in_order_of(round, &checks))).collect();
        let n_first = checks.iter().filter(|check| check.turn == Turn::First).count();
        assert_eq!(orders[0][..n_first], ["REAP-11", "SIG-05", "SIG-09", "SIG-11", "SIG-12", "SIG-13"]);
        let not_first = checks.iter().find(|check| check.turn != Turn::First).unwrap();
        assert_eq!(orders[0][n_first], not_first.requirement.id);
        assert_eq!(orders.iter().collect::<std::collections::BTreeSet<_>>().len(), orders.len());
        for mut order in orders {
            order.sort_by_key(|id| ids(&checks).iter().position(|other| other == id));
            assert_eq!(order, ids(&checks));
        }
        assert!(in_order_of(2, &[]).is_empty());
    }

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
