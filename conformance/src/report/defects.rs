//! The matrix of defects and checks: the proof that every check can fail.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::model::{CheckReport, RunReport};
use super::records;
use crate::catalog::Adapter;
use crate::checks::{self, Check};

mod page;
mod recorded;

pub use recorded::{Recorded, write_evidence};

/// What the name of a defective runtime begins with.
pub const PREFIX: &str = "saboteur:";
/// What the name of a good runtime begins with that stands in for podrt.
pub const STAND_IN: &str = "stand-in:";

/// A defect, as the saboteur lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Defect {
    /// Its name.
    pub name: String,
    /// The check that must fail because of it.
    pub target: String,
    /// What it does.
    pub does: String,
    /// Other checks that turn red.
    pub also_red: Vec<AlsoRed>,
}

impl Defect {
    /// What drives it: the first adapter of the check that must catch it.
    #[must_use]
    pub fn adapter(&self) -> Adapter {
        checks::find(&self.target).map_or(Adapter::Oci, |check| check.requirement.first_adapter())
    }
}

/// Stands for any check in [`Defect::also_red`].
const ANY: &str = "*";

/// A check that turns red although another is meant.
#[derive(Debug, Clone, Deserialize)]
pub struct AlsoRed {
    /// Id of the check; `*` for any.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Asks the saboteur for its defects.
///
/// # Errors
/// When it cannot be run or prints something else.
pub fn list(saboteur: &Path) -> Result<Vec<Defect>> {
    listed(saboteur, "list")
}

/// podrt with something that it lacks: the good runtime for checks that it skips.
#[derive(Debug, Clone, Deserialize)]
pub struct StandIn {
    /// Its name.
    pub name: String,
    /// The checks that it must pass.
    pub serves: Vec<String>,
}

/// Asks the saboteur for its stand-ins.
///
/// # Errors
/// When it cannot be run or prints something else.
pub fn stand_ins(saboteur: &Path) -> Result<Vec<StandIn>> {
    listed(saboteur, "stand-ins")
}

fn listed<T: DeserializeOwned>(saboteur: &Path, what: &str) -> Result<T> {
    let output = Command::new(saboteur)
        .arg(what)
        .output()
        .with_context(|| format!("run the saboteur {}", saboteur.display()))?;
    ensure!(output.status.success(), "the saboteur {} failed: {}", saboteur.display(), output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("read the list of {}", saboteur.display()))
}

/// Which checks a defect is tried on; each has all of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Its own.
    Own,
    /// Those that share its own one's scenario.
    Scenario,
    /// All that its adapter drives.
    All,
}

impl Reach {
    const WIDEST_FIRST: [Self; 3] = [Self::All, Self::Scenario, Self::Own];

    /// The checks that a defect is tried on; none for one whose own check is not known.
    #[must_use]
    pub fn checks(self, defect: &Defect) -> Vec<Check> {
        let Some(target) = checks::find(&defect.target) else { return Vec::new() };
        let is_reached = |check: &&Check| match self {
            Self::Own => check.requirement.id == target.requirement.id,
            Self::Scenario => target.shares_scenario(check),
            Self::All => check.requirement.has(defect.adapter()),
        };
        checks::all().filter(is_reached).copied().collect()
    }
}

/// One line of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The defect.
    pub name: String,
    /// What it does.
    pub does: String,
    /// The checks that must fail.
    pub targets: Vec<String>,
    /// What drove it.
    pub adapter: String,
    /// Kernel release.
    pub kernel: String,
    /// `vm-tcg`, `vm-kvm` or `host`.
    pub machine: String,
    /// Which checks were tried on it; `None` when its run ended before its own.
    pub reach: Option<Reach>,
    /// How many of them had a verdict, skips not counted.
    pub n_judged: usize,
    /// The checks that did fail.
    pub caught_by: Vec<String>,
    /// The others that turned red.
    pub also_red: Vec<Red>,
    /// Checks that turned red, are no target, and have no reason listed.
    pub unexpected_red: Vec<String>,
    /// What the target came to when it did not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
}

/// A check that turned red although another was meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Red {
    /// Id of the check.
    pub id: String,
    /// `fail` or `inconclusive`.
    pub verdict: String,
    /// What the check said.
    pub said: String,
    /// Why the defect turns it red, as the saboteur lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// The whole matrix, schema 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// Version of the format.
    pub schema: u32,
    /// A line for each defect that was tried.
    pub defects: Vec<Row>,
    /// Checks that the good runtime did not pass, or that the stand-in for it skipped; their catches prove nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control_red: Vec<String>,
    /// Caught defects among all.
    pub score: f64,
}

impl Matrix {
    /// The matrix of these runs: the control first, with its stand-ins, then one run per defect.
    #[must_use]
    pub fn new(runs: &[RunReport], defects: &[Defect]) -> Self {
        let mut matrix = Self { schema: 1, defects: Vec::new(), control_red: Vec::new(), score: 0.0 };
        matrix.add(runs, defects);
        matrix
    }

    /// Takes in other runs, which win over what was there of the same defects and of the same checks of the control. What is
    /// said of a defect is said as the saboteur has it; a defect that it has no more goes.
    pub fn add(&mut self, runs: &[RunReport], defects: &[Defect]) {
        for run in runs {
            match run.runtime.name.strip_prefix(PREFIX) {
                None => self.control(run),
                Some(name) => {
                    if let Some(defect) = defects.iter().find(|defect| defect.name == name) {
                        self.defects.retain(|row| row.name != name);
                        self.defects.push(Row::new(run, defect));
                    }
                }
            }
        }
        let place = |row: &Row| defects.iter().position(|defect| defect.name == row.name);
        self.defects.retain(|row| place(row).is_some());
        self.defects.sort_by_key(place);
        for row in &mut self.defects {
            if let Some(defect) = defects.iter().find(|defect| defect.name == row.name) {
                row.explain(defect);
            }
        }
        let (caught, all) = (self.n_caught(), self.defects.len());
        // Counts of defects are far below the precision of f64.
        #[expect(clippy::cast_precision_loss, reason = "some dozens of defects")]
        let score = if all == 0 { 0.0 } else { caught as f64 / all as f64 };
        self.score = score;
    }

    /// Notes what of the control is red, by its adapter.
    fn control(&mut self, run: &RunReport) {
        // What podrt skips as it lacks something, a stand-in that has it must not.
        let is_red = |check: &CheckReport| match check.verdict.as_str() {
            "fail" | "inconclusive" => true,
            "skip" => run.runtime.name.starts_with(STAND_IN),
            _ => false,
        };
        for check in &run.checks {
            let (before, after) = (format!("{} ", check.id), format!(" by {}", run.adapter));
            self.control_red.retain(|red| !(red.starts_with(&before) && red.ends_with(&after)));
            if is_red(check) {
                self.control_red.push(format!("{before}{}{after}", check.verdict));
            }
        }
    }

    /// The defects that are not caught here by a run of such reach, in an order in which neighbours have one adapter.
    #[must_use]
    pub fn left<'d>(&self, defects: &'d [Defect], reach: Reach) -> Vec<&'d Defect> {
        let is_done = |defect: &Defect| {
            let done = |row: &Row| row.missed.is_none() && row.reach >= Some(reach);
            self.defects.iter().any(|row| row.name == defect.name && done(row))
        };
        let mut left: Vec<&Defect> = defects.iter().filter(|defect| !is_done(defect)).collect();
        left.sort_by_key(|defect| defect.adapter() != Adapter::Oci);
        left
    }

    /// How many defects were caught.
    #[must_use]
    pub fn n_caught(&self) -> usize {
        self.defects.iter().filter(|row| row.missed.is_none()).count()
    }

    /// Every defect was caught, nothing else turned red without a reason, and the control passed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.control_red.is_empty()
            && !self.defects.is_empty()
            && self.defects.iter().all(|row| row.missed.is_none() && row.unexpected_red.is_empty())
    }

    /// For people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for row in &self.defects {
            let verdict = match &row.missed {
                None => format!("caught by {}", row.caught_by.join(", ")),
                Some(missed) => format!("MISSED: {missed}"),
            };
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{:<36} {verdict}", row.name);
            if !row.unexpected_red.is_empty() {
                let _infallible =
                    writeln!(text, "{:<36} unexpectedly red: {}", "", row.unexpected_red.join(", "));
            }
        }
        for check in &self.control_red {
            let _infallible = writeln!(text, "the good runtime itself: {check}");
        }
        let _infallible = writeln!(
            text,
            "score: {} of {} defects caught ({:.0} %)",
            self.n_caught(),
            self.defects.len(),
            self.score * 100.0
        );
        text
    }
}

impl Row {
    fn new(run: &RunReport, defect: &Defect) -> Self {
        let target = run.checks.iter().find(|check| check.id == defect.target);
        let missed = match target {
            Some(check) if check.verdict == "fail" => None,
            Some(check) => Some(format!("{} {} {}", check.id, check.verdict, check.reason)),
            None => Some(match &run.ended_early {
                Some(reason) => format!("{} was not judged: {reason}", defect.target),
                None => format!("{} was not judged", defect.target),
            }),
        };
        let was_tried = |check: &Check| run.checks.iter().any(|tried| tried.id == check.requirement.id);
        let reach = Reach::WIDEST_FIRST.into_iter().find(|reach| {
            let reached = reach.checks(defect);
            !reached.is_empty() && reached.iter().all(was_tried)
        });
        let failed = run.checks.iter().filter(|check| check.verdict == "fail");
        let others = run.checks.iter().filter(|check| check.is_red() && check.id != defect.target);
        let red = |check: &CheckReport| Red {
            id: check.id.clone(),
            verdict: check.verdict.clone(),
            said: check.reason.clone(),
            because: None,
        };
        Self {
            name: defect.name.clone(),
            does: defect.does.clone(),
            targets: vec![defect.target.clone()],
            adapter: run.adapter.clone(),
            kernel: run.kernel.clone(),
            machine: run.machine.clone(),
            reach,
            n_judged: run.checks.iter().filter(|check| check.verdict != "skip").count(),
            caught_by: failed.map(|check| check.id.clone()).collect(),
            also_red: others.map(red).collect(),
            unexpected_red: Vec::new(),
            missed,
        }
    }

    /// Says what the defect does and why it turns other checks red, as the saboteur has it.
    fn explain(&mut self, defect: &Defect) {
        self.does.clone_from(&defect.does);
        for red in &mut self.also_red {
            let listed = defect.also_red.iter().find(|also| also.id == red.id || also.id == ANY);
            red.because = listed.map(|also| also.reason.clone());
        }
        let unexpected = self.also_red.iter().filter(|red| red.because.is_none());
        self.unexpected_red =
            unexpected.map(|red| format!("{} {} ({})", red.id, red.verdict, red.said)).collect();
    }
}

/// Reads a matrix, or the records of runs, from a file and takes it in; the runs, if it has records.
///
/// # Errors
/// When it cannot be read, or is a document of another schema.
pub fn take(matrix: &mut Matrix, path: &Path, defects: &[Defect]) -> Result<Vec<RunReport>> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let value: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let Some(value) = value.filter(|value| value["record"].is_null()) else {
        let runs = records::runs(&String::from_utf8_lossy(&bytes));
        matrix.add(&runs, defects);
        return Ok(runs);
    };
    ensure!(value["schema"] == 1, "{}: schema {}; this is for 1", path.display(), value["schema"]);
    let other: Matrix = serde_json::from_value(value)
        .with_context(|| format!("{} is neither records nor a matrix of defects", path.display()))?;
    matrix.defects.retain(|row| other.defects.iter().all(|new| new.name != row.name));
    matrix.defects.extend(other.defects);
    matrix.control_red.extend(other.control_red);
    matrix.add(&[], defects);
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{check, run};

    fn defect(name: &str, target: &str, also_red: &[(&str, &str)]) -> Defect {
        let also =
            |(id, reason): &(&str, &str)| AlsoRed { id: (*id).to_owned(), reason: (*reason).to_owned() };
        Defect {
            name: name.to_owned(),
            target: target.to_owned(),
            does: format!("what {name} does"),
            also_red: also_red.iter().map(also).collect(),
        }
    }

    /// A run of a defect, with the verdicts of these checks.
    fn of(name: &str, checks: &[(&str, &str)]) -> RunReport {
        run(name, "6.12.1", checks.iter().map(|(id, verdict)| check(id, verdict)).collect())
    }

    #[test]
    fn a_red_check_without_a_reason_is_told_until_one_is_written() {
        let runs = [of("saboteur:x", &[("NS-01", "fail"), ("NS-02", "inconclusive"), ("NS-03", "pass")])];
        let mut matrix = Matrix::new(&runs, &[defect("x", "NS-01", &[])]);
        assert_eq!(matrix.defects[0].unexpected_red, ["NS-02 inconclusive (the reason of NS-02)"]);
        assert!(!matrix.is_good() && matrix.page().contains("**NS-02, unexplained**"));
        matrix.add(&[], &[defect("x", "NS-01", &[("NS-02", "it shares it")])]);
        assert!(matrix.is_good(), "{matrix:?}");
        assert!(matrix.page().contains("| NS-02 1 |\n"), "{}", matrix.page());
        assert!(matrix.page().contains("1. NS-02: it shares it (x)\n"), "{}", matrix.page());
    }

    #[test]
    fn a_defect_that_leaves_nothing_has_one_reason_for_all() {
        let others = checks::all().map(|check| check.requirement.id).filter(|id| *id != "NS-01").take(30);
        let red: Vec<_> = [("NS-01", "fail")].into_iter().chain(others.map(|id| (id, "fail"))).collect();
        let matrix =
            Matrix::new(&[of("saboteur:x", &red)], &[defect("x", "NS-01", &[(ANY, "nothing runs")])]);
        assert!(matrix.is_good(), "{matrix:?}");
        assert!(matrix.page().contains("| 30 1 |\n"), "{}", matrix.page());
        assert!(matrix.page().contains("1. all of them: nothing runs (x)\n"), "{}", matrix.page());
    }

    #[test]
    fn the_reach_is_what_was_played_and_not_what_was_wanted() {
        let x = defect("x", "NS-01", &[]);
        let reach = |checks: &[Check]| {
            let checks: Vec<(&str, &str)> =
                checks.iter().map(|check| (check.requirement.id, "fail")).collect();
            Matrix::new(&[of("saboteur:x", &checks)], std::slice::from_ref(&x)).defects[0].reach
        };
        for wanted in Reach::WIDEST_FIRST {
            let checks = wanted.checks(&x);
            assert_eq!(reach(&checks), Some(wanted));
            assert!(reach(&checks[..checks.len() - 1]) < Some(wanted));
        }
        assert!(Reach::All.checks(&x).len() > Reach::Scenario.checks(&x).len());
    }

    #[test]
    fn parts_make_one_matrix_and_the_later_run_of_a_defect_holds() {
        let defects = [defect("x", "NS-01", &[]), defect("y", "NS-02", &[]), defect("z", "SIG-06", &[])];
        let left = |matrix: &Matrix, reach| -> Vec<String> {
            matrix.left(&defects, reach).iter().map(|defect| defect.name.clone()).collect()
        };
        let first = [of("podrt", &[("NS-01", "fail")]), of("saboteur:y", &[("NS-02", "pass")])];
        let mut matrix = Matrix::new(&first, &defects);
        assert_eq!(matrix.control_red, ["NS-01 fail by oci"]);
        assert_eq!(left(&matrix, Reach::Own), ["x", "y", "z"]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        fs::write(&path, serde_json::to_string(&matrix).unwrap()).unwrap();
        let mut again = Matrix::new(&[], &defects);
        take(&mut again, &path, &defects).unwrap();
        assert_eq!(again, matrix);
        let second = [
            of("podrt", &[("NS-01", "pass")]),
            of("saboteur:y", &[("NS-02", "fail")]),
            of("saboteur:x", &[("NS-01", "fail")]),
        ];
        matrix.add(&second, &defects);
        let names: Vec<&str> = matrix.defects.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["x", "y"]);
        assert!(matrix.is_good(), "{matrix:?}");
        assert_eq!(left(&matrix, Reach::Own), ["z"]);
        assert_eq!(left(&matrix, Reach::Scenario), ["x", "y", "z"]);
        // The saboteur has it no more.
        matrix.add(&[], &defects[..1]);
        assert_eq!(matrix.defects.len(), 1);
    }

    fn committed(name: &str) -> String {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        fs::read_to_string(docs.join(name)).unwrap()
    }

    #[test]
    fn the_committed_page_is_made_from_the_committed_record() {
        let matrix: Matrix = serde_json::from_str(&committed("defects.json")).unwrap();
        let again = "make it again: cargo xtask mutants --json docs/defects.json --render";
        assert!(matrix.page() == committed("defects.md"), "{again}");
    }

    #[test]
    fn the_committed_record_has_every_defect_of_every_check_and_all_are_caught() {
        let matrix: Matrix = serde_json::from_str(&committed("defects.json")).unwrap();
        assert!(matrix.is_good(), "{}", matrix.render());
        for check in checks::all() {
            let id = check.requirement.id;
            let recorded = matrix.defects.iter().filter(|row| row.targets.iter().any(|target| target == id));
            let mut recorded: Vec<&str> = recorded.map(|row| row.name.as_str()).collect();
            let mut listed: Vec<&str> = check.requirement.defects.iter().map(|(name, _)| *name).collect();
            recorded.sort_unstable();
            listed.sort_unstable();
            assert_eq!(
                recorded, listed,
                "{id}: cargo xtask mutants --own --json docs/defects.json --merge DEFECT..."
            );
        }
    }
}
