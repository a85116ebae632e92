//! The plot of a measurement: what a scrape costs beside node_exporter's, and what a container costs beside one of fewer. Made of
//! the JSON file alone, so that the same file gives the same plot.

use anyhow::{Context as _, Result};

use crate::bench::exporter::figures::{BASE, CPU, Document, OWN, PEER, PER_CONTAINER, SIZES};
use crate::bench::plot::{Line, OWN as OWN_COLOR, picture};

/// The sizes as they stand beside the lines.
const LABELS: [&str; SIZES.len()] =
    ["100 containers", "1000 containers", "2000 containers", "10000 containers"];

/// The plot as SVG.
pub(crate) fn svg(document: &Document) -> Result<String> {
    let panels = [
        ("CPU of a scrape (node_exporter: 1)".to_owned(), lines(document, CPU, PEER)),
        (format!("CPU of a container (one of {BASE}: 1)"), lines(document, PER_CONTAINER, &BASE.to_string())),
    ];
    picture(&panels).context("cannot draw the plot of the exporter")
}

fn lines(document: &Document, what: &str, other: &str) -> Vec<Line> {
    let line = |(size, label): (u32, &'static str)| {
        let row = document.row(what, size, OWN)?;
        let (ratio, span) = (*row.ratio.get(other)?, *row.ratio_interval.get(other)?);
        Some(Line { label, color: OWN_COLOR, ratio, span })
    };
    SIZES.into_iter().zip(LABELS).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::exporter::figures::tests::document;

    #[test]
    fn each_size_has_a_line_in_both_panels() {
        let text = svg(&document()).unwrap();
        assert_eq!(text, svg(&document()).unwrap());
        for (size, label) in SIZES.into_iter().zip(LABELS) {
            assert!(label.starts_with(&size.to_string()) && text.contains(label), "{label}");
        }
        assert_eq!(text.matches("<circle").count(), 2 * SIZES.len());
    }
}
