//! The page of a measurement, in Markdown: a fixed text around tables of the JSON file.

use std::fmt::Write as _;

use crate::bench::figure::FIRST;
use crate::bench::pod::figures::{
    CRUN, Document, GROWTH, OF_MANY, OWN, PODMAN, PRIVATE, PROPORTIONAL, RESIDENT,
};
use crate::markdown::{Asked, asked, fill_closely, or_dash, table};

const TEMPLATE: &str = include_str!("page.md");

/// Cases by their names in the file and on the page.
pub(crate) const CASES: [(&str, &str); 2] = [("start", "start"), ("stop", "stop and remove")];

/// Subjects by their names in the file and on the page.
pub(crate) const SUBJECTS: [(&str, &str); 3] =
    [(OWN, "podrt pod"), (CRUN, "the calls of crun"), (PODMAN, "podman pod")];

/// Most that podrt may take of the time of podman and of the calls of crun, that an idle pod may hold, that the last of many pods
/// may take of the first, and that a restart may take.
const PODMAN_RATIO: f64 = 0.5;
const CRUN_RATIO: f64 = 1.0;
const IDLE_KIB: f64 = 1024.0;
const GROWTH_RATIO: f64 = 1.3;
const RESTART_MS: f64 = 50.0;

/// The page; `image` is the name of the plot beside it.
pub(crate) fn markdown(document: &Document, image: &str) -> String {
    let parts = [
        ("machine", document.head.sentence()),
        ("requirements", requirements(document)),
        ("times", times(document)),
        ("ratios", ratios(document)),
        ("unavailable", unavailable(document)),
        ("image", image.to_owned()),
        ("memory", memory(document)),
        ("n_growth", document.n_growth.to_string()),
        ("growth", growth(document)),
        ("restart", restart(document)),
    ];
    fill_closely(TEMPLATE, &parts)
}

fn times(document: &Document) -> String {
    let mut head = vec!["ms"];
    head.extend(CASES.iter().map(|(_, label)| *label));
    let lines = SUBJECTS.iter().map(|(subject, name)| {
        let cell = |case: &str| Some(format!("{:.0}", document.row(case, subject)?.median? / 1e6));
        let cells = CASES.iter().map(|(case, _)| or_dash(cell(case)));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    });
    table(&head, lines)
}

fn ratios(document: &Document) -> String {
    let mut head = vec!["podrt pod against"];
    head.extend(CASES.iter().map(|(_, label)| *label));
    let lines = SUBJECTS.iter().skip(1).map(|(other, name)| {
        let cell = |case: &str| document.row(case, OWN)?.ratio_to(other);
        let cells = CASES.iter().map(|(case, _)| or_dash(cell(case)));
        std::iter::once((*name).to_owned()).chain(cells).collect()
    });
    table(&head, lines)
}

fn unavailable(document: &Document) -> String {
    let mut text = String::new();
    for row in &document.rows {
        if let Some(reason) = &row.unavailable {
            let reason = reason.lines().next().unwrap_or_default();
            let _infallible = writeln!(text, "- not available: {} of {} ({reason})", row.case, row.subject);
        }
    }
    text
}

fn kib(document: &Document, case: &str, subject: &str) -> Option<f64> {
    Some(document.row(case, subject)?.median? / 1024.0)
}

fn memory(document: &Document) -> String {
    let many = |subject: &str| format!("{subject}{OF_MANY}");
    let of_many = |name: &str| format!("{name}, one of {}", document.n_growth);
    let lines = [
        ("pause".to_owned(), "pause".to_owned()),
        ("podrt's supervisor".to_owned(), "supervisor".to_owned()),
        ("**both: an idle pod of podrt**".to_owned(), OWN.to_owned()),
        (of_many("pause"), many("pause")),
        (of_many("podrt's supervisor"), many("supervisor")),
        (of_many("**both**"), many(OWN)),
        ("conmon, one for each container".to_owned(), "conmon".to_owned()),
        ("**three of them: an idle pod of podman without its pause**".to_owned(), PODMAN.to_owned()),
    ];
    let line = |(name, subject): (String, String)| {
        let cell = |case| or_dash(kib(document, case, &subject).map(|kib| format!("{kib:.0}")));
        vec![name, cell(RESIDENT), cell(PROPORTIONAL), cell(PRIVATE)]
    };
    table(&["KiB", "resident", "proportional", "private"], lines.into_iter().map(line))
}

fn growth(document: &Document) -> String {
    let cells = document.row(GROWTH, OWN).and_then(|row| Some((row.median?, row.ratio.get(FIRST)?)));
    let line = cells
        .map(|(ns, ratio)| vec!["podrt pod".to_owned(), format!("{:.0}", ns / 1e6), format!("{ratio:.2}")]);
    table(&["", &format!("the last of {}, ms", document.n_growth), "against the first"], line)
}

fn restart(document: &Document) -> String {
    let it = &document.restart;
    let [first, median, third] = it.quartiles;
    let values = [it.min, first, median, third, it.p90, it.p99, it.max];
    let mut line = vec![it.runs.to_string()];
    line.extend(values.map(|ns| format!("{:.1}", ns / 1e6)));
    table(&["restarts", "min, ms", "25 %", "50 %", "75 %", "90 %", "99 %", "max"], [line])
}

/// What is asked, and the answer of the figures.
pub(crate) fn requirements(document: &Document) -> String {
    let against = |case: &str, other: &str, what: &str, limit| {
        let row = document.row(case, OWN);
        Asked {
            what: what.to_owned(),
            said: row.and_then(|row| row.ratio_to(other)),
            value: row.and_then(|row| row.ratio.get(other).copied()),
            limit,
        }
    };
    let idle = kib(document, RESIDENT, OWN);
    let last = document.row(GROWTH, OWN).and_then(|row| row.ratio.get(FIRST).copied());
    let restart = document.restart.p99 / 1e6;
    let n_growth = document.n_growth;
    asked([
        against(
            "start",
            PODMAN,
            "start of two containers in a pod: at most 0.5 of podman's time",
            PODMAN_RATIO,
        ),
        against("stop", PODMAN, "stop and remove: at most 0.5 of podman's time", PODMAN_RATIO),
        against("start", CRUN, "start: no slower than the bare calls of crun", CRUN_RATIO),
        against("stop", CRUN, "stop and remove: no slower than the bare calls of crun", CRUN_RATIO),
        Asked {
            what: "an idle pod, pause and supervisor: at most 1 MiB resident".to_owned(),
            said: idle.map(|kib| format!("{kib:.0} KiB")),
            value: idle,
            limit: IDLE_KIB,
        },
        Asked {
            what: format!("the last of {n_growth} pods: at most {GROWTH_RATIO:.1} of the first"),
            said: last.map(|ratio| format!("{ratio:.2}")),
            value: last,
            limit: GROWTH_RATIO,
        },
        Asked {
            what: format!("a crashed container runs again within {RESTART_MS:.0} ms, in 99 of 100 cases"),
            said: Some(format!("{restart:.1} ms")),
            value: Some(restart),
            limit: RESTART_MS,
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Figures as _;
    use crate::bench::pod::figures::tests::document;

    #[test]
    fn the_page_has_every_figure_in_its_table() {
        let text = markdown(&document(), "plot.svg");
        assert!(!text.contains("{{"), "{text}");
        for line in [
            "Linux 6.12.1 in a VM (tcg), Example & Sons, 2 CPUs. podman 4.3.",
            "| podrt pod | 300 | 150 |",
            "| podman pod | 0.33 (0.33-0.33) | 0.33 (0.33-0.33) |",
            "| **both: an idle pod of podrt** | 1616 | 808 | 404 |",
            "| podrt's supervisor, one of 40 | 800 | 400 | 200 |",
            "| podrt pod | 1 | 1.04 |",
            "| 101 | 1.0 | 26.0 | 51.0 | 76.0 | 91.0 | 100.0 | 101.0 |",
            "](plot.svg)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_asked_is_answered_by_the_figures() {
        let mut document = document();
        let text = requirements(&document);
        for line in [
            "start of two containers in a pod: at most 0.5 of podman's time | 0.33 (0.33-0.33) | yes |",
            "stop and remove: no slower than the bare calls of crun | 0.50 (0.50-0.50) | yes |",
            "at most 1 MiB resident | 1616 KiB | no |",
            "the last of 40 pods: at most 1.3 of the first | 1.04 | yes |",
            "within 50 ms, in 99 of 100 cases | 100.0 ms | no |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        document.rows.retain(|row| row.subject != OWN);
        assert!(requirements(&document).contains("calls of crun | not measured | unknown |"));
    }

    #[test]
    fn the_page_of_the_repository_is_that_of_its_figures() {
        let docs = crate::workspace::root().join("docs");
        let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
        let document = Document::parse(&read("bench-pod.json")).unwrap();
        let hint = "run `cargo xtask bench pod --json docs/bench-pod.json --render`";
        assert!(markdown(&document, "bench-pod.svg") == read("bench-pod.md"), "{hint}");
        assert!(crate::markdown::has("bench-pod", &requirements(&document)), "{hint}");
        assert!(crate::bench::pod::plot::svg(&document).unwrap() == read("bench-pod.svg"), "{hint}");
    }
}
