//! What changed between two reports, for instance of two versions of a runtime.

use std::fmt::Write as _;

use serde::Serialize;

use super::model::{CheckReport, RunReport};
use super::table;
use crate::trace::printable;

/// The changes of one runtime on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunDiff {
    /// The run of the old report.
    pub old: String,
    /// The run of the new one.
    pub new: String,
    /// Checks whose verdict is another one, in the order of the catalog.
    pub changes: Vec<Change>,
    /// Checks with the same verdict.
    pub n_same: usize,
}

/// A check with another verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Id of the requirement.
    pub id: String,
    /// Its short name.
    pub name: String,
    /// How it changed.
    pub kind: Kind,
    /// The old verdict; absent when it was not judged.
    pub old: Option<String>,
    /// The new one; absent when it was not judged.
    pub new: Option<String>,
    /// Why the new one is what it is, or the old one was where the new one is a pass.
    pub reason: String,
}

/// How a verdict changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A failed MUST or nothing certain, which it was not.
    Worse,
    /// No longer red.
    Better,
    /// Anything else: another red verdict, a skip, a check that only one report has.
    Other,
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Pairs of runs.
    pub runs: Vec<RunDiff>,
    /// Runs that only the old report has.
    pub only_old: Vec<String>,
    /// Runs that only the new report has.
    pub only_new: Vec<String>,
}

impl Diff {
    /// Compares runs of one runtime name on one kernel series with each other; when each report has one run, those two.
    #[must_use]
    pub fn of(old: &[RunReport], new: &[RunReport]) -> Self {
        let key = |run: &RunReport| (run.subject(), run.kernel_series());
        let mut left: Vec<&RunReport> = old.iter().collect();
        let mut diff = Self { runs: Vec::new(), only_old: Vec::new(), only_new: Vec::new() };
        for run in new {
            let alone = old.len() == 1 && new.len() == 1;
            match left.iter().position(|other| alone || key(other) == key(run)) {
                Some(index) => diff.runs.push(RunDiff::of(left.remove(index), run)),
                None => diff.only_new.push(run.title()),
            }
        }
        diff.only_old = left.into_iter().map(RunReport::title).collect();
        diff
    }

    /// Whether anything got worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.runs.iter().flat_map(|run| &run.changes).any(|change| change.kind == Kind::Worse)
    }

    /// For people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for run in &self.runs {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{} -> {}", printable(&run.old), printable(&run.new));
            for change in &run.changes {
                let sign = match change.kind {
                    Kind::Worse => "worse",
                    Kind::Better => "better",
                    Kind::Other => "other",
                };
                let word =
                    |verdict: &Option<String>| verdict.clone().unwrap_or_else(|| "not judged".to_owned());
                let _infallible = writeln!(
                    text,
                    "  {sign:<7} {:<9} {} -> {}  {}",
                    change.id,
                    word(&change.old),
                    word(&change.new),
                    printable(&change.name)
                );
                if !change.reason.is_empty() {
                    let _infallible = writeln!(text, "                    {}", printable(&change.reason));
                }
            }
            let _infallible = writeln!(text, "  {} changed, {} as before", run.changes.len(), run.n_same);
        }
        for (what, runs) in [("old", &self.only_old), ("new", &self.only_new)] {
            for run in runs {
                let _infallible = writeln!(text, "only in the {what} report: {}", printable(run));
            }
        }
        text
    }
}

impl RunDiff {
    fn of(old: &RunReport, new: &RunReport) -> Self {
        let find = |run: &RunReport, id: &str| run.checks.iter().find(|check| check.id == id).cloned();
        let mut changes = Vec::new();
        let mut n_same = 0;
        for (id, name) in table::requirements(&[old.clone(), new.clone()]) {
            let (before, after) = (find(old, &id), find(new, &id));
            if before.as_ref().map(|check| &check.verdict) == after.as_ref().map(|check| &check.verdict) {
                n_same += 1;
                continue;
            }
            changes.push(Change::of(id, name, before.as_ref(), after.as_ref()));
        }
        changes.sort_by_key(|change| change.kind);
        Self { old: old.title(), new: new.title(), changes, n_same }
    }
}

impl Change {
    fn of(id: String, name: String, old: Option<&CheckReport>, new: Option<&CheckReport>) -> Self {
        let is_red = |check: Option<&CheckReport>| check.is_some_and(CheckReport::is_red);
        let kind = match (is_red(old), is_red(new)) {
            (false, true) => Kind::Worse,
            (true, false) if new.is_some_and(|check| check.verdict == "pass") => Kind::Better,
            _ => Kind::Other,
        };
        let reason = [new, old].into_iter().flatten().map(|check| &check.reason).find(|it| !it.is_empty());
        let verdict = |check: Option<&CheckReport>| check.map(|check| check.verdict.clone());
        Self {
            id,
            name,
            kind,
            old: verdict(old),
            new: verdict(new),
            reason: reason.cloned().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{check, hostile, run};

    #[test]
    fn what_changed_is_named_and_what_got_worse_comes_first() {
        let old = run(
            "runc",
            "6.12.1",
            vec![check("NS-01", "fail"), check("NS-02", "pass"), check("NS-03", "pass")],
        );
        let mut new = run(
            "runc",
            "6.12.2",
            vec![
                check("NS-01", "pass"),
                check("NS-02", "fail"),
                check("NS-03", "pass"),
                check("NS-04", "skip"),
            ],
        );
        new.runtime.version = "2".to_owned();
        let diff = Diff::of(&[old], &[new]);
        let changes: Vec<(&str, Kind)> =
            diff.runs[0].changes.iter().map(|change| (change.id.as_str(), change.kind)).collect();
        assert_eq!(changes, [("NS-02", Kind::Worse), ("NS-01", Kind::Better), ("NS-04", Kind::Other)]);
        assert!(diff.is_worse());
        let text = diff.render();
        assert!(
            text.starts_with("runc 1 on 6.12.1 vm-tcg -> runc 2 on 6.12.2 vm-tcg\n  worse   NS-02"),
            "{text}"
        );
        assert!(text.ends_with("  3 changed, 1 as before\n"), "{text}");
    }

    #[test]
    fn runs_without_a_counterpart_are_named() {
        let of = |name, kernel| run(name, kernel, vec![check("NS-01", "pass")]);
        let diff = Diff::of(
            &[of("runc", "6.1.1"), of("runc", "6.12.1")],
            &[of("runc", "6.12.1"), of("crun", "6.12.1")],
        );
        assert_eq!(diff.only_old, ["runc 1 on 6.1.1 vm-tcg"]);
        assert_eq!(diff.only_new, ["crun 1 on 6.12.1 vm-tcg"]);
        assert!(!diff.is_worse());
    }

    #[test]
    fn two_builds_of_other_names_are_a_pair_when_alone() {
        let diff = Diff::of(&[run("a", "6.1.1", Vec::new())], &[run("b", "6.12.1", Vec::new())]);
        assert_eq!(diff.runs.len(), 1);
    }

    #[test]
    fn a_hostile_text_stays_on_its_line() {
        let text = Diff::of(&[run("a", "6.1.1", Vec::new())], &[hostile()]).render();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}
