//! Crosses recorded evidence: each witness alone must be able to show each defect.
//!
//! `tests/evidence/ID.json` holds what both witnesses saw of a good runtime and of each defect, as recorded by
//! `cargo xtask mutants --evidence conformance/tests/evidence`.

use std::fs;
use std::path::Path;

use conformance::checks::{self, Check};
use conformance::evidence::Evidence;
use conformance::judge::judge;
use conformance::report::defects::Recorded;

/// Defects that one witness alone does not see, with the one that does: they prove that both are needed.
const SEEN_BY_ONE: [(&str, &str); 7] = [
    ("cg-02-limit-on-pod", "kernel"),
    ("fs-01-bound-below-dev", "kernel"),
    ("fs-19-put-back", "kernel"),
    ("net-04-bind-refused", "kernel"),
    ("net-15-lease-kept", "inside"),
    ("net-15-netns-open", "kernel"),
    ("sec-07-other-errno", "inside"),
];

/// Whether this witness has to show the defect by itself.
fn sees(witness: &str, defect: &str) -> bool {
    SEEN_BY_ONE.iter().all(|(name, only)| *name != defect || *only == witness)
}

fn recorded(check: &Check) -> Result<Recorded, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/evidence")
        .join(format!("{}.json", check.requirement.id));
    let text = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Applies a test to every check and reports all that fail it.
fn every_check(test: impl Fn(&Check, &Evidence, &Recorded) -> Result<(), String>) {
    let failures: Vec<String> = checks::all()
        .filter_map(|check| {
            let outcome = recorded(check).and_then(|recorded| {
                let good = recorded.good.clone().ok_or("no evidence of a good runtime")?;
                test(check, &good, &recorded)
            });
            outcome.err().map(|error| format!("{}: {error}", check.requirement.id))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn expect(check: &Check, evidence: &Evidence, what: &str, good: impl Fn(&str) -> bool) -> Result<(), String> {
    let judgement = judge(&check.rules, evidence);
    if good(judgement.verdict.word()) {
        return Ok(());
    }
    Err(format!("{what}: {} {}", judgement.verdict.word(), judgement.verdict.reason()))
}

#[test]
fn good_evidence_passes() {
    every_check(|check, good, _| expect(check, good, "good evidence", |verdict| verdict == "pass"));
}

#[test]
fn every_listed_defect_is_recorded_and_fails() {
    every_check(|check, _, recorded| {
        for (name, _) in check.requirement.defects {
            let evidence = recorded.defects.get(*name).ok_or_else(|| format!("no evidence of {name}"))?;
            expect(check, evidence, name, |verdict| verdict == "fail")?;
        }
        Ok(())
    });
}

#[test]
fn neither_witness_covers_for_the_other() {
    every_check(|check, good, recorded| {
        for (name, defect) in &recorded.defects {
            if sees("inside", name) {
                let inside = Evidence { kernel: good.kernel.clone(), ..defect.clone() };
                expect(check, &inside, &format!("inside of {name}, good kernel"), |verdict| {
                    verdict != "pass"
                })?;
            }
            if sees("kernel", name) {
                let kernel = Evidence { inside: good.inside.clone(), ..defect.clone() };
                expect(check, &kernel, &format!("good inside, kernel of {name}"), |verdict| {
                    verdict != "pass"
                })?;
            }
        }
        Ok(())
    });
}

#[test]
fn each_witness_alone_shows_each_defect() {
    every_check(|check, _, recorded| {
        for (name, defect) in &recorded.defects {
            let by = |witness| move |verdict: &str| (verdict == "fail") == sees(witness, name);
            let inside = Evidence { kernel: Vec::new(), ..defect.clone() };
            expect(check, &inside, &format!("{name}, inside alone"), by("inside"))?;
            let kernel = Evidence { inside: Vec::new(), ..defect.clone() };
            expect(check, &kernel, &format!("{name}, kernel alone"), by("kernel"))?;
        }
        Ok(())
    });
}

#[test]
fn one_witness_alone_is_inconclusive() {
    every_check(|check, good, _| {
        let inconclusive = |verdict: &str| verdict == "inconclusive";
        let silent = Evidence { inside: Vec::new(), ..good.clone() };
        expect(check, &silent, "inside emptied", inconclusive)?;
        let blind = Evidence { kernel: Vec::new(), ..good.clone() };
        expect(check, &blind, "kernel emptied", inconclusive)?;
        let lossy = Evidence { events_lost: 1, ..good.clone() };
        expect(check, &lossy, "one event lost", inconclusive)
    });
}
