//! The JSON file of a measurement, and how it comes from the records of the measuring program.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::bench::figure::{Head, Machine, Row, by_rounds, last_against_first};
use crate::bench::rows::name;
use crate::bench::runtime::phases;
use crate::bench::runtime::record::{Case, Record};

pub(crate) const BENCH: &str = "runtime";
/// The subject of new namespaces and a program in them, without a runtime.
pub(crate) const FLOOR: &str = "floor";
/// The last containers of many.
pub(crate) const GROWTH: &str = "growth";
pub(crate) const PAUSE_FILE: &str = "pause_file";
pub(crate) const PAUSE_RESIDENT: &str = "pause_resident";
pub(crate) const PAUSE_PRIVATE: &str = "pause_private";

/// Everything that is timed, in the order of the file.
const CASES: [Case; 6] = [Case::RunTrue, Case::Create, Case::Start, Case::Exec, Case::Delete, Case::Sandbox];

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    #[serde(flatten)]
    pub(crate) head: Head,
    /// Containers that ran together at the end of `growth`.
    pub(crate) n_growth: usize,
    pub(crate) rows: Vec<Row>,
}

impl Document {
    /// The row of a figure.
    pub(crate) fn row(&self, case: &str, subject: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.subject == subject)
    }

    /// Computes the figures from all records of a run.
    ///
    /// # Errors
    /// Records are missing: the measuring program broke off.
    pub(crate) fn of(
        records: &[Record],
        is_quick: bool,
        engine: &str,
        peers: BTreeMap<String, String>,
    ) -> Result<Self> {
        let Some(Record::Machine { kernel, cpu, n_cpus }) = records.first() else {
            anyhow::bail!("the first record does not describe the machine");
        };
        let machine = Machine { cpu: cpu.clone(), n_cpus: *n_cpus, engine: engine.to_owned() };
        let mut rows = times(records)?;
        let (growth, n_growth) = growth(records)?;
        rows.extend(growth);
        rows.extend(pauses(records)?);
        rows.extend(phases::rows(records)?);
        Ok(Self { head: Head::new(BENCH, kernel, machine, is_quick, peers), n_growth, rows })
    }
}

/// The times of a case, by subject and round.
fn times(records: &[Record]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in CASES {
        let mut subjects: BTreeMap<&str, BTreeMap<u32, f64>> = BTreeMap::new();
        let mut absent: BTreeMap<&str, &str> = BTreeMap::new();
        for record in records {
            match record {
                Record::Time { case: it, subject, round, ns } if *it == case => {
                    subjects.entry(subject).or_default().insert(*round, *ns as f64);
                }
                Record::Unavailable { case: it, subject, reason } if *it == case => {
                    absent.insert(subject, reason);
                }
                _ => {}
            }
        }
        subjects.retain(|subject, _| !absent.contains_key(subject));
        let case = name(case)?;
        ensure!(!subjects.is_empty() || !absent.is_empty(), "no times of {case} among the records");
        rows.extend(by_rounds(&case, &subjects)?);
        for (subject, reason) in absent {
            let unavailable = Some(reason.to_owned());
            rows.push(Row { unavailable, ..Row::new(&case, subject, "ns") });
        }
    }
    Ok(rows)
}

/// The last containers against the first, and how many there were.
fn growth(records: &[Record]) -> Result<(Vec<Row>, usize)> {
    let mut subjects: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut rows = Vec::new();
    for record in records {
        match record {
            Record::Growth { subject, ns, .. } => subjects.entry(subject).or_default().push(*ns as f64),
            Record::GrowthUnavailable { subject, reason } => {
                let unavailable = Some(reason.clone());
                rows.push(Row { unavailable, ..Row::new(GROWTH, subject, "ns") });
            }
            _ => {}
        }
    }
    subjects.retain(|subject, _| !rows.iter().any(|row| row.subject == *subject));
    let n = subjects.values().map(Vec::len).max().unwrap_or_default();
    for (subject, all) in subjects {
        rows.push(last_against_first(GROWTH, subject, &all)?);
    }
    ensure!(!rows.is_empty(), "no growth among the records");
    Ok((rows, n))
}

fn pauses(records: &[Record]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (case, bytes) in [
        (PAUSE_FILE, (|sizes| sizes[0]) as fn([u64; 3]) -> u64),
        (PAUSE_RESIDENT, |sizes| sizes[1]),
        (PAUSE_PRIVATE, |sizes| sizes[2]),
    ] {
        let programs = records.iter().filter_map(|record| match record {
            Record::Pause { program, file_bytes, resident_bytes, private_bytes } => {
                Some((program.as_str(), bytes([*file_bytes, *resident_bytes, *private_bytes]) as f64))
            }
            _ => None,
        });
        let programs: Vec<(&str, f64)> = programs.collect();
        ensure!(!programs.is_empty(), "no pause among the records");
        for (program, value) in &programs {
            let mut row = Row::new(case, program, "bytes").with([*value])?;
            for (other, its) in programs.iter().filter(|(other, its)| other != program && *its > 0.0) {
                row.compare(other, [(*value, *its)]);
                row.ratio_interval.clear();
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::Figures as _;
    use crate::bench::figure::FIRST;

    /// The records of a small run: what a subject takes in ms is 100 times its place, and more in later rounds.
    pub(crate) fn records() -> Vec<Record> {
        let mut records =
            vec![Record::Machine { kernel: "6.12.1".into(), cpu: "Example & Sons".into(), n_cpus: 2 }];
        for (program, bytes) in [("podproof", 4096), ("C", 8192)] {
            let program = program.to_owned();
            let (file_bytes, resident_bytes, private_bytes) = (bytes, 2 * bytes, bytes / 2);
            records.push(Record::Pause { program, file_bytes, resident_bytes, private_bytes });
        }
        for (place, subject) in [FLOOR, "podrt", "crun", "runc"].into_iter().enumerate() {
            for case in CASES {
                for round in 1..=5_u32 {
                    let ns = (place as u64 + 1) * 100_000_000 * u64::from(round);
                    if subject != FLOOR || case == Case::RunTrue {
                        records.push(Record::Time { case, subject: subject.to_owned(), round, ns });
                    }
                }
            }
            for others in 0..40 {
                if subject != FLOOR {
                    let ns = 1_000_000 + 1000 * u64::from(others);
                    records.push(Record::Growth { subject: subject.to_owned(), others, ns });
                }
            }
        }
        let reason = "\"/bin/runc\" exit status: 1: no".to_owned();
        records.push(Record::Unavailable { case: Case::Exec, subject: "runc".into(), reason });
        records
    }

    pub(crate) fn document() -> Document {
        Document::of(&records(), false, "tcg", BTreeMap::from([("crun".into(), "1.8".into())])).unwrap()
    }

    #[test]
    fn ratios_are_those_of_rounds() {
        let document = document();
        let row = document.row("run_true", "podrt").unwrap();
        assert_eq!((row.median, row.min, row.max, row.runs), (Some(6e8), Some(2e8), Some(1e9), 5));
        assert_eq!((row.ratio[FLOOR], row.ratio["crun"]), (2.0, 0.6667));
        assert_eq!(row.ratio_interval["crun"], [0.6667; 2]);
        assert!(document.row("create", FLOOR).is_none());
    }

    #[test]
    fn what_is_unavailable_has_a_reason_and_no_figures() {
        let document = document();
        let row = document.row("exec", "runc").unwrap();
        assert_eq!((row.median, row.runs, row.ratio.len()), (None, 0, 0));
        assert!(row.unavailable.as_ref().unwrap().contains("exit status: 1"));
        assert!(!document.row("exec", "crun").unwrap().ratio.contains_key("runc"));
    }

    #[test]
    fn growth_compares_the_last_with_the_first() {
        let document = document();
        let row = document.row(GROWTH, "podrt").unwrap();
        assert_eq!((row.runs, document.n_growth), (2, 40));
        assert!((row.ratio[FIRST] - 1.038).abs() < 1e-3, "{row:?}");
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_no_other_is() {
        let text = serde_json::to_string_pretty(&document()).unwrap();
        assert_eq!(Document::parse(&text).unwrap(), document());
        let other = text.replacen("\"runtime\"", "\"probes\"", 1);
        assert!(format!("{:#}", Document::parse(&other).unwrap_err()).contains("probes"));
    }

    #[test]
    fn a_run_that_broke_off_gives_no_file() {
        let all = records();
        let of = |records: &[Record]| Document::of(records, false, "tcg", BTreeMap::new());
        assert!(of(&[]).is_err());
        assert!(format!("{:#}", of(&all[..3]).unwrap_err()).contains("no times of run_true"));
    }
}
