//! The plot of a measurement: a panel for the start and one for the end of a pod, a line for each who does it. Made of the JSON
//! file alone, so that the same file gives the same plot.

use anyhow::{Context as _, Result};

use crate::bench::plot::{Line, OWN as OWN_COLOR, PEER, picture};
use crate::bench::pod::figures::{CRUN, Document, OWN};
use crate::bench::pod::page::{CASES, SUBJECTS};

/// The plot as SVG.
pub(crate) fn svg(document: &Document) -> Result<String> {
    let panels = CASES.map(|(case, label)| (title(document, case, label), lines(document, case)));
    picture(&panels).context("cannot draw the plot of the pods")
}

fn title(document: &Document, case: &str, label: &str) -> String {
    match document.row(case, CRUN).and_then(|row| row.median) {
        Some(ns) => format!("{label} (calls of crun: {:.0} ms)", ns / 1e6),
        None => label.to_owned(),
    }
}

fn lines(document: &Document, case: &str) -> Vec<Line> {
    let line = |(subject, _): &(&'static str, &str)| {
        let row = document.row(case, subject)?;
        let color = if *subject == OWN { OWN_COLOR } else { PEER };
        Some(Line {
            label: subject,
            color,
            ratio: *row.ratio.get(CRUN)?,
            span: *row.ratio_interval.get(CRUN)?,
        })
    };
    SUBJECTS.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::pod::figures::tests::document;

    #[test]
    fn who_was_measured_has_a_line_in_each_panel() {
        let text = svg(&document()).unwrap();
        assert_eq!(text, svg(&document()).unwrap());
        for label in ["start (calls of crun: 600 ms)", "podrt", "podman", "0.50", "1.50"] {
            assert!(text.contains(label), "{label}");
        }
        assert_eq!(text.matches("<circle").count(), 4);
    }
}
