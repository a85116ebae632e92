//! The page of a sweep, in Markdown, made from its JSON document.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::markdown::{fill, table};

const TEMPLATE: &str = include_str!("page.md");

/// What the page takes from the document of `podproof sweep`.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    runtime: Runtime,
    kernel: String,
    #[serde(default)]
    machine: String,
    leaks: u64,
    rows: Vec<Row>,
    #[serde(default)]
    unplayed: Vec<Unplayed>,
}

#[derive(Debug, Deserialize)]
struct Runtime {
    name: String,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    command: String,
    victim: String,
    position: String,
    calls: u64,
    cut_points: u64,
    killed: u64,
    leaks: Vec<Leak>,
}

#[derive(Debug, Deserialize)]
struct Leak {
    call: u64,
    name: String,
    left: Vec<String>,
    gone: Vec<String>,
    clean_up: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Unplayed {
    command: String,
    reason: String,
}

impl Document {
    /// Reads a document.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("no document of a sweep")
    }

    /// Cut points and leaks of each run.
    pub(crate) fn sums(&self) -> String {
        let line = |run: &Run| {
            let sum = |of: fn(&Row) -> u64| run.rows.iter().map(of).sum::<u64>().to_string();
            vec![
                run.title(),
                run.kernel.clone(),
                sum(|row| row.calls),
                sum(|row| row.cut_points),
                sum(|row| row.killed),
                run.leaks.to_string(),
            ]
        };
        let head = ["runtime", "kernel", "calls", "cut points", "killed", "leaks"];
        table(&head, self.runs.iter().map(line))
    }

    /// The page; `name` is that of the document beside it.
    pub(crate) fn markdown(&self, name: &str) -> String {
        let runs: Vec<String> = self.runs.iter().map(Run::section).collect();
        let parts = [("name", name.to_owned()), ("sums", self.sums()), ("runs", runs.join("\n"))];
        fill(TEMPLATE, &parts).trim_end().to_owned() + "\n"
    }
}

impl Run {
    fn title(&self) -> String {
        format!("{} {}", self.runtime.name, self.runtime.version)
    }

    fn section(&self) -> String {
        let line = |row: &Row| {
            let first = row.leaks.first().map_or_else(String::new, Leak::words);
            let numbers = [row.calls, row.cut_points, row.killed, row.leaks.len() as u64];
            let words = [&row.command, &row.victim, &row.position].map(Clone::clone);
            words.into_iter().chain(numbers.map(|n| n.to_string())).chain([first]).collect()
        };
        let head = ["command", "killed", "at", "calls", "cut at", "killed", "leaks", "the first of them"];
        let mut text = format!("## {} under {} ({})\n\n", self.title(), self.kernel, self.machine);
        text += &table(&head, self.rows.iter().map(line));
        for unplayed in &self.unplayed {
            let _infallible = write!(text, "\n`{}` was not swept: {}\n", unplayed.command, unplayed.reason);
        }
        text
    }
}

impl Leak {
    fn words(&self) -> String {
        let lists = [("left", &self.left), ("gone", &self.gone), ("said", &self.clean_up)];
        let objects = lists.into_iter().flat_map(|(word, list)| list.iter().map(move |it| (word, it)));
        let objects: Vec<String> =
            objects.map(|(word, object)| format!("{word}: {}", object.replace('|', "/"))).collect();
        format!("call {} ({}): {}", self.call, self.name, objects.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown;

    #[test]
    fn the_page_has_every_row_and_the_first_leak() {
        let document = Document::parse(
            r#"{"schema": 1, "runs": [{"runtime": {"name": "r", "version": "1.0"}, "kernel": "6.12", "machine": "vm-tcg",
            "leaks": 1, "unplayed": [{"command": "exec", "reason": "it broke"}], "rows": [
            {"command": "create", "victim": "itself", "position": "exit", "calls": 9, "cut_points": 4, "killed": 3,
            "leaks": [{"call": 7, "name": "mkdir", "left": ["cgroup /x"], "gone": [], "clean_up": ["no"]}]},
            {"command": "start", "victim": "itself", "position": "exit", "calls": 5, "cut_points": 5, "killed": 5,
            "leaks": []}]}]}"#,
        )
        .unwrap();
        let text = document.markdown("x.json");
        for line in [
            "## r 1.0 under 6.12 (vm-tcg)",
            "| r 1.0 | 6.12 | 14 | 9 | 8 | 1 |",
            "| create | itself | exit | 9 | 4 | 3 | 1 | call 7 (mkdir): left: cgroup /x; said: no |",
            "| start | itself | exit | 5 | 5 | 5 | 0 |  |",
            "`exec` was not swept: it broke",
            "[x.json](x.json)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("{{"), "{text}");
    }

    #[test]
    fn the_pages_of_the_repository_are_those_of_its_figures() {
        let docs = crate::workspace::root().join("docs");
        let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
        let document = Document::parse(&read("crash-sweep.json")).unwrap();
        let hint = "run `cargo xtask sweep --json docs/crash-sweep.json --render`";
        assert!(document.markdown("crash-sweep.json") == read("crash-sweep.md"), "{hint}");
        assert!(markdown::has("crash-sweep", &document.sums()), "{hint}");
    }

    #[test]
    fn the_record_has_the_pods_of_podrt_under_every_kernel() {
        let docs = crate::workspace::root().join("docs");
        let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
        let (document, text) = (Document::parse(&read("crash-sweep.json")).unwrap(), read("crash-safety.md"));
        let scenes = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let of_pods: Vec<&str> =
            scenes.map(|(name, _)| name).filter(|name| name.starts_with("pod-")).collect();
        assert!(!of_pods.is_empty());
        for kernel in document.runs.iter().map(|run| &run.kernel) {
            let is_podrt = |run: &&Run| run.runtime.name == "podrt" && run.kernel == *kernel;
            let rows = document.runs.iter().filter(is_podrt).flat_map(|run| &run.rows);
            let swept: Vec<&str> = rows.map(|row| row.command.as_str()).collect();
            for scene in &of_pods {
                assert!(swept.contains(scene), "no row of {scene} under {kernel}");
            }
        }
    }
}
