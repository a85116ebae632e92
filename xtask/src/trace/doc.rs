//! The document about three runtimes: one container under each, in one VM; a fixed text around figures and traces of that run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

const TEMPLATE: &str = include_str!("three-runtimes.md");

/// The runtimes, in the order of the columns.
pub(super) const RUNTIMES: [&str; 3] = ["podrt", "runc", "crun"];

/// What the fixed text says of each: lines of its trace, in the order of each list. A trace without them needs another text.
const CLAIMS: [&[&[&str]]; 3] = [
    &[&[
        "executes /usr/local/sbin/podrt",
        "copies the mount at /proc/self/exe",
        "executes /dev/fd/",
        "copies the mount at /bundle/rootfs",
        "makes cgroup /demo",
        "to memory.max of cgroup /demo",
        "into new mnt uts ipc net pid namespaces and into cgroup /demo",
        "moves into a new cgroup namespace",
        "sets the host name to demo",
        "begins a proc file system",
        "pivots its root",
        "executes /bin/sh",
        "kills all in cgroup /demo",
        "removes cgroup /demo",
    ]],
    &[
        &[
            "executes /usr/local/sbin/runc",
            "executes /proc/self/exe",
            "bind-mounts /proc/self/exe",
            "executes /dev/fd/",
            "runc:[0:PARENT]",
            "moves into new mnt uts ipc net pid namespaces (pid for its children)",
            "as the first of its pid namespace, as a child of runc",
            "moves into a new cgroup namespace",
            "mounts proc on ",
            "to memory.max of cgroup /demo",
            "pivots its root",
            "sets the host name to demo",
            "executes /bin/sh",
            "removes cgroup /demo",
        ],
        &["makes cgroup /demo", "to cgroup /demo", "runc:[0:PARENT]"],
    ],
    &[&[
        "executes /usr/local/sbin/crun",
        "bind-mounts /proc/self/exe",
        "executes /dev/fd/",
        "makes cgroup /demo",
        "into new mnt uts ipc net pid namespaces and into cgroup /demo",
        "to memory.max of cgroup /demo",
        "makes the mount at / with all below it private",
        "moves into a new cgroup namespace",
        "mounts proc on ",
        "pivots its root",
        "sets the host name to demo",
        "executes /bin/sh",
        "kills all in cgroup /demo",
        "removes cgroup /demo",
    ]],
];

/// The machine of the run.
pub(super) struct Machine {
    /// `uname -r`.
    pub(super) kernel: String,
    /// By what it was executed, as a part of a sentence.
    pub(super) engine: String,
}

/// The document. `output` is what came out of the VM: for each runtime its name on a line, and the events of its trace, one
/// JSON object a line. `versions` are by runtime.
///
/// # Errors
/// A trace is incomplete, or does not show what the fixed text says of it.
pub(super) fn markdown(output: &str, versions: &BTreeMap<&str, String>, machine: &Machine) -> Result<String> {
    let mut traces = Vec::new();
    for (name, claims) in RUNTIMES.into_iter().zip(CLAIMS) {
        let trace = Trace::parse(name, output)?;
        for steps in claims {
            trace.check(steps).with_context(|| format!("the trace of {name}"))?;
        }
        traces.push(trace);
    }
    let list = |name: &&str| format!("{name} {}", versions.get(name).map_or("", String::as_str));
    let mut full = String::new();
    for trace in &traces {
        full.push_str(&trace.details());
    }
    let parts = [
        ("kernel", machine.kernel.clone()),
        ("engine", machine.engine.clone()),
        ("versions", RUNTIMES.iter().map(list).collect::<Vec<_>>().join(", ")),
        ("figures", figures(&traces)),
        ("traces", full.trim_end().to_owned()),
    ];
    let mut text = TEMPLATE.to_owned();
    for (name, value) in parts {
        text = text.replace(&format!("{{{{{name}}}}}"), &value);
    }
    Ok(text)
}

/// The trace of one runtime.
struct Trace {
    name: &'static str,
    events: Vec<Value>,
    /// Where the container's program is executed, and where its process ends.
    runs: usize,
    ends: usize,
}

impl Trace {
    fn parse(name: &'static str, output: &str) -> Result<Self> {
        let lines = output.lines().skip_while(|line| *line != name).skip(1);
        let events = lines
            .take_while(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).with_context(|| format!("not an event: {line}")))
            .collect::<Result<Vec<Value>>>()?;
        ensure!(!events.is_empty(), "no trace of {name} came out of the VM");
        ensure!(!events.iter().any(|event| is(event, "gap")), "records of {name} were lost; run it again");
        // The first program of a process that is PID 1 of a namespace below the VM's own.
        let is_program = |event: &Value| {
            let numbers = event["task"]["ns_pids"].as_array();
            is(event, "exec") && numbers.is_some_and(|all| all.len() > 1 && all.last() == Some(&1.into()))
        };
        let runs = events.iter().position(is_program);
        let runs = runs.with_context(|| format!("{name} executed no program in a pid namespace"))?;
        let init = &events[runs]["task"]["task"]["tgid"];
        let is_end = |event: &Value| {
            is(event, "exit") && event["group_dead"] == true && event["task"]["task"]["tgid"] == *init
        };
        let ends = events.iter().position(is_end);
        let ends = ends.with_context(|| format!("the program of {name} did not end"))?;
        Ok(Self { name, events, runs, ends })
    }

    /// Whether it has these words, in this order.
    fn check(&self, steps: &[&str]) -> Result<()> {
        let mut lines = self.events.iter().filter_map(|event| event["text"].as_str());
        for step in steps {
            if !lines.any(|line| line.contains(step)) {
                bail!(
                    "does not show {step:?} where the fixed text says so; mend the text (xtask/src/trace/three-runtimes.md) \
                     and what it claims (CLAIMS)"
                );
            }
        }
        Ok(())
    }

    fn phase(&self, phase: Phase) -> &[Value] {
        match phase {
            Phase::SetUp => &self.events[..self.runs],
            Phase::Life => &self.events[self.runs..self.ends],
            Phase::CleanUp => &self.events[self.ends..],
        }
    }

    /// Milliseconds from the first event of a phase to the first of the next.
    fn duration_ms(&self, phase: Phase) -> f64 {
        let last = self.events.len() - 1;
        let (from, to) = match phase {
            Phase::SetUp => (0, self.runs),
            Phase::Life => (self.runs, self.ends),
            Phase::CleanUp => (self.ends, last),
        };
        let at = |index: usize| self.events[index]["time_ns"].as_u64().unwrap_or_default();
        at(to).saturating_sub(at(from)) as f64 / 1e6
    }

    /// All that `podproof trace` shows without --verbose, folded.
    fn details(&self) -> String {
        let shown: Vec<&Value> = self.events.iter().filter(|event| event["detail"] == false).collect();
        let mut text = format!(
            "<details><summary>{}: {} lines of {} events</summary>\n\n```text\n",
            self.name,
            shown.len(),
            self.events.len()
        );
        let first_ns = self.events[0]["time_ns"].as_u64().unwrap_or_default();
        for event in shown {
            let seconds = event["time_ns"].as_u64().unwrap_or_default().saturating_sub(first_ns) as f64 / 1e9;
            let who = event["who"].as_str().unwrap_or_default();
            let what = event["text"].as_str().unwrap_or_default();
            let what = what.strip_prefix(who).unwrap_or(what).trim_start();
            // Writing to a String cannot fail.
            _ = writeln!(text, "{seconds:>11.6}  {who:<23}  {what}");
        }
        text.push_str("```\n\n</details>\n\n");
        text
    }
}

#[derive(Clone, Copy)]
enum Phase {
    SetUp,
    Life,
    CleanUp,
}

const PHASES: [(Phase, &str); 3] = [
    (Phase::SetUp, "**Set-up**: from the runtime's exec to that of the container's program"),
    (Phase::Life, "**Life**: from there to the end of PID 1"),
    (Phase::CleanUp, "**Clean-up**: from there to the end of the runtime"),
];

/// A row of the table, and which events count for it.
type Row = (&'static str, fn(&Value) -> bool);

const ROWS: [Row; 18] = [
    ("processes created", |event| is(event, "new_task") && !has(event, "flags", CLONE_THREAD)),
    ("threads created", |event| is(event, "new_task") && has(event, "flags", CLONE_THREAD)),
    ("programs executed", |event| is(event, "exec")),
    ("clones into new namespaces", |event| is(event, "new_task") && has(event, "flags", CLONE_NEW)),
    ("unshare calls for new namespaces", |event| is(event, "unshare") && has(event, "flags", CLONE_NEW)),
    ("setns calls", |event| is(event, "setns")),
    ("cgroups made", |event| is(event, "cgroup_mkdir")),
    ("clones into a cgroup", |event| is(event, "new_task") && has(event, "flags", CLONE_INTO_CGROUP)),
    ("moves to a cgroup", |event| is(event, "cgroup_attach")),
    ("files of cgroups written", |event| is(event, "cgroup_write")),
    ("cgroups removed", |event| is(event, "cgroup_rmdir")),
    ("mount, umount2 and pivot_root calls", |event| {
        ["mount", "umount", "pivot_root"].iter().any(|kind| is(event, kind))
    }),
    ("fsopen, open_tree, move_mount and mount_setattr calls", |event| {
        ["fsopen", "open_tree", "move_mount", "mount_setattr"].iter().any(|kind| is(event, kind))
    }),
    ("of the calls above, failed", |event| {
        let is_call = !is(event, "wait") && !is(event, "shmget");
        is_call && event["ret"].as_i64().is_some_and(|ret| ret < 0)
    }),
    ("signals from one process to another", |event| is_signal(event) && !is_own(event)),
    ("signals of a process to itself", |event| is_signal(event) && is_own(event)),
    ("wait4 and waitid calls", |event| is(event, "wait")),
    ("events in all", |_| true),
];

const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// All `CLONE_NEW*` (clone(2)).
const CLONE_NEW: u64 = 0x7e02_0080;

fn is(event: &Value, kind: &str) -> bool {
    event["event"] == kind
}

fn has(event: &Value, field: &str, bits: u64) -> bool {
    event[field].as_u64().is_some_and(|value| value & bits != 0)
}

/// A signal that a process sent; those of the kernel have positive codes (sigaction(2)).
fn is_signal(event: &Value) -> bool {
    is(event, "signal_generate") && event["si_code"].as_i64().is_some_and(|code| code <= 0)
}

fn is_own(event: &Value) -> bool {
    event["target"]["tgid"] == event["current"]["tgid"]
}

/// The table: phases, and in each the rows that are not zero for all.
fn figures(traces: &[Trace]) -> String {
    let mut text =
        format!("| |{}\n|---|{}\n", cells(traces, |t| t.name.to_owned()), "--:|".repeat(traces.len()));
    for (phase, title) in PHASES {
        let time = cells(traces, |trace| format!("{:.0} ms", trace.duration_ms(phase)));
        _ = writeln!(text, "| {title} |{time}");
        for (label, counts) in ROWS {
            let n = |trace: &Trace| trace.phase(phase).iter().filter(|event| counts(event)).count();
            if traces.iter().any(|trace| n(trace) > 0) {
                _ = writeln!(text, "| {label} |{}", cells(traces, |trace| n(trace).to_string()));
            }
        }
    }
    text.trim_end().to_owned()
}

fn cells(traces: &[Trace], cell: impl Fn(&Trace) -> String) -> String {
    traces.iter().map(|trace| format!(" {} |", cell(trace))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// One event a millisecond.
    fn output(name: &str, events: &[Value]) -> String {
        let mut text = format!("{name}\n");
        for (index, event) in events.iter().enumerate() {
            let mut event = event.clone();
            event["time_ns"] = json!(index * 1_000_000);
            event["detail"] = json!(event["event"] == "wait");
            event["who"] = json!("rt 10");
            event["text"] = json!(format!("rt 10 does {}", event["event"].as_str().unwrap()));
            text.push_str(&format!("{event}\n"));
        }
        text
    }

    fn exec(tgid: u32, ns_pids: &[u32]) -> Value {
        json!({ "event": "exec", "task": { "task": { "tgid": tgid }, "ns_pids": ns_pids } })
    }

    fn events() -> Vec<Value> {
        vec![
            exec(10, &[10]),
            json!({ "event": "new_task", "flags": CLONE_THREAD }),
            json!({ "event": "new_task", "flags": CLONE_INTO_CGROUP | 0x2000_0000 }),
            json!({ "event": "mount", "ret": -22 }),
            exec(11, &[11, 1]),
            json!({ "event": "wait", "ret": -10 }),
            json!({ "event": "exit", "group_dead": true, "task": { "task": { "tgid": 11 } } }),
            json!({ "event": "cgroup_rmdir" }),
        ]
    }

    fn podrt(events: &[Value]) -> Result<Trace> {
        Trace::parse("podrt", &format!("{}runc\n{{}}\n", output("podrt", events)))
    }

    #[test]
    fn phases_end_with_the_program_and_with_its_end() {
        let traces = [podrt(&events()).unwrap()];
        let expected = "\
| | podrt |
|---|--:|
| **Set-up**: from the runtime's exec to that of the container's program | 4 ms |
| processes created | 1 |
| threads created | 1 |
| programs executed | 1 |
| clones into new namespaces | 1 |
| clones into a cgroup | 1 |
| mount, umount2 and pivot_root calls | 1 |
| of the calls above, failed | 1 |
| events in all | 4 |
| **Life**: from there to the end of PID 1 | 2 ms |
| programs executed | 1 |
| wait4 and waitid calls | 1 |
| events in all | 2 |
| **Clean-up**: from there to the end of the runtime | 1 ms |
| cgroups removed | 1 |
| events in all | 2 |";
        assert_eq!(figures(&traces), expected);
    }

    #[test]
    fn details_are_counted_and_not_shown() {
        let text = podrt(&events()).unwrap().details();
        assert!(text.contains("podrt: 7 lines of 8 events"), "{text}");
        assert!(text.contains("   0.003000  rt 10                    does mount\n"), "{text}");
        assert!(!text.contains("does wait"), "{text}");
    }

    #[test]
    fn a_trace_that_the_text_does_not_fit_is_refused() {
        let trace = podrt(&events()).unwrap();
        assert!(trace.check(&["does exec", "does mount", "does exec", "does exit"]).is_ok());
        let error = trace.check(&["does mount", "does new_task"]).unwrap_err().to_string();
        assert!(error.contains("does not show \"does new_task\""), "{error}");
    }

    #[test]
    fn an_incomplete_trace_is_refused() {
        let refused = |events: &[Value]| format!("{:#}", podrt(events).err().unwrap());
        assert!(refused(&[]).contains("no trace of podrt"));
        assert!(refused(&events()[..4]).contains("executed no program"));
        assert!(refused(&events()[..5]).contains("did not end"));
        let mut lossy = events();
        lossy.push(json!({ "event": "gap", "lost": 1 }));
        assert!(refused(&lossy).contains("were lost"));
    }

    #[test]
    fn the_fixed_text_has_each_place_once() {
        for name in ["kernel", "engine", "versions", "figures", "traces"] {
            assert_eq!(TEMPLATE.matches(&format!("{{{{{name}}}}}")).count(), 1, "{name}");
        }
    }
}
