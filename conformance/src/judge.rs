//! From evidence to verdict: a pure function, so that every verdict can be checked again from its report.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::evidence::{Evidence, Gap, Lost, Side};

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", content = "reason", rename_all = "lowercase")]
pub enum Verdict {
    /// Both witnesses show that the requirement holds.
    Pass,
    /// At least one witness shows that it is violated.
    Fail(String),
    /// It does not apply to this subject or machine.
    Skip(String),
    /// The evidence does not carry a verdict.
    Inconclusive(String),
}

impl Verdict {
    /// The word used in reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Skip(_) => "skip",
            Self::Inconclusive(_) => "inconclusive",
        }
    }

    /// The reason; empty for a pass.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Fail(reason) | Self::Skip(reason) | Self::Inconclusive(reason) => reason,
        }
    }
}

/// What one witness shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The requirement holds, as far as this witness can see.
    pub holds: bool,
    /// What would be right.
    pub expected: String,
    /// What was seen.
    pub observed: String,
}

impl Finding {
    /// A finding with what was expected and what was seen.
    #[must_use]
    pub fn new(holds: bool, expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self { holds, expected: expected.into(), observed: observed.into() }
    }

    /// This finding, if it is a violation or the other holds; the other one otherwise.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self.holds, other.holds) {
            (true, true) => Self {
                holds: true,
                expected: join(&self.expected, &other.expected),
                observed: join(&self.observed, &other.observed),
            },
            (true, false) => other,
            (false, _) => self,
        }
    }
}

fn join(a: &str, b: &str) -> String {
    if a.is_empty() { b.to_owned() } else { format!("{a}; {b}") }
}

/// How one witness's facts are read: `Err` names the fact that is missing.
pub type Rule = fn(&Side<'_>) -> Result<Finding, Gap>;

/// The two rules of a requirement.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// For the witness inside.
    pub inside: Rule,
    /// For the kernel.
    pub kernel: Rule,
}

/// A verdict with what was expected and seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What would be right.
    pub expected: String,
    /// What was seen.
    pub observed: String,
}

impl Judgement {
    /// A judgement without observation.
    #[must_use]
    pub fn bare(verdict: Verdict) -> Self {
        Self { verdict, expected: String::new(), observed: String::new() }
    }
}

/// Judges the evidence of one check.
///
/// A violation shown by either witness is a failure. A pass needs both. Missing or lost evidence, or two
/// different values for one measurement, is inconclusive: then the tool is in doubt, not the runtime.
#[must_use]
pub fn judge(rules: &Rules, evidence: &Evidence) -> Judgement {
    if let Some((key, inside, kernel)) = contradiction(evidence) {
        return Judgement::bare(Verdict::Inconclusive(format!(
            "the witnesses differ on {key}: inside {inside}, kernel {kernel}"
        )));
    }
    let inside = (rules.inside)(&Side::new(&evidence.inside));
    // What a scope lost may be the very event that a rule looks for, so its kernel side proves nothing.
    let kernel = if evidence.events_lost > 0 {
        Err(Gap(format!("the whole trace, as {} of its events were lost", Lost(evidence.events_lost))))
    } else {
        (rules.kernel)(&Side::new(&evidence.kernel))
    };
    match (inside, kernel) {
        (Ok(finding), _) if !finding.holds => failed("inside", finding),
        (_, Ok(finding)) if !finding.holds => failed("kernel", finding),
        (Ok(inside), Ok(kernel)) => {
            let verdict = match &evidence.refused {
                Some(reason) => Verdict::Skip(reason.clone()),
                None => Verdict::Pass,
            };
            Judgement {
                verdict,
                expected: inside.expected,
                observed: format!("inside: {}; kernel: {}", inside.observed, kernel.observed),
            }
        }
        (Err(Gap(what)), _) => {
            Judgement::bare(Verdict::Inconclusive(format!("missing from the witness inside: {what}")))
        }
        (_, Err(Gap(what))) => {
            Judgement::bare(Verdict::Inconclusive(format!("missing from the kernel's evidence: {what}")))
        }
    }
}

fn failed(witness: &str, finding: Finding) -> Judgement {
    let Finding { expected, observed, .. } = finding;
    Judgement {
        verdict: Verdict::Fail(format!("{witness}: {observed}")),
        expected,
        observed: format!("{witness}: {observed}"),
    }
}

/// The first measurement that the two sides give different values for.
fn contradiction(evidence: &Evidence) -> Option<(&str, &Value, &Value)> {
    evidence.inside.iter().find_map(|inside| {
        let kernel = evidence.kernel.iter().find(|kernel| kernel.key == inside.key)?;
        (kernel.value != inside.value).then_some((inside.key.as_str(), &inside.value, &kernel.value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { inside: is_one, kernel: is_one };

    fn is_one(side: &Side<'_>) -> Result<Finding, Gap> {
        let seen = side.number("pid")?;
        Ok(Finding::new(seen == 1, "pid 1", format!("pid {seen}")))
    }

    fn evidence(inside: Option<u64>, kernel: Option<u64>) -> Evidence {
        let mut evidence = Evidence::default();
        if let Some(pid) = inside {
            evidence.inside("pid", pid, "getpid(2)");
        }
        if let Some(pid) = kernel {
            evidence.kernel("pid", pid, "tp_btf/sched_process_exec");
        }
        evidence
    }

    #[test]
    fn a_pass_needs_both_witnesses() {
        assert_eq!(judge(&RULES, &evidence(Some(1), Some(1))).verdict, Verdict::Pass);
        for lacking in [evidence(Some(1), None), evidence(None, Some(1)), evidence(None, None)] {
            assert_eq!(judge(&RULES, &lacking).verdict.word(), "inconclusive");
        }
    }

    #[test]
    fn either_witness_alone_can_fail_a_check() {
        assert_eq!(judge(&RULES, &evidence(Some(2), None)).verdict.word(), "fail");
        assert_eq!(judge(&RULES, &evidence(None, Some(2))).verdict.word(), "fail");
        assert_eq!(judge(&RULES, &evidence(Some(2), Some(2))).verdict.word(), "fail");
    }

    #[test]
    fn two_values_for_one_measurement_are_inconclusive() {
        let judgement = judge(&RULES, &evidence(Some(1), Some(2)));
        assert_eq!(
            judgement.verdict,
            Verdict::Inconclusive("the witnesses differ on pid: inside 1, kernel 2".to_owned())
        );
    }

    #[test]
    fn a_lost_event_never_passes() {
        let mut lossy = evidence(Some(1), Some(1));
        lossy.events_lost = 1;
        assert_eq!(judge(&RULES, &lossy).verdict.word(), "inconclusive");
        lossy.events_lost = u64::MAX;
        let verdict = judge(&RULES, &lossy).verdict;
        assert!(verdict.reason().ends_with("as an unknown number of its events were lost"), "{verdict:?}");
        let mut lossy = evidence(Some(2), None);
        lossy.events_lost = 1;
        assert_eq!(judge(&RULES, &lossy).verdict.word(), "fail");
    }

    #[test]
    fn a_refused_part_is_a_skip_only_when_the_rest_holds() {
        let mut refused = evidence(Some(1), Some(1));
        refused.refused = Some("time: refused".to_owned());
        assert_eq!(judge(&RULES, &refused).verdict, Verdict::Skip("time: refused".to_owned()));
        let mut refused = evidence(Some(2), Some(2));
        refused.refused = Some("time: refused".to_owned());
        assert_eq!(judge(&RULES, &refused).verdict.word(), "fail");
    }
}
