//! The part of the page that tells where the time of a run goes: a fixed text around the phases of the JSON file.

use std::fmt::Write as _;

use crate::bench::runtime::figures::Document;
use crate::bench::runtime::page::{OWN, PEER, SUBJECTS};
use crate::bench::runtime::phases::{PHASE, PHASES, WHOLE, case};
use crate::markdown::{fill, table};

const TEMPLATE: &str = include_str!("profile.md");
const TITLE: &str = "## Where the time goes";
/// The case that is traced.
const RUN: &str = "run_true";
/// Phases that the summary names, of those that gain most.
const N_NAMED: usize = 2;
/// Differences below this do not show in the digits of the table.
const VISIBLE_MS: f64 = 0.05;

/// The section; nothing for a file without traces.
pub(crate) fn section(document: &Document) -> String {
    let n = document.rows.iter().filter(|row| row.case.starts_with(PHASE)).map(|row| row.runs).max();
    let Some(n) = n else { return String::new() };
    if n == 0 {
        return format!("{TITLE}\n\nNot measured:\n\n{}", unavailable(document));
    }
    let parts = [
        ("title", TITLE.to_owned()),
        ("n", n.to_string()),
        ("phases", phases(document)),
        ("summary", summary(document)),
        ("unavailable", unavailable(document)),
    ];
    fill(TEMPLATE, &parts)
}

/// The median of a phase in ms.
fn median_ms(document: &Document, phase: &str, subject: &str) -> Option<f64> {
    Some(document.row(&case(phase), subject)?.median? / 1e6)
}

fn phases(document: &Document) -> String {
    let is_traced = |subject: &&str| median_ms(document, WHOLE, subject).is_some();
    let subjects: Vec<&str> = SUBJECTS.into_iter().filter(is_traced).collect();
    let cells = |label: &str, cell: &dyn Fn(&str) -> Option<String>| {
        let cells = subjects.iter().map(|subject| cell(subject).unwrap_or_else(|| "-".to_owned()));
        std::iter::once(label.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let ms = |subject: &str, phase: &str| median_ms(document, phase, subject);
    let mut lines = Vec::new();
    for phase in PHASES {
        lines.push(cells(phase, &|subject| {
            let (own, whole) = (ms(subject, phase)?, ms(subject, WHOLE)?);
            Some(format!("{own:.1} ({:.0} %)", 100.0 * own / whole))
        }));
    }
    lines.push(cells("**whole**", &|subject| Some(format!("{:.1}", ms(subject, WHOLE)?))));
    lines.push(cells("against `run` above, which is not traced", &|subject| {
        let alone = document.row(RUN, subject)?.median? / 1e6;
        Some(format!("{:.2}", ms(subject, WHOLE)? / alone))
    }));
    lines.push(cells("the whole of podrt against it", &|subject| {
        Some(format!("{:.2}", document.row(&case(WHOLE), OWN)?.ratio.get(subject)?))
    }));
    lines.push(cells("runs that count", &|subject| {
        Some(document.row(&case(WHOLE), subject)?.runs.to_string())
    }));
    let mut head = vec!["ms"];
    head.extend(&subjects);
    table(&head, lines)
}

/// What the figures say of podrt, in words that hold for any.
fn summary(document: &Document) -> String {
    let Some(whole) = median_ms(document, WHOLE, OWN) else { return String::new() };
    let of = |subject| PHASES.map(|phase| (phase, median_ms(document, phase, subject).unwrap_or_default()));
    let own = of(OWN);
    let Some((longest, ms)) = own.into_iter().max_by(|(_, one), (_, other)| one.total_cmp(other)) else {
        return String::new();
    };
    let mut text = format!(
        "The longest phase of podrt is *{longest}*, with {ms:.1} of {whole:.1} ms ({:.0} %).",
        100.0 * ms / whole
    );
    if median_ms(document, WHOLE, PEER).is_none() {
        return text;
    }
    // What podrt takes less than its peer, the most first.
    let mut saved: Vec<(&str, f64)> =
        own.iter().zip(of(PEER)).map(|((phase, own), (_, its))| (*phase, its - own)).collect();
    saved.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let gains: Vec<(&str, f64)> = saved.iter().copied().filter(|(_, ms)| *ms >= VISIBLE_MS).collect();
    let losses: Vec<(&str, f64)> = saved.iter().rev().copied().filter(|(_, ms)| *ms <= -VISIBLE_MS).collect();
    let list = |phases: &[(&str, f64)]| {
        let named: Vec<String> =
            phases.iter().map(|(phase, ms)| format!("*{phase}* ({:.1} ms)", ms.abs())).collect();
        if named.is_empty() { "no phase".to_owned() } else { named.join(", ") }
    };
    let named = &gains[..gains.len().min(N_NAMED)];
    let most = if gains.len() > N_NAMED { "most " } else { "" };
    let _infallible = write!(
        text,
        " Against {PEER} it saves {most}in {}, and takes longer in {}.",
        list(named),
        list(&losses)
    );
    text
}

fn unavailable(document: &Document) -> String {
    let mut text = String::new();
    for row in document.rows.iter().filter(|row| row.case.starts_with(PHASE)) {
        if let Some(reason) = &row.unavailable {
            let reason = reason.lines().next().unwrap_or_default();
            let _infallible = writeln!(text, "- not available: the phases of {} ({reason})", row.subject);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::runtime::{figures, phases};

    fn document() -> Document {
        let mut records = figures::tests::records();
        records.extend(phases::tests::records());
        Document::of(&records, false, "tcg", BTreeMap::new()).unwrap()
    }

    #[test]
    fn the_section_has_every_phase() {
        let document = document();
        let text = section(&document);
        assert!(!text.contains("{{"), "{text}");
        for line in [
            "2 traces of each runtime",
            "| ms | podrt | crun |",
            "| start | 15.0 (12 %) | 30.0 (15 %) |",
            "| **whole** | 130.0 | 200.0 |",
            "| against `run` above, which is not traced | 0.22 | 0.22 |",
            "| the whole of podrt against it | - | 0.64 |",
            "| runs that count | 2 | 2 |",
            "- not available: the phases of runc (PID 1 did not pivot",
            "- not available: the phases of youki (exit status: 1)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        for phase in PHASES {
            assert_eq!(
                text.matches(&format!("\n| {phase} |")).count(),
                2,
                "figures and meaning of {phase}\n{text}"
            );
        }
    }

    #[test]
    fn the_summary_is_that_of_the_figures() {
        let mut document = document();
        assert_eq!(
            summary(&document),
            "The longest phase of podrt is *confine*, with 40.0 of 130.0 ms (31 %). Against crun it saves most in *prepare* \
             (50.0 ms), *start* (15.0 ms), and takes longer in *cleanup* (15.0 ms)."
        );
        for row in document.rows.iter_mut().filter(|row| row.subject == OWN && row.case.starts_with(PHASE)) {
            row.median = Some(1e6);
        }
        assert!(summary(&document).ends_with("and takes longer in no phase."), "{}", summary(&document));
        for row in document.rows.iter_mut().filter(|row| row.case.starts_with(PHASE)) {
            row.median = Some(1e6);
        }
        assert!(summary(&document).ends_with("saves in no phase, and takes longer in no phase."));
        document.rows.retain(|row| row.subject != PEER);
        assert!(!summary(&document).contains(PEER));
    }

    #[test]
    fn a_file_without_traces_has_no_section() {
        assert_eq!(section(&figures::tests::document()), "");
        let mut document = document();
        document.rows.retain(|row| !row.case.starts_with(PHASE) || row.unavailable.is_some());
        let text = section(&document);
        assert!(text.contains("Not measured:\n\n- not available: the phases of runc"), "{text}");
    }
}
