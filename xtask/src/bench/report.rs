//! The report of a measurement, in Markdown: a fixed text around tables of the JSON file.

use std::fmt::Write as _;

use crate::bench::rows::{Document, EVENTS_LOST, NONE, PROGRAM_TIME, Row, STORM, ring_name};
use crate::markdown::{fill, fill_closely, table};

const TEMPLATE: &str = include_str!("probes.md");
/// The part about programs that take longer than asked.
const PROFILE: &str = include_str!("profile.md");

/// Subjects by their names in the file and in the report.
pub(crate) const SUBJECTS: [(&str, &str); 7] = [
    ("control", "control"),
    ("counters", "counters"),
    ("counters_events", "counters and events"),
    ("full_evidence", "full evidence"),
    ("bpftrace_count", "bpftrace, counts"),
    ("bpftrace_printf", "bpftrace, prints"),
    ("execsnoop_exitsnoop", "execsnoop + exitsnoop"),
];

/// Operations by their names in the file and in the report.
pub(crate) const CASES: [(&str, &str); 6] = [
    ("getpid", "getpid"),
    ("fork_exit_wait", "fork + exit + wait"),
    ("vfork_exec_wait", "vfork + exec + wait"),
    ("clone3_five_namespaces", "clone3, 5 namespaces"),
    ("setns", "setns"),
    ("unshare", "unshare"),
];

const RINGS: [u32; 4] = [64 << 10, 256 << 10, 1 << 20, 8 << 20];
/// Most that a fork, exit and wait may cost with events, and what is hoped for.
const FORK_LIMIT: f64 = 1.05;
const FORK_HOPE: f64 = 1.03;

/// A hook, the operation that raises it, and the most ns that one run may take while it counts and while it records.
struct Hook {
    label: &'static str,
    program: &'static str,
    case: &'static str,
    counts: Option<f64>,
    records: Option<f64>,
}

const fn hook(
    label: &'static str,
    program: &'static str,
    case: &'static str,
    counts: Option<f64>,
    records: Option<f64>,
) -> Hook {
    Hook { label, program, case, counts, records }
}

const HOOKS: [Hook; 9] = [
    hook("new task", "task_newtask", "fork_exit_wait", Some(56.0), Some(346.0)),
    hook("exec", "sched_process_exec", "vfork_exec_wait", Some(93.0), Some(415.0)),
    hook("exit", "sched_process_exit", "fork_exit_wait", Some(76.0), Some(382.0)),
    hook("SIGCHLD", "signal_generate", "fork_exit_wait", Some(56.0), Some(270.0)),
    hook("free", "sched_process_free", "fork_exit_wait", Some(51.0), Some(565.0)),
    hook("system call begins (getpid)", "sys_enter", "getpid", None, Some(55.0)),
    hook("system call ends (getpid)", "sys_exit", "getpid", None, Some(60.0)),
    hook("system call begins (setns)", "sys_enter", "setns", None, None),
    hook("system call ends (setns)", "sys_exit", "setns", None, None),
];

/// The report; `image` is the name of the plot beside it.
pub(crate) fn markdown(document: &Document, image: &str) -> String {
    let parts = [
        ("machine", machine(document)),
        ("requirements", requirements(document)),
        ("ratios", ratios(document)),
        ("fork", fork(document)),
        ("image", image.to_owned()),
        ("unavailable", unavailable(document)),
        ("programs", programs(document)),
        ("operations", operations(document)),
        ("profile", profile(document)),
        ("storms", storms(document)),
    ];
    fill_closely(TEMPLATE, &parts)
}

fn machine(document: &Document) -> String {
    let machine = &document.machine;
    let mut text = format!(
        "Linux {}, {}, {} CPUs; the worker is on CPU {}.",
        document.kernel, machine.cpu, machine.n_cpus, machine.worker_cpu
    );
    for (name, version) in &document.peers {
        let _infallible = write!(text, " {name} {version}.");
    }
    if document.is_quick {
        text += " **A quick run: too short for its figures to mean much.**";
    }
    text
}

/// A time in the unit that suits it.
fn time(ns: f64) -> String {
    if ns.abs() < 1000.0 { format!("{ns:.0} ns") } else { format!("{:.1} us", ns / 1000.0) }
}

fn added(ns: f64) -> String {
    if ns < 0.0 { format!("-{}", time(-ns)) } else { format!("+{}", time(ns)) }
}

fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

fn ratio(row: &Row) -> Option<f64> {
    row.ratio.get(NONE).copied()
}

fn ratios(document: &Document) -> String {
    let mut head = vec![""];
    head.extend(CASES.iter().map(|(_, label)| *label));
    let mut lines = Vec::new();
    let mut alone = vec!["no probes".to_owned()];
    for (case, _) in CASES {
        alone.push(or_dash(document.row(case, NONE).and_then(|row| row.median).map(time)));
    }
    lines.push(alone);
    for (subject, label) in SUBJECTS {
        let mut line = vec![label.to_owned()];
        for (case, _) in CASES {
            let row = document.row(case, subject);
            let cell = row.and_then(|row| Some(format!("{:.2} ({})", ratio(row)?, added(row.added_ns?))));
            line.push(or_dash(cell));
        }
        lines.push(line);
    }
    table(&head, lines)
}

fn fork(document: &Document) -> String {
    let head = ["", "ratio", "its 95 % interval", "quartiles", "added", "pairs", "to bpftrace, prints"];
    let mut lines = Vec::new();
    for (subject, label) in SUBJECTS {
        let Some(row) = document.row("fork_exit_wait", subject) else { continue };
        let (Some(ratio), Some(interval), Some(quartiles), Some(ns)) =
            (ratio(row), row.ratio_interval, row.ratio_quartiles, row.added_ns)
        else {
            continue;
        };
        let span = |[low, high]: [f64; 2]| format!("{low:.3}-{high:.3}");
        lines.push(vec![
            label.to_owned(),
            format!("{ratio:.3}"),
            span(interval),
            span(quartiles),
            added(ns),
            row.runs.to_string(),
            or_dash(row.ratio.get("bpftrace_printf").map(|ratio| format!("{ratio:.2}"))),
        ]);
    }
    table(&head, lines)
}

fn unavailable(document: &Document) -> String {
    let mut text = String::new();
    for (subject, label) in SUBJECTS {
        let row = document.row(CASES[0].0, subject);
        if let Some(reason) = row.and_then(|row| row.unavailable.as_ref()) {
            let _infallible = writeln!(text, "Not available: {label} ({reason}).\n");
        }
        let lost = document.row(EVENTS_LOST, subject).and_then(|row| row.median).unwrap_or(0.0);
        if lost > 0.0 {
            let _infallible = writeln!(text, "{label} lost {lost:.0} events in these blocks.\n");
        }
    }
    text
}

fn program_median(document: &Document, hook: &Hook, subject: &str) -> Option<f64> {
    let case = format!("{PROGRAM_TIME}{}", hook.case);
    document.program(&case, subject, hook.program)?.median
}

fn programs(document: &Document) -> String {
    let head = [
        "hook",
        "counters",
        "at most",
        "counters and events",
        "full evidence",
        "at most",
        "bpftrace, counts",
        "bpftrace, prints",
        "execsnoop + exitsnoop",
    ];
    let lines = HOOKS.iter().map(|hook| {
        let cell = |subject| or_dash(program_median(document, hook, subject).map(|ns| format!("{ns:.0}")));
        let limit = |ns: Option<f64>| or_dash(ns.map(|ns| format!("{ns:.0}")));
        vec![
            hook.label.to_owned(),
            cell("counters"),
            limit(hook.counts),
            cell("counters_events"),
            cell("full_evidence"),
            limit(hook.records),
            cell("bpftrace_count"),
            cell("bpftrace_printf"),
            cell("execsnoop_exitsnoop"),
        ]
    });
    table(&head, lines)
}

fn operations(document: &Document) -> String {
    let mut head = vec![""];
    head.extend(CASES.iter().map(|(_, label)| *label));
    let mut lines = Vec::new();
    for (subject, label) in SUBJECTS.iter().skip(1) {
        let mut line = vec![(*label).to_owned()];
        for (case, _) in CASES {
            let row = document.row(&format!("{PROGRAM_TIME}{case}"), subject);
            line.push(or_dash(row.and_then(|row| row.median).map(|ns| format!("{ns:.0}"))));
        }
        lines.push(line);
    }
    table(&head, lines)
}

fn storms(document: &Document) -> String {
    let head = ["ring", "events/s", "forks/s", "events", "lost"];
    let mut lines = Vec::new();
    let whole = |value: f64| format!("{value:.0}");
    if let Some(row) = document.row(STORM, NONE) {
        let dash = || "-".to_owned();
        lines.push(vec!["no probes".to_owned(), dash(), or_dash(row.median.map(whole)), dash(), dash()]);
    }
    for bytes in RINGS {
        let Some(row) = document.row(STORM, &ring_name(Some(bytes))) else { continue };
        let (events, lost) = (row.events.unwrap_or(0), row.lost.unwrap_or(0));
        let share = 100.0 * lost as f64 / (events + lost).max(1) as f64;
        lines.push(vec![
            format!("{} KiB", bytes >> 10),
            or_dash(row.median.map(whole)),
            or_dash(row.forks_per_s.map(whole)),
            events.to_string(),
            if lost == 0 { "0".to_owned() } else { format!("{lost} ({share:.2} %)") },
        ]);
    }
    table(&head, lines)
}

/// Why programs take longer than asked; nothing where none does.
fn profile(document: &Document) -> String {
    let misses = [
        within(document, "counters", |hook| hook.counts),
        within(document, "full_evidence", |hook| hook.records),
    ];
    if misses.iter().all(|(_, answer)| *answer != "no") {
        return String::new();
    }
    let alone = document.row("fork_exit_wait", NONE).and_then(|row| row.median);
    let ns = |value: Option<f64>| value.map(|ns| format!("{ns:.0}"));
    let counts: Vec<f64> =
        HOOKS.iter().filter_map(|hook| program_median(document, hook, "bpftrace_count")).collect();
    let counts = counts.iter().copied().reduce(f64::min).zip(counts.iter().copied().reduce(f64::max));
    let begins =
        |case: &str| document.program(&format!("{PROGRAM_TIME}{case}"), "full_evidence", "sys_enter")?.median;
    let sums = CASES.iter().filter_map(|(case, label)| {
        let sum = |subject| document.row(&format!("{PROGRAM_TIME}{case}"), subject)?.median;
        let (own, its) = (sum("counters")?, sum("bpftrace_count")?);
        // Of operations that raise no event there is nothing to compare.
        (own >= 1.0).then(|| format!("{own:.0} against {its:.0} ns ({label})"))
    });
    let sums: Vec<String> = sums.collect();
    let parts = [
        ("fork_alone", or_dash(alone.map(time))),
        ("bpftrace_counts", or_dash(counts.map(|(least, most)| format!("{least:.0}-{most:.0}")))),
        ("enter_warm", or_dash(ns(begins("getpid")))),
        ("enter_cold", or_dash(ns(begins("fork_exit_wait")))),
        ("sums", if sums.is_empty() { "not measured here".to_owned() } else { sums.join(", ") }),
    ];
    fill(PROFILE, &parts)
}

/// What is asked, and the answer of the figures.
fn requirements(document: &Document) -> String {
    // No run measures exactly 1.00: what counts is whether it lies within what was measured.
    let control = met("getpid", "counters", document, |_, low| low <= 1.0);
    let fork = met("fork_exit_wait", "counters_events", document, |ratio, _| ratio <= FORK_LIMIT);
    let lines = [
        (
            "a system call that raises no event pays nothing for the counters: getpid at 1.00".to_owned(),
            control,
        ),
        (
            format!(
                "fork + exit + wait with events at most {FORK_LIMIT:.2}; {FORK_HOPE:.2} is the hope ({})",
                if ratio_of(document, "fork_exit_wait", "counters_events").is_some_and(|it| it <= FORK_HOPE) {
                    "reached"
                } else {
                    "not reached"
                }
            ),
            fork,
        ),
        (
            "time of each program while it counts at most as below".to_owned(),
            within(document, "counters", |hook| hook.counts),
        ),
        (
            "time of each program while it records at most as below".to_owned(),
            within(document, "full_evidence", |hook| hook.records),
        ),
        (
            "counters and events never cost more than bpftrace that prints the same".to_owned(),
            peers(document),
        ),
    ];
    table(
        &["asked", "measured", "met"],
        lines.into_iter().map(|(asked, (measured, met))| vec![asked, measured, met.to_owned()]),
    )
}

fn ratio_of(document: &Document, case: &str, subject: &str) -> Option<f64> {
    document.row(case, subject).and_then(ratio)
}

/// Judges a ratio by its median and the low end of its interval.
fn met(
    case: &str,
    subject: &str,
    document: &Document,
    is_met: impl Fn(f64, f64) -> bool,
) -> (String, &'static str) {
    let row = document.row(case, subject);
    let Some((ratio, [low, high])) = row.and_then(|row| Some((ratio(row)?, row.ratio_interval?))) else {
        return ("not measured".to_owned(), "unknown");
    };
    (format!("{ratio:.3} ({low:.3}-{high:.3})"), if is_met(ratio, low) { "yes" } else { "no" })
}

/// Compares the programs of a subject with their limits.
fn within(
    document: &Document,
    subject: &str,
    limit: impl Fn(&Hook) -> Option<f64>,
) -> (String, &'static str) {
    let (mut n, mut above) = (0, Vec::new());
    for hook in &HOOKS {
        let (Some(ns), Some(limit)) = (program_median(document, hook, subject), limit(hook)) else {
            continue;
        };
        n += 1;
        if ns.round() > limit {
            let times = ns / limit;
            above.push(format!("{} {ns:.0} ns (at most {limit:.0}: {times:.1} times)", hook.label));
        }
    }
    match (n, above.is_empty()) {
        (0, _) => ("not measured".to_owned(), "unknown"),
        (_, true) => (format!("all {n} are"), "yes"),
        (_, false) => (format!("{} of {n} are not: {}", above.len(), above.join(", ")), "no"),
    }
}

/// Compares each operation with events against bpftrace that prints them.
fn peers(document: &Document) -> (String, &'static str) {
    let (mut n, mut above, mut same) = (0, Vec::new(), Vec::new());
    for (case, label) in CASES {
        let of = |subject| {
            let row = document.row(case, subject)?;
            Some((ratio(row)?, row.ratio_interval?))
        };
        let (Some((own, own_span)), Some((its, its_span))) = (of("counters_events"), of("bpftrace_printf"))
        else {
            continue;
        };
        n += 1;
        if own_span[0] > its_span[1] {
            above.push(format!("{label} {own:.2} against {its:.2}"));
        } else if own_span[1] >= its_span[0] {
            same.push(label);
        }
    }
    let same = if same.is_empty() { String::new() } else { format!("; not told apart: {}", same.join(", ")) };
    match (n, above.is_empty()) {
        (0, _) => ("not measured".to_owned(), "unknown"),
        (_, true) => (format!("in none of {n} operations{same}"), "yes"),
        (_, false) => (format!("more in {}{same}", above.join(", ")), "no"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Figures as _;
    use crate::bench::rows::tests::document;

    #[test]
    fn the_report_has_every_figure_in_its_table() {
        let text = markdown(&document(), "plot.svg");
        assert!(!text.contains("{{"), "{text}");
        for line in [
            "Linux 6.12.1, Example & Sons, 2 CPUs; the worker is on CPU 1. bpftrace v0.17.0.",
            "| no probes | 10.2 us | 10.2 us |",
            "| full evidence | 1.03 (+306 ns) | 1.03 (+306 ns) |",
            "| full evidence | 1.030 | 1.030-1.030 | 1.030-1.030 | +306 ns | 5 | 0.98 |",
            "| execsnoop + exitsnoop | - | - |",
            "Not available: execsnoop + exitsnoop (execsnoop: not attached: no such event).",
            "| new task | 50 | 56 | 50 | 50 | 346 | - | - | - |",
            "| 64 KiB | 10000 | 2000 | 5000 | 7 (0.14 %) |",
            "| 8192 KiB | 10000 | 2000 | 5000 | 0 |",
            "![The ratios of each operation, with their quartiles](plot.svg)",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("quick run"));
    }

    #[test]
    fn what_is_asked_is_answered_by_the_figures() {
        let mut document = document();
        let text = requirements(&document);
        assert!(text.contains("getpid at 1.00 | 1.010 (1.010-1.010) | no |"), "{text}");
        assert!(profile(&document).is_empty(), "no program takes longer than asked");
        assert!(text.contains("(reached) | 1.020 (1.020-1.020) | yes |"), "{text}");
        assert!(text.contains("| all 2 are | yes |"), "{text}");
        assert!(text.contains("| in none of 6 operations | yes |"), "{text}");

        for row in document.rows.iter_mut().filter(|row| row.subject == "counters_events") {
            if row.case == "setns" {
                row.ratio_interval = Some([1.2, 1.3]);
                row.ratio.insert(NONE.to_owned(), 1.25);
            }
            if row.case == "getpid" {
                row.ratio_interval = Some([0.9, 1.1]);
            }
        }
        for row in document.rows.iter_mut().filter(|row| row.subject == "counters") {
            if row.case == "getpid" {
                row.ratio_interval = Some([1.0, 1.02]);
            }
            if row.program.as_deref() == Some("task_newtask") {
                row.median = Some(84.0);
            }
        }
        let text = requirements(&document);
        assert!(text.contains("getpid at 1.00 | 1.010 (1.000-1.020) | yes |"), "{text}");
        assert!(text.contains("| 1 of 2 are not: new task 84 ns (at most 56: 1.5 times) | no |"), "{text}");
        let text = markdown(&document, "plot.svg");
        assert!(text.contains("takes 10.2 us alone") && !text.contains("{{"), "{text}");
        assert!(text.contains("| more in setns 1.25 against 1.05; not told apart: getpid | no |"), "{text}");
        document.rows.retain(|row| row.subject != "bpftrace_printf");
        assert!(requirements(&document).contains("| not measured | unknown |"));
    }

    #[test]
    fn the_report_of_the_repository_is_that_of_its_figures() {
        let docs = crate::workspace::root().join("docs");
        let read = |name: &str| std::fs::read_to_string(docs.join(name)).unwrap();
        let document = Document::parse(&read("bench-probes.json")).unwrap();
        let hint = "run `cargo xtask bench probes --json docs/bench-probes.json --render`";
        assert!(markdown(&document, "bench-probes.svg") == read("bench-probes.md"), "{hint}");
        assert!(crate::bench::plot::svg(&document).unwrap() == read("bench-probes.svg"), "{hint}");
    }
}
