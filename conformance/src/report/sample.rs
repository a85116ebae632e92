//! Hand-built reports, also hostile ones.

use super::model::{CheckReport, RunReport, RuntimeReport};
use crate::evidence::Fact;

/// Everything that breaks a format which does not escape: markup, quotes, ends of lines and comments, control characters,
/// what XML cannot have, a half of a surrogate pair in words, directions of writing.
pub(crate) const HOSTILE: &str = "</script><script>alert(1)</script>&amp;\"'`]]>--><!--\\\u{0}\u{1b}[31mred\u{7}\r\n\u{fffe}\u{2028}\u{202e}\\ud800 ${x} {{y}}";

/// A check with this verdict.
pub(crate) fn check(id: &str, verdict: &str) -> CheckReport {
    let reason = if verdict == "pass" { String::new() } else { format!("the reason of {id}") };
    CheckReport {
        id: id.to_owned(),
        name: format!("the name of {id}"),
        statement: format!("The statement of {id}."),
        clause: format!("clause of {id}"),
        level: "MUST".to_owned(),
        subject: "runtime".to_owned(),
        verdict: verdict.to_owned(),
        reason,
        expected: "one thing".to_owned(),
        observed: "another".to_owned(),
        inside: vec![Fact { key: "net.a".to_owned(), value: 4.into(), source: "witness a".to_owned() }],
        kernel: vec![Fact { key: "net.a".to_owned(), value: 4.into(), source: "tp_btf/x".to_owned() }],
        trace: vec!["0.000001  sh 10  executes /bin/true".to_owned()],
        events_lost: 0,
        leaked: Vec::new(),
        known: None,
        wall_ms: 1250,
        timeline: None,
    }
}

/// A run with these checks.
pub(crate) fn run(runtime: &str, kernel: &str, checks: Vec<CheckReport>) -> RunReport {
    RunReport {
        runtime: RuntimeReport {
            name: runtime.to_owned(),
            path: format!("/usr/bin/{runtime}"),
            version: "1".to_owned(),
        },
        machine: "vm-tcg".to_owned(),
        wall_ms: 41_200,
        again: Some(format!("podproof run --runtime {runtime}")),
        checks,
        ..RunReport::unborn(kernel)
    }
}

/// A run whose every text is hostile.
pub(crate) fn hostile() -> RunReport {
    let text = || HOSTILE.to_owned();
    let mut bad = check("NS-01", "fail");
    for field in [
        &mut bad.name,
        &mut bad.statement,
        &mut bad.clause,
        &mut bad.reason,
        &mut bad.expected,
        &mut bad.observed,
    ] {
        *field = text();
    }
    bad.inside = vec![Fact { key: text(), value: HOSTILE.into(), source: text() }];
    bad.kernel.clone_from(&bad.inside);
    bad.trace = vec![text()];
    bad.leaked = vec![text()];
    let mut run = run(HOSTILE, HOSTILE, vec![bad, check("NS-02", "pass"), check("REAP-15", "skip")]);
    run.runtime.version = text();
    run.ended_early = Some(text());
    run.left_behind = vec![text()];
    run.again = Some(text());
    run
}
