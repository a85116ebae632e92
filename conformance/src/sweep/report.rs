//! What a sweep has found: rows, the JSON document and the table.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::report::model::RuntimeReport;

/// The sweep of one runtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The runtime.
    pub runtime: RuntimeReport,
    /// Release of the kernel.
    pub kernel: String,
    /// Whether the runtime has a `gc`, which was called after each cut.
    pub has_gc: bool,
    /// One per command, victim and position.
    pub rows: Vec<Row>,
    /// Commands that were not swept to their end.
    #[serde(default)]
    pub unplayed: Vec<Unplayed>,
    /// Cuts after which something was left, over all rows.
    pub leaks: u64,
}

/// A command that fails when nobody kills it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unplayed {
    /// Name of the scene.
    pub command: String,
    /// Which call of the runtime failed, and how.
    pub reason: String,
}

/// One command, killed at many calls.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Name of the scene.
    pub command: String,
    /// Who was killed: the command itself, or a process that it made.
    pub victim: String,
    /// `exit` or `entry` of the call.
    pub position: String,
    /// Calls of the victim when nobody kills it.
    pub calls: u64,
    /// Whether some of the calls were left out.
    pub is_sampled: bool,
    /// Calls at which it was to be killed.
    pub cut_points: u64,
    /// How often it came as far as that, and was killed.
    pub killed: u64,
    /// What is left when nobody is killed.
    pub left_unkilled: Vec<String>,
    /// The cuts after which something was left.
    pub leaks: Vec<Leak>,
    /// Milliseconds that it took.
    pub wall_ms: u64,
}

/// What is left of one cut.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leak {
    /// At which call, from 1.
    pub call: u64,
    /// Its name; `none` when the process ended before it.
    pub name: String,
    /// Objects that are there and should not be.
    pub left: Vec<String>,
    /// Objects that are not there any more and should be.
    pub gone: Vec<String>,
    /// What the runtime said when it could not clean up.
    pub clean_up: Vec<String>,
}

impl Row {
    /// The first line of a table of rows.
    #[must_use]
    pub fn header() -> String {
        format!(
            "{:<14} {:<12} {:<6} {:>6} {:>7} {:>7} {:>6} {:>8}",
            "command", "killed", "at", "calls", "cut at", "killed", "leaks", "wall"
        )
    }

    /// The row as a line, and the first leak below it.
    #[must_use]
    pub fn text(&self) -> String {
        let wall = format!("{:.1} s", self.wall_ms as f64 / 1000.0);
        let mut text = format!(
            "{:<14} {:<12} {:<6} {:>6} {:>7} {:>7} {:>6} {wall:>8}",
            self.command,
            self.victim,
            self.position,
            self.calls,
            self.cut_points,
            self.killed,
            self.leaks.len()
        );
        for object in &self.left_unkilled {
            _ = write!(text, "\n    without a kill: left: {object}");
        }
        if let Some(leak) = self.leaks.first() {
            _ = write!(text, "\n    first leak: call {} ({})", leak.call, leak.name);
            for (word, objects) in [("left", &leak.left), ("gone", &leak.gone), ("said", &leak.clean_up)] {
                for object in objects {
                    _ = write!(text, "\n      {word}: {object}");
                }
            }
        }
        text
    }
}

/// The document of these reports.
///
/// # Errors
/// None in practice; JSON allows what the model has.
pub fn document(reports: &[Report]) -> serde_json::Result<serde_json::Value> {
    Ok(serde_json::json!({
        "schema": 1,
        "podproof": env!("CARGO_PKG_VERSION"),
        "runs": serde_json::to_value(reports)?,
    }))
}

/// The sums of several runtimes, a line each.
#[must_use]
pub fn render(reports: &[Report]) -> String {
    let mut text = format!("{:<24} {:<24} {:>10} {:>7}\n", "runtime", "kernel", "cut points", "leaks");
    for report in reports {
        let name = format!("{} {}", report.runtime.name, report.runtime.version);
        let cut_points: u64 = report.rows.iter().map(|row| row.cut_points).sum();
        _ = writeln!(text, "{name:<24} {:<24} {cut_points:>10} {:>7}", report.kernel, report.leaks);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_its_first_leak() {
        let leak = |call: u64, name: &str| Leak {
            call,
            name: name.to_owned(),
            left: vec!["cgroup /sys/fs/cgroup/x".to_owned()],
            gone: vec![],
            clean_up: vec!["`r delete` exited with 1".to_owned()],
        };
        let row = Row {
            command: "create".to_owned(),
            victim: "itself".to_owned(),
            position: "exit".to_owned(),
            calls: 200,
            is_sampled: true,
            cut_points: 24,
            killed: 24,
            left_unkilled: vec![],
            leaks: vec![leak(7, "mkdir"), leak(8, "write")],
            wall_ms: 1500,
        };
        let text = row.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["create", "itself", "exit", "200", "24", "24", "2", "1.5", "s"]
        );
        assert_eq!(lines[1], "    first leak: call 7 (mkdir)");
        assert_eq!(lines[2], "      left: cgroup /sys/fs/cgroup/x");
        assert_eq!(lines[3], "      said: `r delete` exited with 1");
        assert_eq!(lines.len(), 4);
    }
}
