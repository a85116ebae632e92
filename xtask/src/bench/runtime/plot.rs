//! The plot of a measurement: a panel for each case, a line for each runtime. Made of the JSON file alone, so that the same
//! file gives the same plot.

use anyhow::{Context as _, Result};

use crate::bench::plot::{Line, OWN, PEER, picture};
use crate::bench::runtime::figures::{Document, FLOOR};
use crate::bench::runtime::page::{CASES, SUBJECTS};

const BASE: &str = "crun";

/// The plot as SVG.
pub(crate) fn svg(document: &Document) -> Result<String> {
    let panels = CASES.map(|(case, label)| (title(document, case, label), lines(document, case)));
    picture(&panels).context("cannot draw the plot of the runtimes")
}

fn title(document: &Document, case: &str, label: &str) -> String {
    match document.row(case, BASE).and_then(|row| row.median) {
        Some(ns) => format!("{label} (crun: {:.0} ms)", ns / 1e6),
        None => label.to_owned(),
    }
}

fn lines(document: &Document, case: &str) -> Vec<Line> {
    let line = |subject: &&'static str| {
        let row = document.row(case, subject)?;
        let color = if matches!(*subject, "podrt" | FLOOR) { OWN } else { PEER };
        Some(Line {
            label: subject,
            color,
            ratio: *row.ratio.get(BASE)?,
            span: *row.ratio_interval.get(BASE)?,
        })
    };
    SUBJECTS.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::runtime::figures::tests::document;

    #[test]
    fn every_runtime_that_was_measured_has_a_line() {
        let text = svg(&document()).unwrap();
        assert_eq!(text, svg(&document()).unwrap());
        for label in ["run (crun: 900 ms)", "podrt", "runc", "0.67"] {
            assert!(text.contains(label), "{label}");
        }
        // podrt and runc everywhere, but runc not in exec; the floor of run.
        assert_eq!(text.matches("<circle").count(), 2 * CASES.len() - 1 + 1);
    }
}
