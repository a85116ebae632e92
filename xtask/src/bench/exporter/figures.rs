//! The JSON file of a measurement, and how it comes from the records of the measuring program.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::bench::exporter::record::{Record, Scrape};
use crate::bench::figure::{Head, Machine, Row, by_rounds};
use crate::bench::statistics::Summary;

pub(crate) const BENCH: &str = "exporter";
/// The project's own, and the other.
pub(crate) const OWN: &str = "podproof-exporter";
pub(crate) const PEER: &str = "node_exporter";
/// How many containers there are when it is scraped.
pub(crate) const SIZES: [u32; 4] = [100, 1000, 2000, 10_000];
/// What others are compared with: of so many, what does not depend on their number matters little.
pub(crate) const BASE: u32 = 1000;

/// Of a scrape, in ns.
pub(crate) const WALL: &str = "wall";
pub(crate) const CPU: &str = "cpu";
pub(crate) const PER_SAMPLE: &str = "cpu per sample";
pub(crate) const PER_CONTAINER: &str = "cpu per container";
/// In bytes.
pub(crate) const RESIDENT: &str = "resident";
pub(crate) const PEAK: &str = "peak";
pub(crate) const BODY: &str = "body";
/// A number.
pub(crate) const SAMPLES: &str = "samples";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    #[serde(flatten)]
    pub(crate) head: Head,
    /// Numbers of containers.
    pub(crate) sizes: Vec<u32>,
    pub(crate) rows: Vec<Row>,
    pub(crate) idle: Option<Idle>,
    /// How many times longer the reference work takes in the VM than on the machine below it.
    pub(crate) slowdown: Option<f64>,
}

/// What the exporter takes of a CPU while nothing happens but scrapes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) n_containers: u32,
    pub(crate) n_scrapes: u32,
    pub(crate) interval_s: u64,
    pub(crate) wall_ns: u64,
    pub(crate) cpu_ns: u64,
}

impl Idle {
    /// Of one CPU, in percent.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.cpu_ns as f64 / self.wall_ns as f64
    }
}

/// What is measured, of so many containers.
pub(crate) fn case(what: &str, n_containers: u32) -> String {
    format!("{what} of {n_containers}")
}

impl Document {
    /// The row of a figure.
    pub(crate) fn row(&self, what: &str, n_containers: u32, subject: &str) -> Option<&Row> {
        let case = case(what, n_containers);
        self.rows.iter().find(|row| row.case == case && row.subject == subject)
    }

    /// What something that takes so much in the VM would take on the machine below it.
    pub(crate) fn below(&self, in_vm: f64) -> f64 {
        in_vm / self.slowdown.unwrap_or(1.0)
    }

    /// Computes the figures from all records of a run, and those of the reference work on the machine below.
    ///
    /// # Errors
    /// Records are missing: the measuring program broke off.
    pub(crate) fn of(
        records: &[Record],
        below: &[Record],
        is_quick: bool,
        engine: &str,
        peers: BTreeMap<String, String>,
    ) -> Result<Self> {
        let Some(Record::Machine { kernel, cpu, n_cpus }) = records.first() else {
            anyhow::bail!("the first record does not describe the machine");
        };
        let machine = Machine { cpu: cpu.clone(), n_cpus: *n_cpus, engine: engine.to_owned() };
        let scrapes: Vec<&Scrape> = records
            .iter()
            .filter_map(|record| if let Record::Scrape(scrape) = record { Some(scrape) } else { None })
            .collect();
        let sizes: BTreeSet<u32> = scrapes.iter().map(|scrape| scrape.n_containers).collect();
        ensure!(!sizes.is_empty(), "no scrapes among the records");
        let mut rows = Vec::new();
        for n_containers in &sizes {
            rows.extend(of_size(&scrapes, *n_containers)?);
        }
        for record in records {
            let Record::Memory { subject, n_containers, resident_bytes, peak_bytes } = record else {
                continue;
            };
            for (what, bytes) in [(RESIDENT, resident_bytes), (PEAK, peak_bytes)] {
                let row = Row::new(&case(what, *n_containers), subject, "bytes");
                rows.push(row.with([*bytes as f64])?);
            }
        }
        let idle = records.iter().find_map(|record| match record {
            Record::Idle { n_containers, n_scrapes, interval_s, wall_ns, cpu_ns } => Some(Idle {
                n_containers: *n_containers,
                n_scrapes: *n_scrapes,
                interval_s: *interval_s,
                wall_ns: *wall_ns,
                cpu_ns: *cpu_ns,
            }),
            _ => None,
        });
        let document = Self {
            head: Head::new(BENCH, kernel, machine, is_quick, peers),
            sizes: sizes.into_iter().collect(),
            rows,
            idle,
            slowdown: reference(records).zip(reference(below)).map(|(vm, below)| vm / below),
        };
        let largest = document.sizes.last().copied().unwrap_or_default();
        document.row(PEAK, largest, OWN).context("no memory of the most containers")?;
        Ok(document)
    }
}

/// The median of the reference work, in ns.
fn reference(records: &[Record]) -> Option<f64> {
    let of = |record: &Record| match record {
        Record::Reference { cpu_ns } => Some(*cpu_ns as f64),
        _ => None,
    };
    Some(Summary::of(records.iter().filter_map(of))?.median)
}

/// A value of each subject by round.
type Values<'a> = BTreeMap<&'a str, BTreeMap<u32, f64>>;

fn values<'a>(scrapes: &[&'a Scrape], n_containers: u32, value: impl Fn(&Scrape) -> f64) -> Values<'a> {
    let mut values = Values::new();
    for scrape in scrapes.iter().filter(|scrape| scrape.n_containers == n_containers) {
        values.entry(&scrape.subject).or_default().insert(scrape.round, value(scrape));
    }
    values
}

/// The rows of all scrapes with so many containers.
fn of_size(scrapes: &[&Scrape], n_containers: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let cpu_ns = |scrape: &Scrape| scrape.cpu_ns as f64;
    let wall = values(scrapes, n_containers, |scrape| scrape.wall_ns as f64);
    rows.extend(by_rounds(&case(WALL, n_containers), &wall)?);
    rows.extend(by_rounds(&case(CPU, n_containers), &values(scrapes, n_containers, cpu_ns))?);
    let per_sample = values(scrapes, n_containers, |scrape| cpu_ns(scrape) / scrape.n_samples as f64);
    rows.extend(by_rounds(&case(PER_SAMPLE, n_containers), &per_sample)?);

    let per_container = |n: u32| values(scrapes, n, |scrape| cpu_ns(scrape) / f64::from(n));
    let base = per_container(BASE);
    for (subject, rounds) in per_container(n_containers) {
        let mut row = Row::new(&case(PER_CONTAINER, n_containers), subject, "ns");
        row = row.with(rounds.values().copied())?;
        if let Some(of_base) = base.get(subject) {
            let pairs = rounds.iter().filter_map(|(round, ns)| Some((*ns, *of_base.get(round)?)));
            row.compare(&BASE.to_string(), pairs);
        }
        rows.push(row);
    }
    for (what, unit, value) in [
        (BODY, "bytes", (|scrape| scrape.n_bytes as f64) as fn(&Scrape) -> f64),
        (SAMPLES, "samples", |scrape| scrape.n_samples as f64),
    ] {
        for (subject, rounds) in values(scrapes, n_containers, value) {
            rows.push(Row::new(&case(what, n_containers), subject, unit).with(rounds.into_values())?);
        }
    }
    Ok(rows)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::Figures as _;

    /// The records of a run in which each container costs as much as the other, and each round more than the last.
    pub(crate) fn records() -> Vec<Record> {
        let mut records =
            vec![Record::Machine { kernel: "6.12.1".into(), cpu: "Example & Sons".into(), n_cpus: 1 }];
        records.extend([700, 1100, 800].map(|cpu_ns| Record::Reference { cpu_ns }));
        for n_containers in SIZES {
            let n = u64::from(n_containers);
            for (subject, per_container_ns, n_samples) in [(OWN, 50_000, 100 * n), (PEER, 20_000, 50)] {
                for round in 0..5 {
                    let cpu_ns = n * per_container_ns * (10 + u64::from(round)) / 10;
                    records.push(Record::Scrape(Scrape {
                        subject: subject.to_owned(),
                        n_containers,
                        round,
                        wall_ns: 2 * cpu_ns,
                        cpu_ns,
                        n_samples,
                        n_bytes: 100 * n_samples,
                    }));
                }
                let (resident_bytes, peak_bytes) = ((20 << 20) + n * 8192, (20 << 20) + n * 12_288);
                let subject = subject.to_owned();
                records.push(Record::Memory { subject, n_containers, resident_bytes, peak_bytes });
            }
        }
        let (wall_ns, cpu_ns) = (180_000_000_000, 180_000_000);
        records.push(Record::Idle { n_containers: 300, n_scrapes: 12, interval_s: 15, wall_ns, cpu_ns });
        records
    }

    pub(crate) fn document() -> Document {
        let peers = BTreeMap::from([(PEER.to_owned(), "1.5.0".to_owned())]);
        let below = [100, 90, 200].map(|cpu_ns| Record::Reference { cpu_ns });
        Document::of(&records(), &below, false, "tcg", peers).unwrap()
    }

    #[test]
    fn ratios_are_those_of_rounds() {
        let document = document();
        let row = document.row(CPU, 2000, OWN).unwrap();
        assert_eq!((row.median, row.min, row.max, row.runs), (Some(1.2e8), Some(1e8), Some(1.4e8), 5));
        assert_eq!(row.ratio[PEER], 2.5);
        assert_eq!(document.row(PER_SAMPLE, 1000, OWN).unwrap().median, Some(600.0));
        assert_eq!(document.row(PER_SAMPLE, 1000, PEER).unwrap().ratio[OWN], 800.0);
        assert_eq!(document.row(PER_CONTAINER, 10_000, OWN).unwrap().ratio[&BASE.to_string()], 1.0);
        assert_eq!(document.row(SAMPLES, 100, PEER).unwrap().median, Some(50.0));
        assert_eq!(document.idle.as_ref().unwrap().percent(), 0.1);
        assert_eq!(document.below(16.0), 2.0);
    }

    #[test]
    fn a_run_that_broke_off_gives_no_file() {
        let all = records();
        let of = |records: &[Record]| Document::of(records, &[], false, "tcg", BTreeMap::new());
        assert!(of(&[]).is_err());
        assert!(format!("{:#}", of(&all[..1]).unwrap_err()).contains("no scrapes"));
        assert!(format!("{:#}", of(&all[..6]).unwrap_err()).contains("no memory"));
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_no_other_is() {
        let text = serde_json::to_string_pretty(&document()).unwrap();
        assert_eq!(Document::parse(&text).unwrap(), document());
        let other = text.replacen("\"exporter\"", "\"pod\"", 1);
        assert!(format!("{:#}", Document::parse(&other).unwrap_err()).contains("pod"));
    }
}
