//! Panels about one moment: a number, bars, a table.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::exporter_demo::panel::{Cell, Panel, Table};
use crate::exporter_demo::picture::{Area, BAND, COLORS, GREY, INK, style, width_of};
use crate::exporter_demo::unit;

/// Heights of a line of text and of what is written on it.
const LINE: u32 = 20;
const SIZE: u32 = 13;
const NUMBER_SIZE: u32 = 30;
/// Room for the value beside a bar.
const VALUE: u32 = 60;

/// The last value there is.
pub(super) fn number(area: &Area<'_>, panel: &Panel) -> Result<()> {
    let (width, height) = area.dim_in_pixel();
    let last = panel.lines.iter().find_map(|line| line.values.iter().rev().flatten().next());
    let text = last.map(|value| unit::text(&panel.unit, *value)).unwrap_or_default();
    let middle = (width as i32 / 2, height as i32 / 2);
    area.draw(&Text::new(text, middle, style(NUMBER_SIZE, INK, HPos::Center, false)))?;
    Ok(())
}

/// A bar for each series, the longest first.
pub(super) fn bars(area: &Area<'_>, panel: &Panel) -> Result<()> {
    let last = |values: &[Option<f64>]| values.iter().rev().flatten().next().copied();
    let mut bars: Vec<_> =
        panel.lines.iter().filter_map(|line| Some((line.name.as_str(), last(&line.values)?))).collect();
    bars.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let (width, height) = area.dim_in_pixel();
    bars.truncate((height / LINE) as usize);
    let names = bars.iter().map(|(name, _)| width_of(name, SIZE)).max().unwrap_or(0).min(width / 2);
    let most = bars.first().map_or(1.0, |(_, value)| value.max(f64::MIN_POSITIVE));
    let room = f64::from(width.saturating_sub(names + VALUE + 12));
    for (idx, (name, value)) in bars.iter().enumerate() {
        let y = idx as i32 * LINE as i32;
        let middle = y + LINE as i32 / 2;
        let left = names as i32 + 6;
        area.draw(&Text::new(
            (*name).to_owned(),
            (names as i32, middle),
            style(SIZE, INK, HPos::Right, false),
        ))?;
        let end = left + (room * value / most) as i32;
        area.draw(&Rectangle::new([(left, y + 4), (end, y + LINE as i32 - 4)], COLORS[0].filled()))?;
        let text = unit::text(&panel.unit, *value);
        area.draw(&Text::new(text, (end + 6, middle), style(SIZE, INK, HPos::Left, false)))?;
    }
    Ok(())
}

/// As many rows as there is room for.
pub(super) fn table(area: &Area<'_>, table: &Table) -> Result<()> {
    let (width, height) = area.dim_in_pixel();
    let texts =
        table.rows.iter().map(|row| row.iter().zip(&table.head).map(|(cell, (_, unit))| text(cell, unit)));
    let rows: Vec<Vec<String>> =
        texts.map(Iterator::collect).take((height / LINE).saturating_sub(1) as usize).collect();
    let widest = |column: usize| {
        let cells = rows.iter().map(|row| width_of(&row[column], SIZE)).max().unwrap_or(0);
        // Bold letters are wider.
        cells.max(width_of(&table.head[column].0, SIZE + 2)) + 10
    };
    let widths: Vec<u32> = (0..table.head.len()).map(widest).collect();
    // What is left is shared out, and so is what is missing.
    let share = f64::from(width) / f64::from(widths.iter().sum::<u32>().max(1));
    let mut x = 0;
    for (column, own) in widths.iter().enumerate() {
        let middle = |line: usize| (x as i32, (line as u32 * LINE + LINE / 2) as i32);
        let head = table.head[column].0.clone();
        area.draw(&Text::new(head, middle(0), style(SIZE, GREY, HPos::Left, true)))?;
        for (idx, row) in rows.iter().enumerate() {
            let cell = row[column].clone();
            area.draw(&Text::new(cell, middle(idx + 1), style(SIZE, INK, HPos::Left, false)))?;
        }
        x += (f64::from(*own) * share) as u32;
    }
    for line in 1..=rows.len() {
        let y = (line as u32 * LINE) as i32;
        area.draw(&PathElement::new([(0, y), (width as i32, y)], BAND))?;
    }
    Ok(())
}

fn text(cell: &Cell, unit: &str) -> String {
    match cell {
        Cell::Number(value) => unit::text(unit, *value),
        Cell::Text(text) => text.clone(),
    }
}
