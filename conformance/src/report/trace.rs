//! `trace.json`: the timelines of all checks in one document for trace viewers, at the times at which they were played.

use serde_json::{Map, Value};

use super::model::{CheckReport, RunReport};
use super::timeline::{Task, Timeline};
use crate::trace::chrome::{Document, Phase, TraceEvent};

/// Entries of a document at most; viewers get slow beyond.
const MAX_ENTRIES: usize = 400_000;
/// Viewers know processes by number alone: those of each check get numbers of their own.
const STEP: u32 = 1000;

/// The document of these runs.
#[must_use]
pub fn document(runs: &[RunReport]) -> Document {
    let mut merged = Merged { names: Vec::new(), entries: Vec::new(), number: 0 };
    let mut begin_us = 0;
    for run in runs {
        let timelines = || run.checks.iter().filter_map(|check| check.timeline.as_ref());
        let Some(first) = timelines().map(|timeline| timeline.start_us).min() else { continue };
        // Machines have clocks of their own: runs follow one another.
        for check in &run.checks {
            if let Some(timeline) = &check.timeline {
                merged.check(run, check, timeline, begin_us + (timeline.start_us - first));
            }
        }
        let end = timelines().map(|timeline| timeline.start_us - first + timeline.length_us).max();
        begin_us += end.unwrap_or_default() + 1_000_000;
    }
    let Merged { names, mut entries, .. } = merged;
    entries.sort_by(|a, b| a.ts.total_cmp(&b.ts).then(b.dur.unwrap_or(0.0).total_cmp(&a.dur.unwrap_or(0.0))));
    Document { trace_events: names.into_iter().chain(entries).collect(), display_time_unit: "ms" }
}

struct Merged {
    names: Vec<TraceEvent>,
    entries: Vec<TraceEvent>,
    /// Of the check.
    number: u32,
}

impl Merged {
    fn check(&mut self, run: &RunReport, check: &CheckReport, timeline: &Timeline, begin_us: u64) {
        self.number += 1;
        let pid = self.number * STEP;
        let title = format!("{} {} ({}), {}", check.id, check.name, check.verdict, run.title());
        self.named(pid, pid, "process_name", "name", title.into());
        self.named(pid, pid, "process_sort_index", "sort_index", pid.into());
        self.named(pid, pid, "thread_name", "name", "check".into());
        let what = Map::from_iter([
            ("verdict".to_owned(), check.verdict.as_str().into()),
            ("reason".to_owned(), check.reason.as_str().into()),
        ]);
        self.slice((pid, pid), &check.id, "check", (begin_us, timeline.length_us), what);
        let lane = |index: usize| pid + 1 + u32::try_from(index).unwrap_or(u32::MAX - pid - 1);
        for (index, task) in timeline.tasks.iter().enumerate() {
            let name =
                format!("{} {}", task.programs.last().map_or("", |it| it.name.as_str()), numbers(task));
            self.named(pid, lane(index), "thread_name", "name", name.into());
            self.task((pid, lane(index)), task, timeline.length_us, begin_us);
        }
        for mark in &timeline.marks {
            let tid = mark.task.map_or(pid, lane);
            let entry = entry(&mark.kind, "mark", Phase::Instant, begin_us + mark.at_us, (pid, tid));
            let args = Map::from_iter([("text".to_owned(), mark.text.as_str().into())]);
            self.push(TraceEvent { s: Some("t"), args, ..entry });
        }
    }

    fn task(&mut self, place: (u32, u32), task: &Task, length_us: u64, begin_us: u64) {
        let end = task.end_us.unwrap_or(length_us);
        let how = task.end.as_deref().unwrap_or("alive when the check ended");
        let args = || Map::from_iter([("end".to_owned(), how.into())]);
        let life = (begin_us + task.since_us, end.saturating_sub(task.since_us));
        self.slice(place, &format!("process {}", numbers(task)), "process", life, args());
        for (index, program) in task.programs.iter().enumerate() {
            let until = task.programs.get(index + 1).map_or(end, |next| next.since_us);
            let span = (begin_us + program.since_us, until.saturating_sub(program.since_us));
            if span.1 > 0 {
                self.slice(place, &program.name, "program", span, Map::new());
            }
        }
        if let (Some(end), Some(reaped)) = (task.end_us, task.reaped_us) {
            let args = task.reaped.iter().map(|text| ("end".to_owned(), text.as_str().into())).collect();
            self.slice(place, "zombie", "zombie", (begin_us + end, reaped.saturating_sub(end)), args);
        }
    }

    fn slice(
        &mut self,
        place: (u32, u32),
        name: &str,
        cat: &'static str,
        (at_us, length_us): (u64, u64),
        args: Map<String, Value>,
    ) {
        let entry = entry(name, cat, Phase::Complete, at_us, place);
        self.push(TraceEvent { dur: Some(micros(length_us)), args, ..entry });
    }

    fn named(&mut self, pid: u32, tid: u32, name: &str, key: &str, value: Value) {
        let entry = entry(name, "__metadata", Phase::Metadata, 0, (pid, tid));
        self.names.push(TraceEvent { args: Map::from_iter([(key.to_owned(), value)]), ..entry });
    }

    fn push(&mut self, entry: TraceEvent) {
        if self.entries.len() < MAX_ENTRIES {
            self.entries.push(entry);
        }
    }
}

fn numbers(task: &Task) -> String {
    task.ns_pid.map_or_else(|| task.tgid.to_string(), |inside| format!("{}/{inside}", task.tgid))
}

fn entry(name: &str, cat: &'static str, ph: Phase, at_us: u64, (pid, tid): (u32, u32)) -> TraceEvent {
    let (name, ts) = (name.to_owned(), micros(at_us));
    TraceEvent { name, cat, ph, ts, dur: None, pid, tid, id: None, bp: None, s: None, args: Map::new() }
}

#[expect(clippy::cast_precision_loss, reason = "the format has floating point; centuries are exact")]
fn micros(us: u64) -> f64 {
    us as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{HOSTILE, check, run};
    use crate::report::timeline::{Mark, Program};

    fn timeline(start_us: u64) -> Timeline {
        let task = Task {
            tgid: 11,
            ns_pid: Some(1),
            since_us: 5,
            programs: vec![Program { name: HOSTILE.to_owned(), since_us: 5 }],
            end_us: Some(20),
            reaped_us: Some(30),
            ..Task::default()
        };
        let mark = Mark {
            at_us: 9,
            kind: "signal".to_owned(),
            task: Some(0),
            to: None,
            cgroup: None,
            text: HOSTILE.to_owned(),
        };
        Timeline { start_us, length_us: 40, tasks: vec![task], marks: vec![mark], ..Timeline::default() }
    }

    #[test]
    fn checks_lie_side_by_side_at_their_times() {
        let mut checks = vec![check("NS-01", "pass"), check("NS-02", "fail"), check("NS-03", "skip")];
        checks[0].timeline = Some(timeline(1000));
        checks[1].timeline = Some(timeline(1500));
        let document = document(&[run("runc", "6.12.1", checks.clone()), run("crun", "6.12.1", checks)]);
        let slices = |name: &str| -> Vec<(f64, Option<f64>, u32)> {
            let is_it = |entry: &&TraceEvent| entry.ph == Phase::Complete && entry.name == name;
            document.trace_events.iter().filter(is_it).map(|it| (it.ts, it.dur, it.pid)).collect()
        };
        assert_eq!(slices("NS-02"), [(500.0, Some(40.0), 2000), (1_001_040.0, Some(40.0), 4000)]);
        assert_eq!(slices("zombie").len(), 4);
        assert_eq!(slices("process 11/1")[0], (5.0, Some(15.0), 1000));
        let value = serde_json::to_value(&document).unwrap();
        let entries = value["traceEvents"].as_array().unwrap();
        assert!(entries.iter().all(|entry| entry["ph"].is_string() && entry["ts"].is_number()));
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn nothing_is_a_document_too() {
        assert!(document(&[run("runc", "6.12.1", vec![check("NS-01", "pass")])]).trace_events.is_empty());
    }
}
