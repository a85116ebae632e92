//! The codes that a pod layer reports of containers that have ended, against the ends that the kernel shows.

use crate::adapter::podrt::PodDocument;
use crate::checks::{facts, pods};
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::trace::Trace;

/// Adds how a container ended: as reported to both sides, as it was to the kernel's.
pub(super) fn add(evidence: &mut Evidence, trace: &Trace, document: &PodDocument, name: &str, key: &str) {
    if let Some(code) = document.termination(name).and_then(|end| end.exit_code) {
        facts::told(evidence, &format!("reported.{key}"), code, "podrt pod inspect: exitCode");
    }
    let lives = pods::lives(trace, &document.cgroup_of(name));
    if let Some(status) = lives.first().and_then(|life| life.end).map(|end| end.status & 0xff7f) {
        evidence.kernel(&format!("status.{key}"), status, "tp_btf/sched_process_exit: wait status");
    }
}

/// What was reported is what the containers were made to end with.
pub(super) fn inside(side: &Side<'_>, wanted: &[(&str, u64)]) -> Result<Finding, Gap> {
    compare(wanted, |key| side.signed(&format!("reported.{key}")))
}

/// What was reported is how the kernel says that they ended.
pub(super) fn kernel(side: &Side<'_>, wanted: &[(&str, u64)]) -> Result<Finding, Gap> {
    for (key, code) in wanted {
        let status = side.number(&format!("status.{key}"))?;
        let ended = if status & 0x7f == 0 { status >> 8 } else { 128 + status };
        if ended != *code {
            return Err(Gap(format!("the end that {key} was to have")));
        }
    }
    compare(wanted, |key| side.signed(&format!("reported.{key}")))
}

fn compare(wanted: &[(&str, u64)], reported: impl Fn(&str) -> Result<i64, Gap>) -> Result<Finding, Gap> {
    let (mut holds, mut expected, mut observed) = (true, Vec::new(), Vec::new());
    for (key, code) in wanted {
        let reported = reported(key)?;
        holds &= u64::try_from(reported) == Ok(*code);
        expected.push(format!("{key}: {code}"));
        observed.push(format!("{key}: {reported}"));
    }
    Ok(Finding::new(holds, expected.join(", "), observed.join(", ")))
}
