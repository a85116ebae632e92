//! Panels over the time of the demo: lines, states of things, how often something took how long.

use anyhow::Result;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::exporter_demo::panel::{Line, Panel, Time};
use crate::exporter_demo::picture::{Area, BAND, COLORS, FONT, GREY, INK, style, width_of};
use crate::exporter_demo::unit;

const ALIVE: RGBColor = RGBColor(0x5b, 0xa3, 0x60);
const DEAD: RGBColor = RGBColor(0xc6, 0x28, 0x28);
const HEAT: RGBColor = RGBColor(0xb3, 0x40, 0x00);

/// Heights of the axis of time and of a line of the legend, and of what is written there.
const AXIS: u32 = 22;
const LEGEND: u32 = 16;
const SIZE: u32 = 12;
/// Room for values on the left.
const VALUES: u32 = 56;
/// Width that a label of the axis of time is given.
const MOMENT: u32 = 60;
/// Side of the square before a name of the legend, and what is between it and the names.
const SQUARE: u32 = 9;
const SPACE: u32 = 5;

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A name, and the colour of each step.
type Lane = (String, Vec<Option<RGBAColor>>);

/// A name of the legend with its lines: several only for the grey ones of a panel that is not stacked.
struct Layer {
    name: String,
    color: RGBColor,
    lines: Vec<Vec<Option<f64>>>,
}

/// A line or an area for each series that is not zero all the time, the largest first.
pub(super) fn lines(area: &Area<'_>, panel: &Panel, time: &Time) -> Result<()> {
    let mut layers = layers(panel);
    let (width, height) = area.dim_in_pixel();
    let places = legend(&layers, width);
    let n_legend_lines = places.last().map_or(0, |(_, line)| line + 1);
    let plot_height = height.saturating_sub(n_legend_lines * LEGEND);
    if panel.is_stacked {
        stack(&mut layers);
    }
    let values = layers.iter().flat_map(|layer| layer.lines.iter().flatten().flatten());
    let top = values.copied().fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.05 } else { 1.0 };

    let plot = area.clone().shrink((0, 0), (width, plot_height));
    let mut chart = ChartBuilder::on(&plot)
        .margin_top(4)
        .margin_right(16)
        .x_label_area_size(AXIS)
        .y_label_area_size(VALUES)
        .build_cartesian_2d(0.0..minutes(time, time.n_steps), 0.0..top)?;
    axes(&mut chart, Some(&panel.unit))?;
    marks(&mut chart, time, top)?;
    // A stacked one holds those before it, which are drawn over it.
    for layer in layers.iter().rev() {
        for values in &layer.lines {
            for run in runs(values, time) {
                if panel.is_stacked {
                    let (first, last) = (run[0].0, run[run.len() - 1].0);
                    let ground = [(last, 0.0), (first, 0.0)];
                    let area: Vec<_> = run.iter().copied().chain(ground).collect();
                    chart.draw_series([Polygon::new(area, pale(layer.color).filled())])?;
                }
                chart.draw_series([PathElement::new(run, layer.color.stroke_width(1))])?;
            }
        }
    }

    let dot = |x: u32, y: u32| (x as i32, y as i32);
    for (layer, (x, line)) in layers.iter().zip(places) {
        let y = plot_height + line * LEGEND + (LEGEND - SQUARE) / 2;
        let square = [dot(x, y), dot(x + SQUARE, y + SQUARE)];
        area.draw(&Rectangle::new(square, layer.color.filled()))?;
        let name = style(SIZE, INK, HPos::Left, false);
        let at = dot(x + SQUARE + SPACE, y + SQUARE / 2);
        area.draw(&Text::new(layer.name.clone(), at, name))?;
    }
    Ok(())
}

/// A lane for each series: green where it is 1, red where it is 0.
pub(super) fn states(area: &Area<'_>, panel: &Panel, time: &Time) -> Result<()> {
    let lane = |line: &Line| -> Lane {
        let color = |value: f64| if value > 0.0 { ALIVE.to_rgba() } else { DEAD.to_rgba() };
        (line.name.clone(), line.values.iter().map(|value| value.map(color)).collect())
    };
    lanes(area, &panel.lines.iter().map(lane).collect::<Vec<_>>(), time)
}

/// A lane for each bucket of a histogram, the darker the more there is in it and not in the one below.
pub(super) fn heat(area: &Area<'_>, panel: &Panel, time: &Time) -> Result<()> {
    let bound = |name: &str| name.parse().unwrap_or(f64::INFINITY);
    let mut buckets: Vec<_> = panel.lines.iter().map(|line| (bound(&line.name), &line.values)).collect();
    buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let below = |idx: usize, step: usize| if idx == 0 { Some(0.0) } else { buckets[idx - 1].1[step] };
    let own = |idx: usize, step: usize| Some((buckets[idx].1[step]? - below(idx, step)?).max(0.0));
    let all = (0..buckets.len()).map(|idx| (0..time.n_steps).map(|step| own(idx, step)).collect::<Vec<_>>());
    let all: Vec<_> = all.collect();
    let most = all.iter().flatten().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let color = |value: f64| (value > 0.0).then(|| HEAT.mix(0.15 + 0.85 * (value / most).sqrt()));
    let lane = |(idx, values): (usize, &Vec<Option<f64>>)| -> Lane {
        let name = match buckets[idx].0 {
            bound if bound.is_finite() => format!("up to {}", unit::text("s", bound)),
            _ => "longer".to_owned(),
        };
        (name, values.iter().map(|value| value.and_then(color)).collect())
    };
    // The longest on top.
    lanes(area, &all.iter().enumerate().map(lane).rev().collect::<Vec<_>>(), time)
}

/// Lanes from the top down.
fn lanes(area: &Area<'_>, lanes: &[Lane], time: &Time) -> Result<()> {
    let names = lanes.iter().map(|(name, _)| width_of(name, SIZE)).max().unwrap_or(0) + SPACE;
    let n = lanes.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .margin_right(16)
        .x_label_area_size(AXIS)
        .y_label_area_size(names)
        .build_cartesian_2d(0.0..minutes(time, time.n_steps), 0.0..n)?;
    axes(&mut chart, None)?;
    let (_, top) = area.get_base_pixel();
    for (idx, (name, colors)) in lanes.iter().enumerate() {
        let y = n - idx as f64 - 0.5;
        let mut step = 0;
        for cells in colors.chunk_by(|a, b| a == b) {
            let next = step + cells.len();
            if let Some(color) = cells[0] {
                let corners = [(minutes(time, step), y - 0.4), (minutes(time, next), y + 0.4)];
                chart.draw_series([Rectangle::new(corners, color.filled())])?;
            }
            step = next;
        }
        // Pixels of the whole picture; text is placed in those of the panel.
        let (_, middle) = chart.backend_coord(&(0.0, y));
        let at = ((names - SPACE) as i32, middle - top);
        area.draw(&Text::new(name.clone(), at, style(SIZE, INK, HPos::Right, false)))?;
    }
    marks(&mut chart, time, n)
}

/// An axis of minutes, and one of values of this unit.
fn axes(chart: &mut Chart<'_, '_>, unit: Option<&str>) -> Result<()> {
    let minutes = |minutes: &f64| format!("{minutes} min");
    let values = |value: &f64| unit::text(unit.unwrap_or_default(), *value);
    let (width, _) = chart.plotting_area().dim_in_pixel();
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(BAND)
        .axis_style(GREY)
        .x_labels((width / MOMENT).clamp(2, 6) as usize)
        .y_labels(5)
        .disable_x_mesh()
        .x_label_formatter(&minutes)
        .y_label_formatter(&values)
        .label_style((FONT, SIZE).into_font().color(&INK));
    if unit.is_none() {
        mesh.disable_y_mesh().disable_y_axis();
    }
    mesh.draw()?;
    Ok(())
}

/// Lines from top to bottom where something happened.
fn marks(chart: &mut Chart<'_, '_>, time: &Time, top: f64) -> Result<()> {
    for (_, at_s) in &time.marks {
        let x = at_s / 60.0;
        chart.draw_series([PathElement::new([(x, 0.0), (x, top)], GREY)])?;
    }
    Ok(())
}

/// The colour of an area below a line: it covers what is behind it.
fn pale(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let mixed = |part: u8| u8::MAX - (u8::MAX - part) / 3;
    RGBColor(mixed(red), mixed(green), mixed(blue))
}

fn minutes(time: &Time, steps: usize) -> f64 {
    steps as f64 * time.step_s / 60.0
}

/// Series with a colour each, and the others.
fn layers(panel: &Panel) -> Vec<Layer> {
    let sum = |values: &[Option<f64>]| values.iter().flatten().sum::<f64>();
    let mut series: Vec<_> =
        panel.lines.iter().filter(|line| line.values.iter().flatten().any(|it| *it != 0.0)).collect();
    if series.is_empty() {
        series = panel.lines.iter().collect();
    }
    series.sort_by(|a, b| sum(&b.values).total_cmp(&sum(&a.values)));
    let rest = series.split_off(series.len().min(COLORS.len()));
    let layer = |(line, color): (&&Line, RGBColor)| Layer {
        name: line.name.clone(),
        color,
        lines: vec![line.values.clone()],
    };
    let mut layers: Vec<_> = series.iter().zip(COLORS).map(layer).collect();
    if !rest.is_empty() {
        let mut lines: Vec<_> = rest.iter().map(|line| line.values.clone()).collect();
        if panel.is_stacked {
            lines = vec![lines.into_iter().reduce(|a, b| added(&a, &b)).unwrap_or_default()];
        }
        layers.push(Layer { name: format!("{} others", rest.len()), color: GREY, lines });
    }
    layers
}

/// Puts each on those before it.
fn stack(layers: &mut [Layer]) {
    let mut ground: Vec<Option<f64>> = Vec::new();
    for layer in layers {
        for line in &mut layer.lines {
            *line = if ground.is_empty() { line.clone() } else { added(&ground, line) };
            ground.clone_from(line);
        }
    }
}

/// The sum, where there is a value of one at least.
fn added(a: &[Option<f64>], b: &[Option<f64>]) -> Vec<Option<f64>> {
    let sum = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
        (None, None) => None,
        (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
    };
    a.iter().zip(b).map(sum).collect()
}

/// Points without a gap between them.
fn runs(values: &[Option<f64>], time: &Time) -> Vec<Vec<(f64, f64)>> {
    let points: Vec<_> =
        values.iter().enumerate().map(|(step, value)| Some((minutes(time, step), (*value)?))).collect();
    points
        .split(Option::is_none)
        .filter(|run| !run.is_empty())
        .map(|run| run.iter().flatten().copied().collect())
        .collect()
}

/// Where each name of the legend begins, and in which line of it.
fn legend(layers: &[Layer], width: u32) -> Vec<(u32, u32)> {
    let (mut x, mut line) = (VALUES, 0);
    let place = |layer: &Layer| {
        // What has no name needs no legend, and there is one of it only.
        let own = SQUARE + 3 * SPACE + width_of(&layer.name, SIZE);
        if x > VALUES && x + own > width {
            (x, line) = (VALUES, line + 1);
        }
        let at = (x, line);
        x += own;
        at
    };
    layers.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_there_is_no_value() {
        let time = Time { step_s: 60.0, n_steps: 5, marks: Vec::new() };
        let found = runs(&[None, Some(1.0), Some(2.0), None, Some(3.0)], &time);
        assert_eq!(found, [vec![(1.0, 1.0), (2.0, 2.0)], vec![(4.0, 3.0)]]);
    }

    #[test]
    fn sums_have_a_value_where_one_of_both_has() {
        assert_eq!(
            added(&[Some(1.0), None, None], &[Some(2.0), Some(3.0), None]),
            [Some(3.0), Some(3.0), None]
        );
    }
}
