//! The JSON file of a measurement, and how it comes from the records of the measuring program.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::bench::SCHEMA;
use crate::bench::record::{Case, Record, Subject};
use crate::bench::statistics::Summary;

pub(crate) const BENCH: &str = "probes";
/// The subject of rows without any probes, and the name of ratios to them.
pub(crate) const NONE: &str = "none";
/// Begins the case of rows about the time in programs; the operation follows.
pub(crate) const PROGRAM_TIME: &str = "program_time:";
pub(crate) const EVENTS_LOST: &str = "events_lost";
pub(crate) const STORM: &str = "fork_storm";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) schema: u32,
    pub(crate) bench: String,
    pub(crate) kernel: String,
    pub(crate) machine: Machine,
    /// A short run, which shows that everything works and not what it costs.
    pub(crate) is_quick: bool,
    /// Version by name of each tool that was measured beside.
    pub(crate) peers: BTreeMap<String, String>,
    pub(crate) rows: Vec<Row>,
}

/// Where it was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) n_cpus: usize,
    /// The CPU that the worker had for itself.
    pub(crate) worker_cpu: usize,
}

/// One figure. What was not available has no values, and says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) subject: String,
    /// Of one program only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) program: Option<String>,
    /// Of the values: `ns` for each operation (or run of a program), `events`, `events/s`, `forks/s`.
    pub(crate) unit: String,
    pub(crate) median: Option<f64>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    /// Values that the median is of.
    pub(crate) runs: usize,
    /// Against `none`: the median of the ratios of pairs. Against another subject: of the two ratios to `none`.
    pub(crate) ratio: BTreeMap<String, f64>,
    /// Of the ratios to `none`: first and third quartile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_quartiles: Option<[f64; 2]>,
    /// 95 % interval of the median of the ratios to `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_interval: Option<[f64; 2]>,
    /// Median of the differences of pairs, in ns for each operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) added_ns: Option<f64>,
    /// Events of all runs together, and those of them that were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lost: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forks_per_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unavailable: Option<String>,
}

impl Row {
    fn new(case: &str, subject: &str, unit: &str) -> Self {
        Self { case: case.to_owned(), subject: subject.to_owned(), unit: unit.to_owned(), ..Self::default() }
    }

    fn with(mut self, values: &Summary) -> Self {
        (self.median, self.min, self.max) = (Some(values.median), Some(values.min), Some(values.max));
        self.runs = values.n;
        self
    }

    /// Leaves out the digits that mean nothing: below a hundredth of a value, and of a percent of a ratio.
    fn round(&mut self) {
        let to = |digits: f64| move |value: &mut f64| *value = (*value * digits).round() / digits;
        let values =
            [&mut self.median, &mut self.min, &mut self.max, &mut self.added_ns, &mut self.forks_per_s];
        values.into_iter().flatten().for_each(to(1e2));
        let bounds = [&mut self.ratio_quartiles, &mut self.ratio_interval];
        bounds.into_iter().flatten().flatten().for_each(to(1e4));
        self.ratio.values_mut().for_each(to(1e4));
    }
}

impl Document {
    /// The row of a figure that is not about one program.
    pub(crate) fn row(&self, case: &str, subject: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.subject == subject && row.program.is_none())
    }

    /// The row of one program.
    pub(crate) fn program(&self, case: &str, subject: &str, program: &str) -> Option<&Row> {
        let is_it = |row: &&Row| {
            row.case == case && row.subject == subject && row.program.as_deref() == Some(program)
        };
        self.rows.iter().find(is_it)
    }

    /// Computes the figures from all records of a run.
    ///
    /// # Errors
    /// A record is missing.
    pub(crate) fn of(records: &[Record], is_quick: bool, peers: BTreeMap<String, String>) -> Result<Self> {
        let Some(Record::Machine { kernel, cpu, n_cpus, worker_cpu }) = records.first() else {
            anyhow::bail!("the first record does not describe the machine");
        };
        let mut rows = timing_rows(records)?;
        rows.extend(lost_rows(records)?);
        for (part, name) in [(program_rows(records)?, "statistics"), (storm_rows(records)?, "storms")] {
            ensure!(!part.is_empty(), "no {name} among the records");
            rows.extend(part);
        }
        rows.iter_mut().for_each(Row::round);
        Ok(Self {
            schema: SCHEMA,
            bench: BENCH.to_owned(),
            kernel: kernel.clone(),
            machine: Machine { cpu: cpu.clone(), n_cpus: *n_cpus, worker_cpu: *worker_cpu },
            is_quick,
            peers,
            rows,
        })
    }
}

/// The name of a case or subject in the file.
pub(crate) fn name(value: impl Serialize) -> Result<String> {
    match serde_json::to_value(value)? {
        serde_json::Value::String(name) => Ok(name),
        other => anyhow::bail!("{other} is no name"),
    }
}

fn unavailable(records: &[Record], subject: Subject) -> Option<&String> {
    records.iter().find_map(|record| match record {
        Record::Unavailable { subject: it, reason } if *it == subject => Some(reason),
        _ => None,
    })
}

fn timing_rows(records: &[Record]) -> Result<Vec<Row>> {
    let subjects: Vec<Subject> =
        [Subject::Control].into_iter().chain(Subject::OWN).chain(Subject::PEERS).collect();
    let mut rows = Vec::new();
    for case in Case::ALL {
        let case_name = name(case)?;
        // Watched and alone, in ns for each operation.
        let mut pairs: BTreeMap<Subject, Vec<(f64, f64)>> = BTreeMap::new();
        for record in records {
            if let Record::Pair { subject, case: it, ops, watched_ns, alone_ns } = record
                && *it == case
            {
                let of = |ns: u64| ns as f64 / *ops as f64;
                pairs.entry(*subject).or_default().push((of(*watched_ns), of(*alone_ns)));
            }
        }
        let alone = Summary::of(pairs.values().flatten().map(|(_, alone)| *alone))
            .with_context(|| format!("no blocks of {case_name}"))?;
        rows.push(Row::new(&case_name, NONE, "ns").with(&alone));
        let first = rows.len();
        for &subject in &subjects {
            let mut row = Row::new(&case_name, &name(subject)?, "ns");
            if let Some(reason) = unavailable(records, subject) {
                row.unavailable = Some(reason.clone());
                rows.push(row);
                continue;
            }
            let pairs = pairs.get(&subject).map_or(&[][..], Vec::as_slice);
            let summary = |of: fn(&(f64, f64)) -> f64| {
                Summary::of(pairs.iter().map(of)).with_context(|| format!("no pairs of {subject:?}"))
            };
            let ratio = summary(|(watched, alone)| watched / alone)?;
            row = row.with(&summary(|(watched, _)| *watched)?);
            row.ratio.insert(NONE.to_owned(), ratio.median);
            row.ratio_quartiles = Some(ratio.quartiles);
            row.ratio_interval = Some(ratio.interval);
            row.added_ns = Some(summary(|(watched, alone)| watched - alone)?.median);
            rows.push(row);
        }
        against_printf(&mut rows[first..])?;
    }
    Ok(rows)
}

/// Adds the ratios of podproof's modes to what bpftrace costs that prints the same events.
fn against_printf(rows: &mut [Row]) -> Result<()> {
    let printf = name(Subject::BpftracePrintf)?;
    let Some(its) =
        rows.iter().find(|row| row.subject == printf).and_then(|row| row.ratio.get(NONE).copied())
    else {
        return Ok(());
    };
    for subject in Subject::OWN {
        let own = name(subject)?;
        for row in rows.iter_mut().filter(|row| row.subject == own) {
            let ratio = row.ratio.get(NONE).map(|ratio| ratio / its);
            row.ratio.extend(ratio.map(|ratio| (printf.clone(), ratio)));
        }
    }
    Ok(())
}

fn lost_rows(records: &[Record]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for record in records {
        if let Record::Lost { subject, events } = record {
            let lost = Summary::of([*events as f64]);
            let row = Row::new(EVENTS_LOST, &name(subject)?, "events");
            rows.extend(lost.map(|lost| row.with(&lost)));
        }
    }
    Ok(rows)
}

/// For each subject and operation: time in all of its programs for one operation, and for one run of each program that
/// the operation raises.
fn program_rows(records: &[Record]) -> Result<Vec<Row>> {
    let mut sums: BTreeMap<(Subject, Case), Vec<f64>> = BTreeMap::new();
    let mut programs: BTreeMap<(Subject, Case), BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for record in records {
        let Record::Programs { subject, case, ops, programs: found } = record else { continue };
        let key = (*subject, *case);
        let total: u64 = found.iter().map(|program| program.time_ns).sum();
        sums.entry(key).or_default().push(total as f64 / *ops as f64);
        // Others on the machine raise a few events too: those are no events of the operation.
        for program in found.iter().filter(|program| program.runs >= ops / 2) {
            let of_run = program.time_ns as f64 / program.runs as f64;
            programs.entry(key).or_default().entry(&program.name).or_default().push(of_run);
        }
    }
    let mut rows = Vec::new();
    for ((subject, case), sums) in sums {
        let (case_name, subject_name) = (format!("{PROGRAM_TIME}{}", name(case)?), name(subject)?);
        let row = || Row::new(&case_name, &subject_name, "ns");
        rows.extend(Summary::of(sums).map(|sum| row().with(&sum)));
        for (program, times) in programs.remove(&(subject, case)).unwrap_or_default() {
            let times = Summary::of(times).map(|times| row().with(&times));
            rows.extend(times.map(|row| Row { program: Some(program.to_owned()), ..row }));
        }
    }
    Ok(rows)
}

/// The subject of a storm through a ring of this size.
pub(crate) fn ring_name(bytes: Option<u32>) -> String {
    bytes.map_or_else(|| NONE.to_owned(), |bytes| format!("ring_{}_KiB", bytes >> 10))
}

fn storm_rows(records: &[Record]) -> Result<Vec<Row>> {
    #[derive(Default)]
    struct Storms {
        forks_per_s: Vec<f64>,
        events_per_s: Vec<f64>,
        events: u64,
        lost: u64,
    }
    let mut sizes: BTreeMap<Option<u32>, Storms> = BTreeMap::new();
    for record in records {
        if let Record::Storm { ring_bytes, forks, events, lost, wall_ns } = record {
            let storms = sizes.entry(*ring_bytes).or_default();
            let seconds = *wall_ns as f64 / 1e9;
            storms.forks_per_s.push(*forks as f64 / seconds);
            storms.events_per_s.push(*events as f64 / seconds);
            storms.events += events;
            storms.lost += lost;
        }
    }
    let mut rows = Vec::new();
    for (bytes, storms) in sizes {
        let forks = Summary::of(storms.forks_per_s).context("no storms")?;
        let name = ring_name(bytes);
        rows.push(if bytes.is_none() {
            Row::new(STORM, &name, "forks/s").with(&forks)
        } else {
            Row {
                events: Some(storms.events),
                lost: Some(storms.lost),
                forks_per_s: Some(forks.median),
                ..Row::new(STORM, &name, "events/s")
                    .with(&Summary::of(storms.events_per_s).context("no storms")?)
            }
        });
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::Figures as _;
    use crate::bench::record::ProgramRuns;

    /// The records of a small run on a machine where every subject costs what its number says.
    pub(crate) fn records() -> Vec<Record> {
        let mut records = vec![Record::Machine {
            kernel: "6.12.1".into(),
            cpu: "Example & Sons".into(),
            n_cpus: 2,
            worker_cpu: 1,
        }];
        let subjects = [Subject::Control]
            .into_iter()
            .chain(Subject::OWN)
            .chain([Subject::BpftraceCount, Subject::BpftracePrintf]);
        for (idx, subject) in subjects.enumerate() {
            for case in Case::ALL {
                for round in 0..5 {
                    let alone_ns = 100_000 + 1000 * round;
                    let watched_ns = alone_ns + alone_ns / 100 * idx as u64;
                    records.push(Record::Pair { subject, case, ops: 10, watched_ns, alone_ns });
                }
            }
            records.push(Record::Lost { subject, events: 0 });
        }
        let reason = "execsnoop: not attached: no such event".to_owned();
        records.push(Record::Unavailable { subject: Subject::ExecsnoopExitsnoop, reason });
        for subject in Subject::OWN {
            let program = |name: &str, time_ns| ProgramRuns { name: name.into(), runs: 10, time_ns };
            let mut programs = vec![program("task_newtask", 500), program("sched_process_exit", 300)];
            programs.push(ProgramRuns { name: "sched_process_exec".into(), runs: 1, time_ns: 90 });
            let case = Case::ForkExitWait;
            records.push(Record::Programs { subject, case, ops: 10, programs });
        }
        for (ring_bytes, lost) in [(None, 0), (Some(1 << 16), 7), (Some(1 << 23), 0)] {
            let events = if ring_bytes.is_some() { 5000 } else { 0 };
            let wall_ns = 500_000_000;
            records.push(Record::Storm { ring_bytes, forks: 1000, events, lost, wall_ns });
        }
        records
    }

    pub(crate) fn document() -> Document {
        Document::of(&records(), false, BTreeMap::from([("bpftrace".into(), "v0.17.0".into())])).unwrap()
    }

    #[test]
    fn ratios_are_those_of_pairs() {
        let document = document();
        let row = document.row("fork_exit_wait", "full_evidence").unwrap();
        // Blocks from 100 to 104 us of ten operations, 3 % more when watched.
        assert_eq!(
            (row.median, row.min, row.max, row.runs),
            (Some(10506.0), Some(10300.0), Some(10712.0), 5)
        );
        assert!((row.ratio[NONE] - 1.03).abs() < 1e-9, "{row:?}");
        assert!((row.ratio["bpftrace_printf"] - 1.03 / 1.05).abs() < 1e-4, "{row:?}");
        assert_eq!(row.added_ns, Some(306.0));
        let none = document.row("fork_exit_wait", NONE).unwrap();
        assert_eq!((none.median, none.runs), (Some(10200.0), 30));
        assert!(!document.row("getpid", "control").unwrap().ratio.contains_key("bpftrace_printf"));
    }

    #[test]
    fn what_is_unavailable_has_a_reason_and_no_figures() {
        let document = document();
        let row = document.row("setns", "execsnoop_exitsnoop").unwrap();
        assert_eq!((row.median, row.runs, row.ratio.len()), (None, 0, 0));
        assert!(row.unavailable.as_ref().unwrap().contains("no such event"));
    }

    #[test]
    fn program_time_is_per_run_and_per_operation() {
        let document = document();
        let case = "program_time:fork_exit_wait";
        assert_eq!(document.program(case, "counters", "task_newtask").unwrap().median, Some(50.0));
        assert_eq!(document.row(case, "counters").unwrap().median, Some(89.0));
        assert!(document.program(case, "counters", "sched_process_exec").is_none(), "not of this operation");
    }

    #[test]
    fn a_storm_counts_what_is_lost() {
        let document = document();
        let small = document.row(STORM, "ring_64_KiB").unwrap();
        assert_eq!((small.median, small.events, small.lost), (Some(10_000.0), Some(5000), Some(7)));
        assert_eq!(small.forks_per_s, Some(2000.0));
        assert_eq!(document.row(STORM, NONE).unwrap().unit, "forks/s");
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_no_other_is() {
        let document = document();
        let text = serde_json::to_string_pretty(&document).unwrap();
        assert!(Document::parse(&text).unwrap() == document, "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((value["schema"].as_u64(), value["bench"].as_str()), (Some(1), Some("probes")));
        for row in value["rows"].as_array().unwrap() {
            for key in ["case", "subject", "unit", "median", "min", "max", "runs", "ratio"] {
                assert!(row.get(key).is_some(), "{key} in {row}");
            }
        }
        let other = text.replacen("\"schema\": 1", "\"schema\": 2", 1);
        assert!(format!("{:#}", Document::parse(&other).unwrap_err()).contains("schema 2"));
    }

    #[test]
    fn a_run_that_broke_off_gives_no_file() {
        assert!(Document::of(&[], false, BTreeMap::new()).is_err());
        let all = records();
        assert!(Document::of(&all[..1], false, BTreeMap::new()).is_err());
        let until = |is_it: fn(&Record) -> bool| {
            let n = all.iter().position(is_it).unwrap();
            format!("{:#}", Document::of(&all[..n], false, BTreeMap::new()).unwrap_err())
        };
        assert!(until(|record| matches!(record, Record::Programs { .. })).contains("no statistics"));
        assert!(until(|record| matches!(record, Record::Storm { .. })).contains("no storms"));
    }
}
