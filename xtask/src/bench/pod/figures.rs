//! The JSON file of a measurement, and how it comes from the records of the measuring program.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::bench::figure::{Head, Machine, Row, by_rounds, last_against_first};
use crate::bench::pod::record::{Case, Keeper, Record};
use crate::bench::rows::name;
use crate::bench::statistics::{Summary, quantile};

pub(crate) const BENCH: &str = "pod";
/// The project's own pods, podman's, and the calls of crun without anybody around them.
pub(crate) const OWN: &str = "podrt";
pub(crate) const PODMAN: &str = "podman";
pub(crate) const CRUN: &str = "crun";
/// The last pods of many.
pub(crate) const GROWTH: &str = "growth";
/// All keepers of a pod together, by subject.
pub(crate) const RESIDENT: &str = "resident";
pub(crate) const PROPORTIONAL: &str = "proportional";
pub(crate) const PRIVATE: &str = "private";
/// What follows a subject or a keeper whose pod is one of many.
pub(crate) const OF_MANY: &str = " of many";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    #[serde(flatten)]
    pub(crate) head: Head,
    /// Pods that ran together at the end of `growth`.
    pub(crate) n_growth: usize,
    pub(crate) rows: Vec<Row>,
    /// From the end of a crashed container to its new begin, in ns.
    pub(crate) restart: Distribution,
}

/// How values are spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    pub(crate) min: f64,
    /// The first, the median, and the third.
    pub(crate) quartiles: [f64; 3],
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) runs: usize,
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
        rows.extend(memory(records)?);
        let growth: Vec<f64> = records
            .iter()
            .filter_map(|record| match record {
                Record::Growth { ns, .. } => Some(*ns as f64),
                _ => None,
            })
            .collect();
        ensure!(!growth.is_empty(), "no growth among the records");
        rows.push(last_against_first(GROWTH, OWN, &growth)?);
        let restarts = records.iter().filter_map(|record| match record {
            Record::Restart { ns } => Some(*ns as f64),
            _ => None,
        });
        Ok(Self {
            head: Head::new(BENCH, kernel, machine, is_quick, peers),
            n_growth: growth.len(),
            rows,
            restart: Distribution::of(restarts).context("no restarts among the records")?,
        })
    }
}

impl Distribution {
    /// `None` of an empty sample.
    fn of(sample: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = sample.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let all = Summary::of(sorted.iter().copied())?;
        Some(Self {
            min: all.min,
            quartiles: [all.quartiles[0], all.median, all.quartiles[1]],
            p90: quantile(&sorted, 0.9),
            p99: quantile(&sorted, 0.99),
            max: all.max,
            runs: all.n,
        })
    }
}

/// The times of both cases, by subject and round.
fn times(records: &[Record]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in [Case::Start, Case::Stop] {
        let mut subjects: BTreeMap<&str, BTreeMap<u32, f64>> = BTreeMap::new();
        let mut absent: BTreeMap<&str, &str> = BTreeMap::new();
        for record in records {
            match record {
                Record::Time { case: it, subject, round, ns } if *it == case => {
                    subjects.entry(subject).or_default().insert(*round, *ns as f64);
                }
                Record::Unavailable { subject, reason } => _ = absent.insert(subject, reason),
                _ => {}
            }
        }
        subjects.retain(|subject, _| !absent.contains_key(subject));
        let case = name(case)?;
        ensure!(!subjects.is_empty(), "no times of {case} among the records");
        rows.extend(by_rounds(&case, &subjects)?);
        for (subject, reason) in absent {
            let unavailable = Some(reason.to_owned());
            rows.push(Row { unavailable, ..Row::new(&case, subject, "ns") });
        }
    }
    Ok(rows)
}

/// The memory of each kind of keeper, and of all that a pod has together.
fn memory(records: &[Record]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (case, kind) in [(RESIDENT, 0), (PROPORTIONAL, 1), (PRIVATE, 2)] {
        let mut keepers: BTreeMap<(Keeper, u32), Vec<f64>> = BTreeMap::new();
        for record in records {
            if let Record::Memory { keeper, n_pods, resident_bytes, proportional_bytes, private_bytes } =
                record
            {
                let value = [*resident_bytes, *proportional_bytes, *private_bytes][kind];
                keepers.entry((*keeper, *n_pods)).or_default().push(value as f64);
            }
        }
        ensure!(!keepers.is_empty(), "no memory among the records");
        let mut pods: BTreeMap<String, f64> = BTreeMap::new();
        for ((keeper, n_pods), values) in keepers {
            let suffix = if n_pods == 1 { "" } else { OF_MANY };
            let pod = if keeper == Keeper::Conmon { PODMAN } else { OWN };
            *pods.entry(format!("{pod}{suffix}")).or_default() +=
                values.iter().sum::<f64>() / f64::from(n_pods);
            rows.push(Row::new(case, &format!("{}{suffix}", name(keeper)?), "bytes").with(values)?);
        }
        for (pod, value) in pods {
            rows.push(Row::new(case, &pod, "bytes").with([value])?);
        }
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::Figures as _;
    use crate::bench::figure::FIRST;

    /// The records of a small run: what a subject takes is its place, more in later rounds, and half of it to stop.
    pub(crate) fn records() -> Vec<Record> {
        let mut records =
            vec![Record::Machine { kernel: "6.12.1".into(), cpu: "Example & Sons".into(), n_cpus: 2 }];
        for (place, subject) in [OWN, CRUN, PODMAN].into_iter().enumerate() {
            for round in 1..=5_u32 {
                let ns = (place as u64 + 1) * 100_000_000 * u64::from(round);
                for (case, ns) in [(Case::Start, ns), (Case::Stop, ns / 2)] {
                    records.push(Record::Time { case, subject: subject.to_owned(), round, ns });
                }
            }
        }
        let mut memory = |keeper, n_pods, kib: u64| {
            let bytes = kib << 10;
            let (resident_bytes, proportional_bytes, private_bytes) = (2 * bytes, bytes, bytes / 2);
            records.push(Record::Memory {
                keeper,
                n_pods,
                resident_bytes,
                proportional_bytes,
                private_bytes,
            });
        };
        memory(Keeper::Supervisor, 1, 800);
        memory(Keeper::Pause, 1, 8);
        for _ in 0..3 {
            memory(Keeper::Conmon, 1, 1000);
        }
        for _ in 0..40 {
            memory(Keeper::Supervisor, 40, 400);
            memory(Keeper::Pause, 40, 4);
        }
        for others in 0..40 {
            records.push(Record::Growth { others, ns: 1_000_000 + 1000 * u64::from(others) });
        }
        records.extend((1..=101).rev().map(|ms| Record::Restart { ns: ms * 1_000_000 }));
        records
    }

    pub(crate) fn document() -> Document {
        Document::of(&records(), false, "tcg", BTreeMap::from([("podman".into(), "4.3".into())])).unwrap()
    }

    #[test]
    fn ratios_are_those_of_rounds() {
        let document = document();
        let row = document.row("stop", OWN).unwrap();
        assert_eq!((row.median, row.min, row.max, row.runs), (Some(1.5e8), Some(5e7), Some(2.5e8), 5));
        assert_eq!((row.ratio[CRUN], row.ratio[PODMAN]), (0.5, 0.3333));
    }

    #[test]
    fn a_pods_memory_is_that_of_all_its_keepers() {
        let document = document();
        let kib = |case, subject| document.row(case, subject).unwrap().median.unwrap() / 1024.0;
        assert_eq!(kib(RESIDENT, OWN), 1616.0);
        assert_eq!(kib(PROPORTIONAL, PODMAN), 3000.0);
        assert_eq!(kib(PRIVATE, "conmon"), 500.0);
        assert_eq!(kib(PROPORTIONAL, &format!("{OWN}{OF_MANY}")), 404.0);
        assert_eq!(document.row(PRIVATE, &format!("supervisor{OF_MANY}")).unwrap().runs, 40);
    }

    #[test]
    fn restarts_are_a_distribution_and_growth_a_ratio() {
        let document = document();
        let ms = |ns: f64| (ns / 1e6).round();
        let Distribution { min, quartiles, p90, p99, max, runs } = document.restart.clone();
        assert_eq!([min, p90, p99, max].map(ms), [1.0, 91.0, 100.0, 101.0]);
        assert_eq!((quartiles.map(ms), runs), ([26.0, 51.0, 76.0], 101));
        let row = document.row(GROWTH, OWN).unwrap();
        assert!((row.ratio[FIRST] - 1.038).abs() < 1e-3, "{row:?}");
    }

    #[test]
    fn what_is_unavailable_has_a_reason_and_no_figures() {
        let mut records = records();
        records.push(Record::Unavailable { subject: PODMAN.into(), reason: "no such program".into() });
        let document = Document::of(&records, false, "tcg", BTreeMap::new()).unwrap();
        let row = document.row("start", PODMAN).unwrap();
        assert_eq!((row.median, row.unavailable.as_deref()), (None, Some("no such program")));
        assert!(!document.row("start", OWN).unwrap().ratio.contains_key(PODMAN));
    }

    #[test]
    fn a_run_that_broke_off_gives_no_file() {
        let all = records();
        let of = |records: &[Record]| Document::of(records, false, "tcg", BTreeMap::new());
        assert!(of(&[]).is_err());
        assert!(format!("{:#}", of(&all[..1]).unwrap_err()).contains("no times of start"));
        let n = all.len();
        assert!(format!("{:#}", of(&all[..n - 101]).unwrap_err()).contains("no restarts"));
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_no_other_is() {
        let text = serde_json::to_string_pretty(&document()).unwrap();
        assert_eq!(Document::parse(&text).unwrap(), document());
        let other = text.replacen("\"pod\"", "\"runtime\"", 1);
        assert!(format!("{:#}", Document::parse(&other).unwrap_err()).contains("runtime"));
    }
}
