//! The plot of a measurement: a panel for each operation, a line for each subject. Made of the JSON file alone, so that
//! the same file gives the same plot.

use anyhow::{Context as _, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::bench::report::{CASES, SUBJECTS};
use crate::bench::rows::{Document, NONE};

/// Width and height of a panel in pixels; there are two in a row.
const PANEL: (u32, u32) = (500, 260);
const COLUMNS: usize = 2;
const FONT: &str = "sans-serif";
/// Room for the names on the left and the figures on the right.
const NAMES: u32 = 165;
const FIGURES: u32 = 50;
pub(crate) const OWN: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
pub(crate) const PEER: RGBColor = RGBColor(0xb3, 0x5a, 0x00);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const BAND: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// A subject in a panel: its ratio, and the span that its bar shows.
pub(crate) struct Line {
    pub(crate) label: &'static str,
    pub(crate) color: RGBColor,
    pub(crate) ratio: f64,
    pub(crate) span: [f64; 2],
}

/// The plot as SVG, on white, so that it can be read on a page of any colour.
pub(crate) fn svg(document: &Document) -> Result<String> {
    let panels = CASES.map(|(case, label)| (title(document, case, label), lines(document, case)));
    draw_all(&panels, true)
}

/// A plot of titled panels, as SVG.
pub(crate) fn picture(panels: &[(String, Vec<Line>)]) -> Result<String> {
    draw_all(panels, false)
}

/// Draws panels; with `has_control` the first line of each is a control, whose span is a band behind the others.
fn draw_all(panels: &[(String, Vec<Line>)], has_control: bool) -> Result<String> {
    let rows = panels.len().div_ceil(COLUMNS);
    let size = (PANEL.0 * COLUMNS as u32, PANEL.1 * rows as u32);
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).context("cannot draw the plot")?;
        for (panel, (title, lines)) in area.split_evenly((rows, COLUMNS)).iter().zip(panels) {
            let control = lines.first().filter(|_| has_control).map(|line| line.span);
            draw(panel, title, lines, control).with_context(|| format!("cannot draw the panel {title}"))?;
        }
        area.present().context("cannot finish the plot")?;
    }
    Ok(text)
}

fn title(document: &Document, case: &str, label: &str) -> String {
    match document.row(case, NONE).and_then(|row| row.median) {
        Some(ns) if ns < 1000.0 => format!("{label} (alone: {ns:.0} ns)"),
        Some(ns) => format!("{label} (alone: {:.1} us)", ns / 1000.0),
        None => label.to_owned(),
    }
}

fn lines(document: &Document, case: &str) -> Vec<Line> {
    let line = |(subject, label): &(&'static str, &'static str)| {
        let row = document.row(case, subject)?;
        let color = match *subject {
            "control" => INK,
            "counters" | "counters_events" | "full_evidence" => OWN,
            _ => PEER,
        };
        Some(Line { label, color, ratio: *row.ratio.get(NONE)?, span: row.ratio_quartiles? })
    };
    SUBJECTS.iter().filter_map(line).collect()
}

fn draw(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    lines: &[Line],
    control: Option<[f64; 2]>,
) -> Result<()> {
    let low = lines.iter().map(|line| line.span[0]).fold(0.98, f64::min);
    let high = lines.iter().map(|line| line.span[1]).fold(1.05, f64::max);
    let margin = (high - low) * 0.04;
    let n = lines.len() as f64;
    let mut chart = ChartBuilder::on(panel)
        .caption(title, (FONT, 18).into_font().color(&INK))
        .margin(8)
        .margin_right(FIGURES)
        .x_label_area_size(24)
        .y_label_area_size(NAMES)
        .build_cartesian_2d((low - margin)..(high + margin), 0.0..n)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BAND)
        .axis_style(INK)
        .x_labels(6)
        .x_label_formatter(&|ratio| format!("{ratio:.2}"))
        .x_label_style((FONT, 14).into_font().color(&INK))
        .draw()?;
    if let Some([from, to]) = control {
        chart.draw_series([Rectangle::new([(from, 0.0), (to, n)], BAND.filled())])?;
    }
    chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, n)], INK)])?;
    let name = TextStyle::from((FONT, 16).into_font()).color(&INK);
    for (idx, line) in lines.iter().enumerate() {
        // From the top down.
        let y = n - idx as f64 - 0.5;
        let bar = [(line.span[0], y), (line.span[1], y)];
        chart.draw_series([PathElement::new(bar, line.color.stroke_width(3))])?;
        chart.draw_series([Circle::new((line.ratio, y), 5, line.color.filled())])?;
        // Pixels of the whole picture; text is placed in those of the panel.
        let (_, top) = panel.get_base_pixel();
        let (_, at) = chart.backend_coord(&(1.0, y));
        let (width, _) = panel.dim_in_pixel();
        let row = at - top;
        panel.draw(&Text::new(
            line.label,
            (NAMES as i32, row),
            name.pos(Pos::new(HPos::Right, VPos::Center)),
        ))?;
        panel.draw(&Text::new(
            format!("{:.2}", line.ratio),
            (width as i32 - FIGURES as i32 + 6, row),
            name.color(&line.color).pos(Pos::new(HPos::Left, VPos::Center)),
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::tests::document;

    #[test]
    fn the_same_figures_give_the_same_plot() {
        let text = svg(&document()).unwrap();
        assert_eq!(text, svg(&document()).unwrap());
        assert!(text.starts_with("<svg") && text.contains("viewBox"), "{}", &text[..200]);
        for label in ["fork + exit + wait (alone: 10.2 us)", "bpftrace, prints", "1.03"] {
            assert!(text.contains(label), "{label}");
        }
        // The unavailable subject has no line.
        assert!(!text.contains("execsnoop"));
        assert_eq!(text.matches("<circle").count(), 6 * CASES.len());
    }
}
