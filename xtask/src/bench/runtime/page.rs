//! The page of a measurement, in Markdown: a fixed text around tables of the JSON file.

use std::fmt::Write as _;

use crate::bench::figure::FIRST;
use crate::bench::runtime::figures::{Document, FLOOR, GROWTH, PAUSE_FILE, PAUSE_PRIVATE, PAUSE_RESIDENT};
use crate::bench::runtime::phases::PHASE;
use crate::bench::runtime::profile;
use crate::markdown::{Asked, asked, fill_closely, or_dash, table};

const TEMPLATE: &str = include_str!("page.md");

/// Cases by their names in the file and on the page.
pub(crate) const CASES: [(&str, &str); 6] = [
    ("run_true", "run"),
    ("create", "create"),
    ("start", "start"),
    ("exec", "exec"),
    ("delete", "delete"),
    ("sandbox", "sandbox with two containers"),
];

/// Subjects in the order of the tables.
pub(crate) const SUBJECTS: [&str; 5] = ["podrt", "crun", "runc", "youki", FLOOR];

/// The project's own runtime, and the one that it is held against.
pub(crate) const OWN: &str = "podrt";
pub(crate) const PEER: &str = "crun";
const OWN_PAUSE: &str = "podproof";
/// Most that podrt may take of crun's time, that pause may take, and that the last of many containers may take.
const RATIO: f64 = 0.6;
const FILE_KIB: f64 = 8.0;
const RESIDENT_KIB: f64 = 24.0;
const GROWTH_RATIO: f64 = 1.3;

/// The page; `image` is the name of the plot beside it.
pub(crate) fn markdown(document: &Document, image: &str) -> String {
    let parts = [
        ("machine", document.head.sentence()),
        ("requirements", requirements(document)),
        ("times", times(document)),
        ("ratios", ratios(document)),
        ("unavailable", unavailable(document)),
        ("image", image.to_owned()),
        ("profile", profile::section(document)),
        ("growth", growth(document)),
        ("pause", pause(document)),
    ];
    fill_closely(TEMPLATE, &parts)
}

fn times(document: &Document) -> String {
    let mut head = vec!["ms"];
    head.extend(CASES.iter().map(|(_, label)| *label));
    let lines = SUBJECTS.iter().map(|subject| {
        let cell = |case: &str| {
            let ns = document.row(case, subject)?.median?;
            Some(format!("{:.1}", ns / 1e6))
        };
        let cells = CASES.iter().map(|(case, _)| or_dash(cell(case)));
        std::iter::once((*subject).to_owned()).chain(cells).collect()
    });
    table(&head, lines)
}

pub(crate) fn ratios(document: &Document) -> String {
    let mut head = vec!["podrt against"];
    head.extend(CASES.iter().map(|(_, label)| *label));
    let lines = SUBJECTS.iter().skip(1).map(|other| {
        let cell = |case: &str| document.row(case, OWN)?.ratio_to(other);
        let cells = CASES.iter().map(|(case, _)| or_dash(cell(case)));
        std::iter::once((*other).to_owned()).chain(cells).collect()
    });
    table(&head, lines)
}

fn unavailable(document: &Document) -> String {
    let mut text = String::new();
    for row in document.rows.iter().filter(|row| !row.case.starts_with(PHASE)) {
        if let Some(reason) = &row.unavailable {
            let reason = reason.lines().next().unwrap_or_default();
            let _infallible = writeln!(text, "- not available: {} of {} ({reason})", row.case, row.subject);
        }
    }
    text
}

fn growth(document: &Document) -> String {
    let lines = SUBJECTS.iter().filter_map(|subject| {
        let row = document.row(GROWTH, subject)?;
        let (ns, ratio) = (row.median?, row.ratio.get(FIRST)?);
        Some(vec![(*subject).to_owned(), format!("{:.1}", ns / 1e6), format!("{ratio:.2}")])
    });
    table(&["", &format!("the last of {}, ms", document.n_growth), "against the first"], lines)
}

fn pause(document: &Document) -> String {
    let lines = [OWN_PAUSE, "C"].into_iter().map(|program| {
        let cell = |case| or_dash(kib(document, case, program).map(|kib| format!("{kib:.1}")));
        let name = if program == "C" { "static, in C" } else { "podproof's" };
        vec![name.to_owned(), cell(PAUSE_FILE), cell(PAUSE_RESIDENT), cell(PAUSE_PRIVATE)]
    });
    table(&["KiB", "file", "resident", "of that private"], lines)
}

fn kib(document: &Document, case: &str, program: &str) -> Option<f64> {
    Some(document.row(case, program)?.median? / 1024.0)
}

/// What is asked, and the answer of the figures.
fn requirements(document: &Document) -> String {
    let peer = |case: &str, label: &str| {
        let row = document.row(case, OWN);
        Asked {
            what: format!("{label}: at most {RATIO:.1} of crun's time"),
            said: row.and_then(|row| row.ratio_to(PEER)),
            value: row.and_then(|row| row.ratio.get(PEER).copied()),
            limit: RATIO,
        }
    };
    let size = |case, label: &str, limit: f64| {
        let value = kib(document, case, OWN_PAUSE);
        let said = value.map(|kib| format!("{kib:.1} KiB"));
        Asked { what: format!("pause: at most {limit:.0} KiB {label}"), said, value, limit }
    };
    let last = document.row(GROWTH, OWN).and_then(|row| row.ratio.get(FIRST).copied());
    let n_growth = document.n_growth;
    asked([
        peer("run_true", "`run` of a program that only ends"),
        peer("sandbox", "a sandbox with two containers"),
        size(PAUSE_FILE, "on disk", FILE_KIB),
        size(PAUSE_RESIDENT, "resident", RESIDENT_KIB),
        Asked {
            what: format!("the last of {n_growth} containers: at most {GROWTH_RATIO:.1} of the first"),
            said: last.map(|ratio| format!("{ratio:.2}")),
            value: last,
            limit: GROWTH_RATIO,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Figures as _;
    use crate::bench::runtime::figures::tests::document;

    #[test]
    fn the_page_has_every_figure_in_its_table() {
        let text = markdown(&document(), "plot.svg");
        assert!(!text.contains("{{"), "{text}");
        for line in [
            "Linux 6.12.1 in a VM (tcg), Example & Sons, 2 CPUs. crun 1.8.",
            "| podrt | 600.0 | 600.0 | 600.0 | 600.0 | 600.0 | 600.0 |",
            "| floor | 300.0 | - | - | - | - | - |",
            "| crun | 0.67 (0.67-0.67) | 0.67 (0.67-0.67) |",
            "- not available: exec of runc (",
            "| podrt | 1.0 | 1.04 |",
            "| podproof's | 4.0 | 8.0 | 2.0 |",
            "](plot.svg)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_asked_is_answered_by_the_figures() {
        let mut document = document();
        let text = requirements(&document);
        assert!(text.contains("at most 0.6 of crun's time | 0.67 (0.67-0.67) | no |"), "{text}");
        assert!(text.contains("at most 8 KiB on disk | 4.0 KiB | yes |"), "{text}");
        assert!(text.contains("| 1.04 | yes |"), "{text}");
        document.rows.retain(|row| row.case != "sandbox");
        assert!(
            requirements(&document)
                .contains("two containers: at most 0.6 of crun's time | not measured | unknown |")
        );
    }

    #[test]
    fn the_page_of_the_repository_is_that_of_its_figures() {
        let docs = crate::workspace::root().join("docs");
        let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
        let document = Document::parse(&read("bench-runtime.json")).unwrap();
        let hint = "run `cargo xtask bench runtime --json docs/bench-runtime.json --render`";
        assert!(markdown(&document, "bench-runtime.svg") == read("bench-runtime.md"), "{hint}");
        assert!(crate::markdown::has("bench-runtime", &ratios(&document)), "{hint}");
        assert!(crate::bench::runtime::plot::svg(&document).unwrap() == read("bench-runtime.svg"), "{hint}");
    }
}
