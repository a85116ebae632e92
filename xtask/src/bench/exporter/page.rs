//! The page of a measurement, in Markdown: a fixed text around tables of the JSON file.

use crate::bench::exporter::figures::{
    BASE, BODY, CPU, Document, OWN, PEAK, PEER, PER_CONTAINER, PER_SAMPLE, RESIDENT, SAMPLES, WALL,
};
use crate::markdown::{Asked, asked, fill_closely, or_dash, table};

const TEMPLATE: &str = include_str!("page.md");

/// Subjects by their names in the file and on the page.
pub(crate) const SUBJECTS: [&str; 2] = [OWN, PEER];

/// So many containers may take so many ms of CPU time in a scrape.
const CPU_MS: (u32, f64) = (2000, 200.0);
/// Most memory, MiB, and what each container may add, KiB.
const MEMORY_MIB: f64 = 64.0;
const CONTAINER_KIB: f64 = 16.0;
/// Most that a container may cost among many, of what it costs among fewer.
const GROWTH_RATIO: f64 = 1.3;
/// Most of a CPU, in percent, while nothing happens.
const IDLE_PERCENT: f64 = 0.2;

const MIB: f64 = 1_048_576.0;

/// The page; `image` is the name of the plot beside it.
pub(crate) fn markdown(document: &Document, image: &str) -> String {
    let parts = [
        ("machine", document.head.sentence()),
        ("requirements", requirements(document)),
        ("costs", costs(document)),
        ("ratios", ratios(document)),
        ("idle", idle(document)),
        ("image", image.to_owned()),
    ];
    fill_closely(TEMPLATE, &parts)
}

fn median(document: &Document, what: &str, n_containers: u32, subject: &str) -> Option<f64> {
    document.row(what, n_containers, subject)?.median
}

/// What a scrape costs, by the number of containers.
pub(crate) fn costs(document: &Document) -> String {
    let head = ["containers", "", "samples", "MiB of text", "time, ms", "CPU, ms", "MiB resident", "at most"];
    let lines = document.sizes.iter().flat_map(|size| {
        SUBJECTS.map(|subject| {
            let cell = |what, unit: f64, digits: usize| {
                let value = median(document, what, *size, subject);
                or_dash(value.map(|value| format!("{:.digits$}", value / unit)))
            };
            vec![
                size.to_string(),
                subject.to_owned(),
                cell(SAMPLES, 1.0, 0),
                cell(BODY, MIB, 2),
                cell(WALL, 1e6, 1),
                cell(CPU, 1e6, 1),
                cell(RESIDENT, MIB, 1),
                cell(PEAK, MIB, 1),
            ]
        })
    });
    table(&head, lines)
}

/// By the number of containers: CPU time of a sample and of a container.
fn ratios(document: &Document) -> String {
    let against_base = format!("against {BASE}");
    let head = [
        "containers",
        "a sample, us",
        "of node_exporter, us",
        "times ours",
        "a container, us",
        &against_base,
    ];
    let lines = document.sizes.iter().map(|size| {
        let us = |what, subject| {
            or_dash(median(document, what, *size, subject).map(|ns| format!("{:.1}", ns / 1e3)))
        };
        let ratio = |what, subject, other: &str| {
            or_dash(document.row(what, *size, subject).and_then(|row| row.ratio_to(other)))
        };
        vec![
            size.to_string(),
            us(PER_SAMPLE, OWN),
            us(PER_SAMPLE, PEER),
            ratio(PER_SAMPLE, PEER, OWN),
            us(PER_CONTAINER, OWN),
            ratio(PER_CONTAINER, OWN, &BASE.to_string()),
        ]
    });
    table(&head, lines)
}

fn idle(document: &Document) -> String {
    document.idle.as_ref().map_or_else(
        || "Not measured.".to_owned(),
        |idle| {
            format!(
                "{} quiet containers, {} scrapes, one each {} s: {:.1} ms of CPU time in {:.0} s, {:.3} % of one CPU.",
                idle.n_containers,
                idle.n_scrapes,
                idle.interval_s,
                idle.cpu_ns as f64 / 1e6,
                idle.wall_ns as f64 / 1e9,
                idle.percent()
            )
        },
    )
}

/// What is asked, and the answer of the figures.
pub(crate) fn requirements(document: &Document) -> String {
    let (n_containers, limit) = CPU_MS;
    let cpu = median(document, CPU, n_containers, OWN).map(|ns| ns / 1e6);
    let largest = document.sizes.last().copied().unwrap_or_default();
    let growth = document.row(PER_CONTAINER, largest, OWN);
    let base = BASE.to_string();
    let idle = document.idle.as_ref().map(|idle| idle.percent());
    let said = |in_vm: f64, digits: usize, unit: &str| {
        let below = document.below(in_vm);
        document.slowdown.map_or_else(
            || format!("{in_vm:.digits$} {unit}"),
            |slowdown| {
                format!(
                    "{below:.digits$} {unit}: {in_vm:.digits$} in the VM, which is {slowdown:.1} times slower"
                )
            },
        )
    };
    let mut lines = vec![Asked {
        what: format!("a scrape of {n_containers} containers: at most {limit:.0} ms of CPU time"),
        said: cpu.map(|ms| said(ms, 0, "ms")),
        value: cpu.map(|ms| document.below(ms)),
        limit,
    }];
    for size in document.sizes.iter().filter(|size| **size >= BASE) {
        let limit = MEMORY_MIB + CONTAINER_KIB * f64::from(*size) / 1024.0;
        let value = median(document, PEAK, *size, OWN).map(|bytes| bytes / MIB);
        lines.push(Asked {
            what: format!(
                "{size} containers: never more than {MEMORY_MIB:.0} MiB and {CONTAINER_KIB:.0} KiB for each, {limit:.0} MiB"
            ),
            said: value.map(|mib| format!("{mib:.0} MiB")),
            value,
            limit,
        });
    }
    lines.push(Asked {
        what: format!(
            "one of {largest} containers: at most {GROWTH_RATIO:.1} of the CPU time of one of {BASE}"
        ),
        said: growth.and_then(|row| row.ratio_to(&base)),
        value: growth.and_then(|row| row.ratio.get(&base).copied()),
        limit: GROWTH_RATIO,
    });
    lines.push(Asked {
        what: format!("quiet containers, a scrape each 15 s: at most {IDLE_PERCENT:.1} % of a CPU"),
        said: idle.map(|percent| said(percent, 3, "%")),
        value: idle.map(|percent| document.below(percent)),
        limit: IDLE_PERCENT,
    });
    asked(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Figures as _;
    use crate::bench::exporter::figures::tests::document;

    #[test]
    fn the_page_has_every_figure_in_its_table() {
        let text = markdown(&document(), "plot.svg");
        assert!(!text.contains("{{"), "{text}");
        for line in [
            "Linux 6.12.1 in a VM (tcg), Example & Sons, 1 CPUs. node_exporter 1.5.0.",
            "| 2000 | podproof-exporter | 200000 | 19.07 | 240.0 | 120.0 | 35.6 | 43.4 |",
            "| 2000 | node_exporter | 50 | 0.00 | 96.0 | 48.0 | 35.6 | 43.4 |",
            "| 1000 | 0.6 | 480.0 | 800.00 (800.00-800.00) | 60.0 | 1.00 (1.00-1.00) |",
            "300 quiet containers, 12 scrapes, one each 15 s: 180.0 ms of CPU time in 180 s, 0.100 % of one CPU.",
            "](plot.svg)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_asked_is_answered_by_the_figures() {
        let mut document = document();
        let text = requirements(&document);
        for line in [
            "a scrape of 2000 containers: at most 200 ms of CPU time | 15 ms: 120 in the VM, which is 8.0 times slower | yes |",
            "2000 containers: never more than 64 MiB and 16 KiB for each, 95 MiB | 43 MiB | yes |",
            "one of 10000 containers: at most 1.3 of the CPU time of one of 1000 | 1.00 (1.00-1.00) | yes |",
            "at most 0.2 % of a CPU | 0.013 %: 0.100 in the VM, which is 8.0 times slower | yes |",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        document.slowdown = None;
        assert!(requirements(&document).contains("at most 200 ms of CPU time | 120 ms | yes |"));
        document.idle = None;
        assert!(requirements(&document).contains("at most 0.2 % of a CPU | not measured | unknown |"));
    }

    #[test]
    fn the_page_of_the_repository_is_that_of_its_figures() {
        let docs = crate::workspace::root().join("docs");
        let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
        let document = Document::parse(&read("bench-exporter.json")).unwrap();
        let hint = "run `cargo xtask bench exporter --json docs/bench-exporter.json --render`";
        assert!(markdown(&document, "bench-exporter.svg") == read("bench-exporter.md"), "{hint}");
        assert!(crate::markdown::has("bench-exporter", &requirements(&document)), "{hint}");
        assert!(
            crate::bench::exporter::plot::svg(&document).unwrap() == read("bench-exporter.svg"),
            "{hint}"
        );
    }
}
