//! The phases of a traced `run`: which events of the kernel part them, and their times as rows of the file.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::figure::Row;
use crate::bench::runtime::record::Record;

/// The phases in their order, by their names in the file. Each begins where the one before it ends; profile.md tells which
/// event ends it.
pub(crate) const PHASES: [&str; 8] =
    ["start", "prepare", "create", "root", "confine", "program", "reap", "cleanup"];
/// All of them together.
pub(crate) const WHOLE: &str = "whole";
/// Begins the case of their rows.
pub(crate) const PHASE: &str = "phase:";

/// `CLONE_THREAD` (clone(2)).
const CLONE_THREAD: u64 = 0x1_0000;

/// The case of a phase.
pub(crate) fn case(phase: &str) -> String {
    format!("{PHASE}{phase}")
}

/// The rows of all phases by subject; none without traces. A trace that does not show all phases counts for none of them;
/// a subject without any that does is unavailable.
///
/// # Errors
/// A phase without values, which no records can bring about.
pub(crate) fn rows(records: &[Record]) -> Result<Vec<Row>> {
    let mut subjects: BTreeMap<&str, BTreeMap<u32, [u64; PHASES.len()]>> = BTreeMap::new();
    let mut reasons: BTreeMap<&str, String> = BTreeMap::new();
    for record in records {
        match record {
            Record::Trace { subject, round, events } => match phases(events) {
                Ok(times) => _ = subjects.entry(subject).or_default().insert(*round, times),
                Err(error) => _ = reasons.insert(subject, format!("{error:#}")),
            },
            Record::TraceUnavailable { subject, reason } => {
                // The last of this subject.
                subjects.remove(subject.as_str());
                reasons.insert(subject, reason.clone());
            }
            _ => {}
        }
    }
    reasons.retain(|subject, _| !subjects.contains_key(subject));
    let mut rows = Vec::new();
    for phase in PHASES.into_iter().chain([WHOLE]) {
        let of = |times: &[u64; PHASES.len()]| match PHASES.iter().position(|it| *it == phase) {
            Some(idx) => times[idx] as f64,
            None => times.iter().sum::<u64>() as f64,
        };
        for (subject, rounds) in &subjects {
            let mut row = Row::new(&case(phase), subject, "ns").with(rounds.values().map(of))?;
            for (other, theirs) in subjects.iter().filter(|(other, _)| *other != subject) {
                let pair = |(round, own)| Some((of(own), of(theirs.get(round)?)));
                // A phase that a runtime does not have is no measure for others.
                row.compare(other, rounds.iter().filter_map(pair).filter(|(_, its)| *its > 0.0));
            }
            rows.push(row);
        }
    }
    for (subject, reason) in reasons {
        rows.push(Row { unavailable: Some(reason), ..Row::new(&case(WHOLE), subject, "ns") });
    }
    Ok(rows)
}

/// Nanoseconds of each phase, from the events of one trace.
///
/// # Errors
/// Records were lost, or an event that parts two phases is missing or in another order.
fn phases(events: &[Value]) -> Result<[u64; PHASES.len()]> {
    let first = events.first().context("the trace is empty")?;
    ensure!(is(first, "exec"), "the trace does not begin with the exec of the runtime");
    ensure!(!events.iter().any(|event| is(event, "gap")), "records of the trace were lost");
    let runtime = &first["task"]["task"]["tgid"];
    let after = |from: usize, is_it: &dyn Fn(&Value) -> bool| {
        events.iter().skip(from + 1).position(is_it).map(|idx| from + 1 + idx)
    };

    // The first program of a process that is PID 1 of a namespace below that of the runtime.
    let is_program = |event: &Value| {
        let numbers = event["task"]["ns_pids"].as_array();
        is(event, "exec") && numbers.is_some_and(|all| all.len() > 1 && all.last() == Some(&1.into()))
    };
    let program = after(0, &is_program).context("no program was executed as PID 1 of a pid namespace")?;
    let init = &events[program]["task"]["task"]["tgid"];
    let is_birth = |event: &&Value| {
        let flags = event["flags"].as_u64().unwrap_or_default();
        is(event, "new_task") && flags & CLONE_THREAD == 0 && event["child"]["task"]["tgid"] == *init
    };
    let birth = events[..program].iter().rposition(|event| is_birth(&event));
    let birth = birth.context("the birth of PID 1 is missing")?;
    let is_start = |event: &Value| is(event, "exec") && event["task"]["task"]["tgid"] == *runtime;
    let start = events[..birth].iter().rposition(is_start).unwrap_or_default();
    let is_cgroup = |event: &Value| is(event, "cgroup_mkdir") && event["hierarchy"] == 0;
    let cgroup = after(start, &is_cgroup).filter(|idx| *idx < birth);
    let cgroup = cgroup.context("no cgroup was made before the birth of PID 1")?;
    let is_root = |event: &Value| {
        let is_done = event["ret"].as_i64() == Some(0);
        is(event, "pivot_root") && is_done && event["current"]["tgid"] == *init
    };
    let root = after(birth, &is_root).filter(|idx| *idx < program);
    let root = root.context("PID 1 did not pivot its root before its program")?;
    let is_end = |event: &Value, tgid: &Value| {
        is(event, "exit") && event["group_dead"] == true && event["task"]["task"]["tgid"] == *tgid
    };
    let end = after(program, &|event| is_end(event, init)).context("the end of PID 1 is missing")?;
    let is_reap = |event: &Value| {
        is(event, "reap") && event["task"]["tgid"] == *init && event["current"]["tgid"] == *runtime
    };
    let reap = after(end, &is_reap).context("the runtime did not reap PID 1")?;
    let last = after(reap, &|event| is_end(event, runtime)).context("the end of the runtime is missing")?;

    let time = |idx: usize| events[idx]["time_ns"].as_u64().context("an event without its time");
    let ends = [start, cgroup, birth, root, program, end, reap, last];
    let mut times = [0; PHASES.len()];
    let mut from = time(0)?;
    for (phase, idx) in times.iter_mut().zip(ends) {
        let to = time(idx)?;
        *phase = to.checked_sub(from).context("the times of the events are not in their order")?;
        from = to;
    }
    Ok(times)
}

/// Whether the event is of this kind.
fn is(event: &Value, kind: &str) -> bool {
    event["event"] == kind
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// The trace of a runtime, process 10, whose phases take so many ms.
    pub(crate) fn trace(lengths_ms: [u64; PHASES.len()]) -> Vec<Value> {
        let task = |tgid: u32, inside: &[u32]| json!({ "task": { "tgid": tgid }, "ns_pids": inside });
        let (runtime, init) = (task(10, &[10]), task(11, &[11, 1]));
        let current = |tgid: u32| json!({ "tgid": tgid });
        let ends = [
            json!({ "event": "exec", "current": current(10), "task": runtime }),
            json!({ "event": "cgroup_mkdir", "current": current(10), "hierarchy": 0 }),
            json!({ "event": "new_task", "current": current(10), "child": init, "flags": 0 }),
            json!({ "event": "pivot_root", "current": current(11), "ret": 0 }),
            json!({ "event": "exec", "current": current(11), "task": init }),
            json!({ "event": "exit", "current": current(11), "task": init, "group_dead": true }),
            json!({ "event": "reap", "current": current(10), "task": { "tgid": 11 } }),
            json!({ "event": "exit", "current": current(10), "task": runtime, "group_dead": true }),
        ];
        let mut time_ns = 5_000_000_000_u64;
        let mut events = vec![ends[0].clone()];
        events[0]["time_ns"] = time_ns.into();
        for (mut event, ms) in ends.into_iter().zip(lengths_ms) {
            time_ns += ms * 1_000_000;
            event["time_ns"] = time_ns.into();
            events.push(event);
        }
        events
    }

    fn record(subject: &str, round: u32, events: Vec<Value>) -> Record {
        Record::Trace { subject: subject.to_owned(), round, events }
    }

    /// Three traces of podrt, of which the last lost records, two of crun, and none of runc that shows all phases.
    pub(crate) fn records() -> Vec<Record> {
        let mut gap = trace([1; 8]);
        gap.push(json!({ "event": "gap", "lost": 3 }));
        let mut headless = trace([1; 8]);
        headless.retain(|event| event["event"] != "pivot_root");
        vec![
            record("podrt", 1, trace([10, 10, 10, 10, 30, 10, 10, 10])),
            record("podrt", 2, trace([20, 10, 10, 10, 50, 10, 10, 40])),
            record("podrt", 3, gap),
            record("crun", 1, trace([20, 60, 20, 20, 30, 10, 10, 10])),
            record("crun", 2, trace([40, 60, 20, 20, 50, 10, 10, 10])),
            record("runc", 1, headless),
            Record::TraceUnavailable { subject: "youki".to_owned(), reason: "exit status: 1".to_owned() },
        ]
    }

    fn error(events: &[Value]) -> String {
        format!("{:#}", phases(events).unwrap_err())
    }

    /// Microseconds of the phases of a trace that was recorded in a VM, without the kinds of events and the fields that
    /// have no part in them.
    fn recorded(lines: &str) -> [u64; PHASES.len()] {
        let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        phases(&events).unwrap().map(|ns| ns / 1000)
    }

    #[test]
    fn one_clone_and_two_programs_are_podrt() {
        assert_eq!(
            recorded(include_str!("traces/podrt.jsonl")),
            [99_403, 103_947, 26_217, 26_625, 48_170, 10_074, 8_807, 19_770]
        );
    }

    #[test]
    fn threads_and_processes_before_pid_1_are_told_from_it() {
        // runc executes itself in a child only; its PID 1 is born by a grandchild, has threads, and ends them before its exec.
        assert_eq!(
            recorded(include_str!("traces/runc.jsonl")),
            [0, 255_774, 131_565, 217_869, 62_573, 7_739, 6_834, 25_847]
        );
    }

    #[test]
    fn rows_are_medians_of_the_traces_that_show_all() {
        let rows = rows(&records()).unwrap();
        let row = |case: &str, subject: &str| {
            rows.iter().find(|row| row.case == case && row.subject == subject).unwrap()
        };
        let confine = row("phase:confine", "podrt");
        assert_eq!((confine.median, confine.runs, confine.ratio["crun"]), (Some(4e7), 2, 1.0));
        let whole = row("phase:whole", "podrt");
        assert_eq!((whole.median, whole.min, whole.max), (Some(1.3e8), Some(1e8), Some(1.6e8)));
        assert!(row("phase:whole", "runc").unavailable.as_ref().unwrap().contains("pivot"));
        assert_eq!(row("phase:whole", "youki").unavailable.as_deref(), Some("exit status: 1"));
        assert_eq!(rows.len(), 2 * (PHASES.len() + 1) + 2);
    }

    #[test]
    fn a_phase_that_another_does_not_have_gives_no_ratio() {
        let records = [record("podrt", 1, trace([1; 8])), record("runc", 1, trace([0, 1, 1, 1, 1, 1, 1, 1]))];
        let rows = rows(&records).unwrap();
        let start: Vec<&Row> = rows.iter().filter(|row| row.case == "phase:start").collect();
        assert!(start[0].ratio.is_empty(), "{:?}", start[0]);
        assert_eq!((start[1].median, start[1].ratio["podrt"]), (Some(0.0), 0.0));
    }

    #[test]
    fn what_a_trace_does_not_show_is_named() {
        assert_eq!(error(&[]), "the trace is empty");
        let without = |kind: &str, tgid: u32| {
            let mut events = trace([1; 8]);
            let at = events.iter().rposition(|it| it["event"] == kind && it["current"]["tgid"] == tgid);
            events.remove(at.unwrap());
            error(&events)
        };
        assert!(without("cgroup_mkdir", 10).contains("no cgroup was made"));
        assert!(without("new_task", 10).contains("the birth of PID 1"));
        assert!(without("pivot_root", 11).contains("did not pivot"));
        assert!(without("exec", 11).contains("no program was executed"));
        assert!(without("exit", 11).contains("the end of PID 1"));
        assert!(without("reap", 10).contains("did not reap"));
        assert!(without("exit", 10).contains("the end of the runtime"));
        let mut lost = trace([1; 8]);
        lost.push(json!({ "event": "gap", "lost": 1 }));
        assert!(error(&lost).contains("lost"));
        let mut backwards = trace([1; 8]);
        backwards[4]["time_ns"] = 0.into();
        assert!(error(&backwards).contains("not in their order"));
    }
}
