//! The end of a run on the terminal: the table, then by area what a reader has to look at, each with the command that judges
//! just that again.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::baseline::Standing;
use super::live::{painted, style};
use super::model::{CheckReport, RunReport};
use super::table;
use super::words::{fact, mark};
use crate::checks;
use crate::trace::printable;

/// Lines of the trace that a failure shows; the report has all.
const TRACE_LINES: usize = 12;
/// Facts of each witness that a failure shows.
const FACTS: usize = 16;

/// Everything that is told at the end. `standings` has an entry for each run, which is empty without a baseline.
#[must_use]
pub fn render(runs: &[RunReport], standings: &[Option<Standing>], colour: bool) -> String {
    let mut text = table::render(runs);
    // Writing to a String cannot fail.
    let _infallible = write_all(&mut text, runs, standings, colour);
    text
}

fn write_all(
    text: &mut String,
    runs: &[RunReport],
    standings: &[Option<Standing>],
    colour: bool,
) -> std::fmt::Result {
    let is_told = |check: &CheckReport| check.is_red() && check.known.is_none();
    let mut area = String::new();
    for (id, _) in table::requirements(runs) {
        for run in runs {
            for check in run.checks.iter().filter(|check| check.id == id && is_told(check)) {
                if check.area() != area {
                    check.area().clone_into(&mut area);
                    writeln!(text, "\n{}", title(check))?;
                }
                write_failure(text, run, check, colour)?;
            }
        }
    }
    writeln!(text)?;
    for run in runs {
        write_remarks(text, run)?;
    }
    for (run, standing) in runs.iter().zip(standings) {
        if let Some(standing) = standing {
            write_standing(text, run, standing)?;
        }
    }
    for run in runs {
        writeln!(text, "{}", printable(&table::counts(run)))?;
    }
    Ok(())
}

fn title(check: &CheckReport) -> String {
    let title = checks::find(&check.id).map_or("", |known| known.requirement.area_title());
    if title.is_empty() { check.area().to_owned() } else { format!("{}: {title}", check.area()) }
}

fn write_failure(text: &mut String, run: &RunReport, check: &CheckReport, colour: bool) -> std::fmt::Result {
    let word = mark(check);
    let word = if colour { painted(style(check), word) } else { word.to_owned() };
    let line = |text: &mut String, name: &str, value: &str| match value {
        "" => Ok(()),
        value => writeln!(text, "    {name:<10} {}", printable(value)),
    };
    writeln!(text, "\n  {word}  {} {}  {}", check.id, printable(&check.name), printable(&run.title()))?;
    line(text, "statement:", &check.statement)?;
    line(text, "clause:", &check.clause)?;
    line(text, "reason:", &check.reason)?;
    line(text, "expected:", &check.expected)?;
    line(text, "observed:", &check.observed)?;
    for (title, facts) in [("inside:", &check.inside), ("kernel:", &check.kernel)] {
        for (index, it) in facts.iter().take(FACTS).enumerate() {
            line(text, if index == 0 { title } else { "" }, &fact(it))?;
        }
        write_rest(text, facts.len(), FACTS)?;
    }
    for (index, it) in check.trace.iter().take(TRACE_LINES).enumerate() {
        line(text, if index == 0 { "trace:" } else { "" }, it)?;
    }
    write_rest(text, check.trace.len(), TRACE_LINES)?;
    if let Some(again) = &run.again {
        line(text, "again:", &format!("{again} {}", check.id))?;
    }
    Ok(())
}

fn write_rest(text: &mut String, n_all: usize, n_shown: usize) -> std::fmt::Result {
    match n_all.checked_sub(n_shown) {
        Some(rest) if rest > 0 => writeln!(text, "    {:<10} ({rest} more in report.json)", ""),
        _ => Ok(()),
    }
}

fn write_remarks(text: &mut String, run: &RunReport) -> std::fmt::Result {
    let label = run.title();
    let mut remark = |what: &str, said: String| writeln!(text, "{what:<13} {}", printable(&said));
    for check in &run.checks {
        match (&check.known, check.verdict.as_str()) {
            (Some(why), _) => remark("known", format!("{} {label}: {why}", check.id))?,
            (None, "skip") => remark("skip", format!("{} {label}: {}", check.id, check.reason))?,
            _ => {}
        }
        if !check.leaked.is_empty() {
            let left = check.leaked.join("; ");
            remark("note", format!("{} {label}: left behind by the runtime: {left}", check.id))?;
        }
    }
    if run.sandbox.is_other {
        for (verdict, ids) in of_the_sandbox(run) {
            remark("sandbox", format!("{label}: {verdict}: {}", ids.join(", ")))?;
        }
    }
    if let Some(reason) = &run.ended_early {
        remark("ended early", format!("{label}: {reason}"))?;
    }
    if !run.left_behind.is_empty() {
        remark("left behind", format!("{label}: {}", run.left_behind.join("; ")))?;
    }
    if let Some(repeats) = &run.repeats {
        for (id, rounds) in &repeats.changed {
            let tell = |round: &super::model::Round| match round.reason.as_str() {
                "" => round.verdict.clone(),
                reason => format!("{} ({reason})", round.verdict),
            };
            let mut told: Vec<String> = Vec::new();
            for (index, round) in rounds.iter().enumerate() {
                if index == 0 || round.verdict != rounds[index - 1].verdict {
                    told.push(format!("round {}: {}", index + 1, tell(round)));
                }
            }
            remark("changed", format!("{id} {label}: {}", told.join("; ")))?;
        }
        let n_changed = repeats.changed.len();
        remark(
            "repeated",
            format!("{label}: {} rounds, {n_changed} checks whose verdict changed", repeats.rounds),
        )?;
    }
    Ok(())
}

/// The requirements of a sandbox program, by verdict.
fn of_the_sandbox(run: &RunReport) -> Vec<(String, Vec<&str>)> {
    let checks = run.checks.iter().filter(|check| check.subject == "sandbox");
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for check in checks.clone() {
        found.entry(&check.verdict).or_default().push(&check.id);
    }
    let n_all = checks.count();
    ["pass", "fail", "skip", "inconclusive"]
        .into_iter()
        .filter_map(|verdict| {
            let mut ids = found.remove(verdict)?;
            ids.sort_unstable();
            Some((format!("{verdict} {} of {n_all}", ids.len()), ids))
        })
        .collect()
}

fn write_standing(text: &mut String, run: &RunReport, standing: &Standing) -> std::fmt::Result {
    let mut said = |what: String| writeln!(text, "{:<13} {}", "baseline", printable(&what));
    let label = run.title();
    if !standing.new.is_empty() {
        said(format!("{label}: not known in {}: {}", standing.file, standing.new.join(", ")))?;
    }
    for (id, verdict) in &standing.gone {
        said(format!("{label}: {id} is {verdict}, and {} knows it as a failure", standing.file))?;
    }
    for (id, verdict) in &standing.unseen {
        said(format!("{label}: {id} is {verdict}, which {} knows as a failure of some runs", standing.file))?;
    }
    if !standing.unexplained.is_empty() {
        let ids = standing.unexplained.join(", ");
        said(format!("{label}: {} has no explanation for {ids}", standing.file))?;
    }
    if standing.matches() {
        said(format!("{label}: as known in {} ({} known failures)", standing.file, standing.known.len()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::baseline::{Baseline, Known};
    use crate::report::model::{Repeats, Round};
    use crate::report::sample::{check, hostile, run};

    fn render(runs: &[RunReport]) -> String {
        super::render(runs, &vec![None; runs.len()], false)
    }

    #[test]
    fn another_sandbox_program_is_told_what_it_passes() {
        let mut run =
            run("podrt", "6.12.1-x", ["REAP-01", "REAP-15", "SIG-01"].map(|id| check(id, "pass")).into());
        for check in &mut run.checks {
            let subject = if check.id == "REAP-15" { "runtime" } else { "sandbox" };
            subject.clone_into(&mut check.subject);
        }
        run.checks[2].verdict = "fail".to_owned();
        assert!(!render(&[run.clone()]).contains("sandbox  "));
        (run.sandbox.name, run.sandbox.is_other) = ("tini".to_owned(), true);
        let text = render(&[run]);
        for said in [
            "sandbox       tini in podrt 1 on 6.12.1 vm-tcg: pass 1 of 2: REAP-01\n",
            "sandbox       tini in podrt 1 on 6.12.1 vm-tcg: fail 1 of 2: SIG-01\n",
        ] {
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn a_failure_has_everything_that_its_author_needs() {
        let text = render(&[run("runc", "6.12.1-x", vec![check("NS-01", "pass"), check("REAP-15", "fail")])]);
        let expected = "
REAP: zombie reaping

  FAIL  REAP-15 the name of REAP-15  runc 1 on 6.12.1 vm-tcg
    statement: The statement of REAP-15.
    clause:    clause of REAP-15
    reason:    the reason of REAP-15
    expected:  one thing
    observed:  another
    inside:    net.a = 4  [witness a]
    kernel:    net.a = 4  [tp_btf/x]
    trace:     0.000001  sh 10  executes /bin/true
    again:     podproof run --runtime runc REAP-15
";
        assert!(text.contains(expected), "{text}");
        assert!(
            text.ends_with("2 verdicts, 1 pass, 1 fail, 0 skip, 0 inconclusive, 0 events lost, 41.2 s\n")
        );
    }

    #[test]
    fn a_hostile_text_stays_on_its_line() {
        let text = render(&[hostile()]);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(text.contains("again:     </script>"), "{text}");
    }

    #[test]
    fn known_failures_are_a_line() {
        let known = Known {
            id: "NS-01".to_owned(),
            kernels: Vec::new(),
            verdict: "fail".to_owned(),
            explanation: "it is old".to_owned(),
            sometimes: None,
            clause: String::new(),
            evidence: Vec::new(),
        };
        let rare = Known { id: "NS-03".to_owned(), sometimes: Some("a race".to_owned()), ..known.clone() };
        let baseline = Baseline { failures: vec![known, rare], ..Baseline::empty("runc", "1") };
        let verdicts = [("NS-01", "fail"), ("NS-02", "fail"), ("NS-03", "pass")];
        let mut run = run("runc", "6.12.1", verdicts.map(|(id, verdict)| check(id, verdict)).into());
        run.checks[0].known = Some("it is old".to_owned());
        let standing = baseline.standing(&run, Path::new("b.json"));
        let text = super::render(&[run], &[Some(standing)], false);
        assert!(text.contains("known         NS-01 runc 1 on 6.12.1 vm-tcg: it is old\n"), "{text}");
        assert!(text.contains("not known in b.json: NS-02\n"), "{text}");
        assert!(text.contains("NS-03 is pass, which b.json knows as a failure of some runs\n"), "{text}");
        assert!(!text.contains("The statement of NS-01"), "{text}");
    }

    #[test]
    fn a_verdict_that_changed_is_named_with_its_rounds() {
        let mut run = run("runc", "6.12.1", vec![check("NS-01", "pass")]);
        let round = |verdict: &str| Round { verdict: verdict.to_owned(), reason: String::new() };
        let changed = [("NS-01".to_owned(), vec![round("pass"), round("pass"), round("fail")])].into();
        run.repeats = Some(Repeats { rounds: 3, changed });
        let text = render(&[run]);
        assert!(
            text.contains("changed       NS-01 runc 1 on 6.12.1 vm-tcg: round 1: pass; round 3: fail\n"),
            "{text}"
        );
    }
}
