//! Baselines: the known failures of one version of a runtime, each with the line that explains it. What differs from its
//! baseline is news: a failure that is not in it, and as much a pass of what is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::model::{CheckReport, RunReport};
use super::words::fact;

/// The known failures of one version of a runtime, schema 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Version of the format: 1.
    pub schema: u32,
    /// Name of the runtime.
    pub runtime: String,
    /// Its version.
    pub version: String,
    /// What it is known to fail, in the order of the catalog.
    pub failures: Vec<Known>,
}

/// A known failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Id of the requirement.
    pub id: String,
    /// The kernel series where it applies (`6.1`); all when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<String>,
    /// `fail` or `inconclusive`.
    pub verdict: String,
    /// Why it is so, in one line.
    pub explanation: String,
    /// Why it is not so in every run, in one line, where it depends on what the kernel does first; a pass is no news then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sometimes: Option<String>,
    /// The clause that asks for it.
    pub clause: String,
    /// What showed it.
    pub evidence: Vec<String>,
}

/// Facts of a check that a new entry takes over as its evidence, of each witness.
const FACTS: usize = 4;

impl Known {
    /// Whether it applies to this kernel series.
    #[must_use]
    pub fn applies(&self, series: &str) -> bool {
        self.kernels.is_empty() || self.kernels.iter().any(|kernel| kernel == series)
    }

    /// What `--bless` writes for a failure: everything but its explanation.
    fn unexplained(check: &CheckReport, kernels: Vec<String>) -> Self {
        let mut evidence = vec![format!("observed: {}", check.observed)];
        if check.observed.is_empty() {
            evidence = vec![format!("reason: {}", check.reason)];
        }
        for (title, facts) in [("inside", &check.inside), ("kernel", &check.kernel)] {
            evidence.extend(facts.iter().take(FACTS).map(|it| format!("{title}: {}", fact(it))));
        }
        Self {
            id: check.id.clone(),
            kernels,
            verdict: check.verdict.clone(),
            explanation: String::new(),
            sometimes: None,
            clause: check.clause.clone(),
            evidence,
        }
    }
}

/// How a run stands to its baseline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The baseline's file.
    pub file: String,
    /// Ids that fail as known.
    pub known: Vec<String>,
    /// Ids that are red and not known as such.
    pub new: Vec<String>,
    /// Ids that were known as red and are not, with the verdict that they have.
    pub gone: Vec<(String, String)>,
    /// Ids that are known to be red only sometimes and are not, with the verdict that they have.
    pub unseen: Vec<(String, String)>,
    /// Ids that are known to be red only sometimes, with the verdict that they have then.
    pub sometimes: Vec<(String, String)>,
    /// Known failures without an explanation.
    pub unexplained: Vec<String>,
}

impl Standing {
    /// Nothing is new, nothing is gone; what is red only sometimes may be either.
    #[must_use]
    pub fn matches(&self) -> bool {
        self.new.is_empty() && self.gone.is_empty()
    }
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is no baseline.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let baseline: Self =
            serde_json::from_str(&text).with_context(|| format!("{} is no baseline", path.display()))?;
        ensure!(baseline.schema == 1, "{}: schema {}; this is for 1", path.display(), baseline.schema);
        Ok(baseline)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
        }
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }

    /// One without a failure.
    #[must_use]
    pub fn empty(runtime: &str, version: &str) -> Self {
        Self { schema: 1, runtime: runtime.to_owned(), version: version.to_owned(), failures: Vec::new() }
    }

    /// The entry of a check on a kernel series.
    #[must_use]
    pub fn known(&self, id: &str, series: &str) -> Option<&Known> {
        self.failures.iter().find(|known| known.id == id && known.applies(series))
    }

    /// Compares a run; a check that was not judged is neither new nor gone.
    #[must_use]
    pub fn standing(&self, run: &RunReport, file: &Path) -> Standing {
        let mut standing = Standing { file: file.display().to_string(), ..Standing::default() };
        let series = run.kernel_series();
        for check in &run.checks {
            let known = self.known(&check.id, &series);
            if let Some(known) = known.filter(|known| known.sometimes.is_some()) {
                standing.sometimes.push((check.id.clone(), known.verdict.clone()));
            }
            match known {
                Some(known) if known.verdict == check.verdict => {
                    standing.known.push(check.id.clone());
                    if known.explanation.trim().is_empty() {
                        standing.unexplained.push(check.id.clone());
                    }
                }
                Some(known) if !check.is_red() => {
                    let place =
                        if known.sometimes.is_some() { &mut standing.unseen } else { &mut standing.gone };
                    place.push((check.id.clone(), check.verdict.clone()));
                }
                _ if check.is_red() => standing.new.push(check.id.clone()),
                _ => {}
            }
        }
        standing
    }

    /// Takes over what these runs of the runtime show: new failures get an entry without explanation, entries that hold stay
    /// as they are, those that hold no longer on a kernel that was judged are taken from it. That what is red only sometimes
    /// was not so is no reason.
    pub fn bless(&mut self, runs: &[&RunReport], order: impl Fn(&str) -> Option<usize>) {
        let judged: BTreeSet<String> = runs.iter().map(|run| run.kernel_series()).collect();
        let ids: BTreeSet<&str> =
            runs.iter().flat_map(|run| &run.checks).map(|check| check.id.as_str()).collect();
        for id in ids {
            let all: Vec<(String, &CheckReport)> = runs
                .iter()
                .flat_map(|run| run.checks.iter().map(|check| (run.kernel_series(), check)))
                .filter(|(_, check)| check.id == id)
                .collect();
            for verdict in ["fail", "inconclusive"] {
                self.bless_verdict(id, verdict, &all, &judged);
            }
        }
        self.failures.retain(|known| known.kernels != [GONE]);
        self.failures.sort_by_key(|known| order(&known.id).unwrap_or(usize::MAX));
    }

    fn bless_verdict(
        &mut self,
        id: &str,
        verdict: &str,
        all: &[(String, &CheckReport)],
        judged: &BTreeSet<String>,
    ) {
        let (red, other): (Vec<_>, Vec<_>) = all.iter().partition(|(_, check)| check.verdict == verdict);
        let red_on: BTreeSet<String> = red.iter().map(|(series, _)| series.clone()).collect();
        let other_on: BTreeSet<String> = other.iter().map(|(series, _)| series.clone()).collect();
        let entry = self.failures.iter_mut().find(|known| known.id == id && known.verdict == verdict);
        match (entry, red.first()) {
            (Some(known), first) => {
                let is_steady = known.sometimes.is_none();
                let other_on = if is_steady { other_on } else { BTreeSet::new() };
                if known.kernels.is_empty() {
                    if !other_on.is_empty() {
                        known.kernels = red_on.into_iter().collect();
                    }
                } else {
                    let mut kernels: BTreeSet<String> = known.kernels.drain(..).collect();
                    kernels.retain(|series| !other_on.contains(series));
                    kernels.extend(red_on);
                    known.kernels = kernels.into_iter().collect();
                }
                if first.is_none() && known.kernels.is_empty() && is_steady {
                    known.kernels = vec![GONE.to_owned()];
                }
            }
            (None, Some((_, check))) => {
                let kernels = if red_on == *judged { Vec::new() } else { red_on.into_iter().collect() };
                self.failures.push(Known::unexplained(check, kernels));
            }
            (None, None) => {}
        }
    }
}

/// Marks an entry that holds nowhere any more; no kernel series is called so.
const GONE: &str = "";

/// Where baselines are.
#[derive(Debug, Clone)]
pub enum Place {
    /// One file, for the one runtime that is judged.
    File(PathBuf),
    /// A directory, in which each runtime has its own by name and version.
    Dir(PathBuf),
}

impl Place {
    /// A directory when it is one, or is not there and has no `.json` in its name.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let is_file = path.is_file() || path.extension().is_some_and(|end| end == "json");
        if is_file { Self::File(path.to_owned()) } else { Self::Dir(path.to_owned()) }
    }

    /// The baseline of a runtime with its file.
    ///
    /// # Errors
    /// When a file cannot be read, or the one file is of another runtime.
    pub fn find(&self, runtime: &str, version: &str) -> Result<Option<(PathBuf, Baseline)>> {
        match self {
            Self::File(path) if !path.exists() => Ok(None),
            Self::File(path) => {
                let baseline = Baseline::read(path)?;
                ensure!(
                    baseline.runtime == runtime,
                    "{} is of {}, not of {runtime}; give a directory of baselines for several runtimes",
                    path.display(),
                    baseline.runtime
                );
                Ok(Some((path.clone(), baseline)))
            }
            Self::Dir(dir) => {
                let mut paths: Vec<PathBuf> = match fs::read_dir(dir) {
                    Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
                    Err(error) => return Err(error).with_context(|| format!("read {}", dir.display())),
                };
                paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
                paths.sort();
                for path in paths {
                    let baseline = Baseline::read(&path)?;
                    if baseline.runtime == runtime && baseline.version == version {
                        return Ok(Some((path, baseline)));
                    }
                }
                Ok(None)
            }
        }
    }

    /// Where the baseline of a runtime would be written.
    #[must_use]
    pub fn file(&self, runtime: &str, version: &str) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Dir(dir) => {
                let plain = |c: char| if c.is_ascii_alphanumeric() || ".+-_".contains(c) { c } else { '_' };
                let name: String = format!("{runtime}-{version}").chars().map(plain).collect();
                dir.join(format!("{name}.json"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{check, run};

    fn order(id: &str) -> Option<usize> {
        ["A-01", "A-02", "A-03"].iter().position(|known| *known == id)
    }

    fn entry(id: &str, kernels: &[&str]) -> Known {
        Known {
            id: id.to_owned(),
            kernels: kernels.iter().map(|kernel| (*kernel).to_owned()).collect(),
            verdict: "fail".to_owned(),
            explanation: "because".to_owned(),
            sometimes: None,
            clause: "there".to_owned(),
            evidence: vec!["seen".to_owned()],
        }
    }

    fn baseline(failures: Vec<Known>) -> Baseline {
        Baseline { failures, ..Baseline::empty("runc", "1") }
    }

    #[test]
    fn a_new_failure_and_an_unexpected_pass_are_named() {
        let known = baseline(vec![entry("A-01", &[]), entry("A-02", &[]), entry("A-03", &["6.1"])]);
        let run =
            run("runc", "6.12.1", vec![check("A-01", "fail"), check("A-02", "pass"), check("A-03", "fail")]);
        let standing = known.standing(&run, Path::new("x"));
        assert_eq!(standing.known, ["A-01"]);
        assert_eq!(standing.gone, [("A-02".to_owned(), "pass".to_owned())]);
        assert_eq!(standing.new, ["A-03"]);
        assert!(!standing.matches());
    }

    #[test]
    fn another_verdict_than_the_known_one_is_new() {
        let known = baseline(vec![entry("A-01", &[])]);
        let run = run("runc", "6.12.1", vec![check("A-01", "inconclusive")]);
        assert_eq!(known.standing(&run, Path::new("x")).new, ["A-01"]);
    }

    #[test]
    fn what_was_not_judged_is_not_compared() {
        let run = run("runc", "6.12.1", vec![check("A-02", "pass")]);
        assert!(baseline(vec![entry("A-01", &[])]).standing(&run, Path::new("x")).matches());
    }

    #[test]
    fn blessing_adds_keeps_and_removes() {
        let mut known = baseline(vec![entry("A-01", &[]), entry("A-02", &[])]);
        let of = |kernel, verdicts: [&str; 3]| {
            let checks = ["A-01", "A-02", "A-03"].iter().zip(verdicts);
            run("runc", kernel, checks.map(|(id, verdict)| check(id, verdict)).collect())
        };
        let (old, new) = (of("6.1.1", ["fail", "pass", "pass"]), of("6.12.1", ["fail", "pass", "fail"]));
        known.bless(&[&old, &new], order);
        assert_eq!(known.failures.len(), 2);
        assert_eq!(known.failures[0], entry("A-01", &[]));
        assert_eq!((known.failures[1].id.as_str(), known.failures[1].explanation.as_str()), ("A-03", ""));
        assert_eq!(known.failures[1].kernels, ["6.12"]);
        for run in [&old, &new] {
            let standing = known.standing(run, Path::new("x"));
            assert!(standing.matches(), "{standing:?}");
        }
        let again = known.clone();
        known.bless(&[&old, &new], order);
        assert_eq!(known, again);
    }

    #[test]
    fn blessing_one_kernel_says_nothing_of_others() {
        let mut known = baseline(vec![entry("A-01", &["6.1", "6.12"])]);
        known.bless(&[&run("runc", "6.12.1", vec![check("A-01", "pass")])], order);
        assert_eq!(known.failures[0].kernels, ["6.1"]);
    }

    #[test]
    fn what_is_red_only_sometimes_may_pass_and_stays_known() {
        let rare =
            |kernels: &[&str]| Known { sometimes: Some("a race".to_owned()), ..entry("A-01", kernels) };
        let mut known = baseline(vec![rare(&["6.12"]), entry("A-02", &[])]);
        let of = |kernel, verdict| run("runc", kernel, vec![check("A-01", verdict), check("A-02", "fail")]);
        for (verdict, unseen) in [("fail", false), ("pass", true), ("skip", true)] {
            let standing = known.standing(&of("6.12.1", verdict), Path::new("x"));
            assert!(standing.matches(), "{standing:?}");
            let expected = unseen.then(|| ("A-01".to_owned(), verdict.to_owned()));
            assert_eq!(standing.unseen, Vec::from_iter(expected));
        }
        for run in [of("6.12.1", "inconclusive"), of("6.1.1", "fail")] {
            assert_eq!(known.standing(&run, Path::new("x")).new, ["A-01"]);
        }
        let before = known.clone();
        known.bless(&[&of("6.1.1", "pass"), &of("6.12.1", "pass")], order);
        assert_eq!(known, before);
        known.bless(&[&of("6.1.1", "fail"), &of("6.12.1", "pass")], order);
        assert_eq!(known.failures[0], rare(&["6.1", "6.12"]));
        known.failures[0].kernels.clear();
        let before = known.clone();
        known.bless(&[&of("6.1.1", "fail"), &of("6.12.1", "pass")], order);
        known.bless(&[&of("6.12.1", "pass")], order);
        assert_eq!(known, before);
    }

    #[test]
    fn a_directory_is_searched_by_name_and_version() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(dir.path());
        for (name, version) in [("runc", "1.1.5"), ("runc", "1.2/../x"), ("crun", "1.1.5")] {
            Baseline::empty(name, version).write(&place.file(name, version)).unwrap();
        }
        let found = place.find("runc", "1.2/../x").unwrap().unwrap();
        assert_eq!(found.0, dir.path().join("runc-1.2_.._x.json"));
        assert!(place.find("runc", "9").unwrap().is_none());
        let one = Place::of(&dir.path().join("crun-1.1.5.json"));
        assert!(one.find("runc", "1.1.5").unwrap_err().to_string().contains("is of crun"));
    }

    #[test]
    fn the_committed_baselines_explain_every_failure() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines");
        let mut n_files = 0;
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let baseline = Baseline::read(&entry.path()).unwrap();
            let place = Place::Dir(dir.clone()).file(&baseline.runtime, &baseline.version);
            assert_eq!(place, entry.path(), "named by runtime and version");
            for known in &baseline.failures {
                let at = format!("{}: {}", entry.path().display(), known.id);
                assert!(crate::checks::find(&known.id).is_some(), "{at} is no requirement");
                assert!(["fail", "inconclusive"].contains(&known.verdict.as_str()), "{at}");
                for line in [Some(&known.explanation), known.sometimes.as_ref()].into_iter().flatten() {
                    assert!(
                        !line.trim().is_empty() && !line.contains('\n'),
                        "{at}: {line:?} is not one line"
                    );
                }
                assert!(!known.clause.is_empty() && !known.evidence.is_empty(), "{at}");
            }
            n_files += 1;
        }
        assert!(n_files > 0);
    }
}
