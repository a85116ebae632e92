//! What the panels of the dashboard show, as lines of JSON: the demo writes them in a VM, `cargo xtask exporter-demo` draws them.

use serde::{Deserialize, Serialize};

/// A line; the first is the time that all panels show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    Time(Time),
    Panel(Panel),
}

/// The time from 0 on, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Time {
    /// Between two values of a line.
    pub(crate) step_s: f64,
    /// Values of a line.
    pub(crate) n_steps: usize,
    /// What happened, and when.
    pub(crate) marks: Vec<(String, f64)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Panel {
    /// The row of the dashboard that it is in.
    pub(crate) row: String,
    pub(crate) title: String,
    /// Of the panel, as Grafana names it: `stat`, `timeseries`.
    pub(crate) kind: String,
    /// As Grafana names it: `percentunit`, `cps`.
    pub(crate) unit: String,
    pub(crate) place: Place,
    pub(crate) is_stacked: bool,
    pub(crate) lines: Vec<Line>,
    /// Of a panel that is a table; it has no lines.
    pub(crate) table: Table,
}

/// In the grid of the dashboard, which has 24 columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) w: u32,
    pub(crate) h: u32,
}

/// A series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    /// One by step, or one alone when the panel is of one moment.
    pub(crate) values: Vec<Option<f64>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Name and unit of each column.
    pub(crate) head: Vec<(String, String)>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Number(f64),
    Text(String),
}
