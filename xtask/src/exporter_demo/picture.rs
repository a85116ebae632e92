//! The dashboard as one picture: its rows and panels where Grafana has them, drawn of what the demo recorded, so that the same records
//! give the same picture.

use anyhow::{Context as _, Result, bail};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::exporter_demo::panel::{Panel, Record, Time};
use crate::exporter_demo::{moment, over_time};

/// Pixels of the whole width, and of the height of one row of the grid.
const WIDTH: u32 = 1000;
const ROW: u32 = 26;
/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;
/// Pixels around a panel, inside of its frame, and of its title.
const GAP: u32 = 3;
const PADDING: u32 = 6;
const TITLE: u32 = 26;

pub(super) const FONT: &str = "sans-serif";
pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
pub(super) const GREY: RGBColor = RGBColor(0x77, 0x77, 0x77);
pub(super) const BAND: RGBColor = RGBColor(0xe0, 0xe0, 0xe0);

/// As many series have a colour and a name; the others are grey.
pub(super) const COLORS: [RGBColor; 7] = [
    RGBColor(0x1f, 0x5f, 0xa8),
    RGBColor(0xb3, 0x5a, 0x00),
    RGBColor(0x2e, 0x7d, 0x32),
    RGBColor(0x8e, 0x3a, 0x9e),
    RGBColor(0xc6, 0x28, 0x28),
    RGBColor(0x00, 0x83, 0x8f),
    RGBColor(0x8a, 0x7a, 0x00),
];

/// A part of the picture; its pixels begin at its left upper corner.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture as SVG, on white, so that it can be read on a page of any colour.
///
/// # Errors
/// The records are not those of a whole run, or a panel is of a kind that cannot be drawn.
pub(super) fn svg(records: &[Record]) -> Result<String> {
    let (time, panels) = parts(records)?;
    let rows = panels.iter().map(|panel| panel.place.y + panel.place.h).max().unwrap_or(0);
    let mut text = String::new();
    {
        let picture = SVGBackend::with_string(&mut text, (WIDTH, rows * ROW)).into_drawing_area();
        picture.fill(&WHITE).context("cannot draw the picture")?;
        let mut row = "";
        for panel in panels {
            if panel.row != row {
                row = &panel.row;
                draw_row(&picture, row, panel.place.y)
                    .with_context(|| format!("cannot draw the row {row}"))?;
            }
            draw(&picture, panel, time).with_context(|| format!("cannot draw the panel {}", panel.title))?;
        }
        picture.present().context("cannot finish the picture")?;
    }
    Ok(text)
}

fn parts(records: &[Record]) -> Result<(&Time, Vec<&Panel>)> {
    let Some((Record::Time(time), panels)) = records.split_first() else {
        bail!("the first record is not the time that is shown");
    };
    let panels: Vec<_> = panels
        .iter()
        .map(|record| match record {
            Record::Panel(panel) => Ok(panel),
            Record::Time(_) => bail!("there are two times"),
        })
        .collect::<Result<_>>()?;
    if panels.is_empty() { bail!("there are no panels") } else { Ok((time, panels)) }
}

/// The title of a row stands above its first panel.
fn draw_row(picture: &Area<'_>, title: &str, top: u32) -> Result<()> {
    let y = (top.saturating_sub(1) * ROW + ROW / 2) as i32;
    picture.draw(&Text::new(title.to_owned(), (PADDING as i32, y), style(16, INK, HPos::Left, true)))?;
    Ok(())
}

fn draw(picture: &Area<'_>, panel: &Panel, time: &Time) -> Result<()> {
    let x = |column: u32| column * WIDTH / COLUMNS;
    let place = panel.place;
    let (left, top) = (x(place.x) + GAP, place.y * ROW + GAP);
    let (width, height) = (x(place.x + place.w) - GAP - left, place.h * ROW - 2 * GAP);
    let frame = picture.clone().shrink((left, top), (width, height));
    let corner = (width as i32 - 1, height as i32 - 1);
    frame.draw(&Rectangle::new([(0, 0), corner], BAND))?;
    let title = style(14, INK, HPos::Left, false);
    frame.draw(&Text::new(panel.title.clone(), (PADDING as i32, TITLE as i32 / 2), title))?;
    let inside = frame.shrink((PADDING, TITLE), (width - 2 * PADDING, height - TITLE - PADDING));
    if panel.table.rows.is_empty() && panel.lines.iter().all(|line| line.values.iter().all(Option::is_none)) {
        let (width, height) = inside.dim_in_pixel();
        let middle = (width as i32 / 2, height as i32 / 2);
        inside.draw(&Text::new("none", middle, style(20, GREY, HPos::Center, false)))?;
        return Ok(());
    }
    match panel.kind.as_str() {
        "stat" => moment::number(&inside, panel),
        "bargauge" => moment::bars(&inside, panel),
        "table" => moment::table(&inside, &panel.table),
        "timeseries" => over_time::lines(&inside, panel, time),
        "state-timeline" => over_time::states(&inside, panel, time),
        "heatmap" => over_time::heat(&inside, panel, time),
        kind => bail!("panels of the kind {kind} cannot be drawn"),
    }
}

/// Text of this height, in the middle of its line.
pub(super) fn style(size: u32, color: RGBColor, side: HPos, is_bold: bool) -> TextStyle<'static> {
    let weight = if is_bold { FontStyle::Bold } else { FontStyle::Normal };
    TextStyle {
        font: (FONT, size).into_font().style(weight),
        color: color.to_backend_color(),
        pos: Pos::new(side, VPos::Center),
    }
}

/// About how wide a text of this height is.
pub(super) fn width_of(text: &str, size: u32) -> u32 {
    (text.chars().count() as f64 * f64::from(size) * 0.55).ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exporter_demo::panel::{Cell, Line, Place, Table};

    fn line(name: &str, values: &[f64]) -> Line {
        Line { name: name.to_owned(), values: values.iter().copied().map(Some).collect() }
    }

    fn panel(kind: &str, x: u32, lines: Vec<Line>) -> Record {
        Record::Panel(Panel {
            row: "Reaping".to_owned(),
            title: format!("A {kind}"),
            kind: kind.to_owned(),
            unit: "cps".to_owned(),
            place: Place { x, y: 1, w: 4, h: 8 },
            is_stacked: kind == "timeseries",
            lines,
            table: Table::default(),
        })
    }

    fn records() -> Vec<Record> {
        let marks = vec![("all alerts fire".to_owned(), 3.0)];
        let mut table = panel("table", 16, Vec::new());
        if let Record::Panel(panel) = &mut table {
            panel.table.head = vec![("pod".to_owned(), String::new()), ("age".to_owned(), "s".to_owned())];
            panel.table.rows = vec![vec![Cell::Text("leaky <&>".to_owned()), Cell::Number(45.0)]];
        }
        vec![
            Record::Time(Time { step_s: 3.0, n_steps: 3, marks }),
            panel("stat", 0, vec![line("", &[4.3])]),
            panel("bargauge", 4, vec![line("demo/leaky/main", &[2.0]), line("demo/steady/main", &[1.0])]),
            panel("timeseries", 8, vec![line("init", &[0.0, 1.0, 2.0]), line("pause", &[0.0, 0.0, 0.0])]),
            panel("state-timeline", 12, vec![line("demo/orphaned", &[1.0, 0.0, 0.0])]),
            panel("heatmap", 20, vec![line("+Inf", &[3.0, 3.0, 3.0]), line("0.1", &[3.0, 1.0, 3.0])]),
            table,
            panel("stat", 20, Vec::new()),
        ]
    }

    #[test]
    fn the_same_records_give_the_same_picture() {
        let text = svg(&records()).unwrap();
        assert_eq!(text, svg(&records()).unwrap());
        for word in [
            "Reaping",
            "A stat",
            "4.3 /s",
            "demo/leaky/main",
            "init",
            "demo/orphaned",
            "leaky &lt;&amp;&gt;",
            "45 s",
            "none",
        ] {
            assert!(text.contains(word), "{word}");
        }
        // What is zero all the time has no line.
        assert!(!text.contains("pause"));
    }

    #[test]
    fn records_of_a_run_that_broke_off_give_none() {
        let all = records();
        assert!(svg(&[]).is_err() && svg(&all[..1]).is_err() && svg(&all[1..]).is_err());
        let strange = [all[0].clone(), panel("geomap", 0, vec![line("", &[1.0])])];
        assert!(format!("{:#}", svg(&strange).unwrap_err()).contains("geomap"));
    }
}
