//! `junit.xml`, for the test views of CI systems: a suite for each runtime and kernel, a case for each check.

use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::model::{CheckReport, RunReport};
use super::words::fact;

/// The document.
///
/// # Errors
/// When it cannot be made.
pub fn render(runs: &[RunReport]) -> Result<String> {
    let mut report = Report::new("podproof");
    report.set_time(runs.iter().map(|run| Duration::from_millis(run.wall_ms)).sum());
    for run in runs {
        report.add_test_suite(suite(run));
    }
    let text = report.to_string().context("write the verdicts as XML")?;
    Ok(without_skipped(&text))
}

/// The root without its count of skips, which the schemas of Jenkins and Ant do not have there.
fn without_skipped(text: &str) -> String {
    let parts = text.split_once("<testsuites").and_then(|(head, rest)| Some((head, rest.split_once('>')?)));
    let Some((head, (root, tail))) = parts else { return text.to_owned() };
    let attributes: Vec<&str> = root.split(' ').filter(|part| !part.starts_with("skipped=\"")).collect();
    format!("{head}<testsuites{}>{tail}", attributes.join(" "))
}

fn suite(run: &RunReport) -> TestSuite {
    let mut suite = TestSuite::new(clean(&run.title()));
    suite.set_time(Duration::from_millis(run.wall_ms));
    let properties = [
        ("runtime", run.runtime.name.as_str()),
        ("version", &run.runtime.version),
        ("kernel", &run.kernel),
        ("machine", &run.machine),
        ("adapter", &run.adapter),
    ];
    suite.add_properties(properties.map(|(name, value)| Property::new(name, clean(value))));
    for check in &run.checks {
        suite.add_test_case(case(run, check));
    }
    if let Some(reason) = &run.ended_early {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(clean(reason)).set_type("ended early");
        suite.add_test_case(named(run, "run", "the run ended early", status));
    }
    if !run.left_behind.is_empty() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(clean(&run.left_behind.join("; "))).set_type("left behind");
        suite.add_test_case(named(run, "run", "something could not be removed", status));
    }
    suite
}

fn case(run: &RunReport, check: &CheckReport) -> TestCase {
    let status = match (&check.known, check.verdict.as_str()) {
        (Some(why), _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(clean(&format!("known failure: {why}")));
            status
        }
        (None, "pass") => TestCaseStatus::success(),
        (None, "skip") => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(clean(&check.reason));
            status
        }
        (None, verdict) => {
            let kind = if verdict == "fail" { NonSuccessKind::Failure } else { NonSuccessKind::Error };
            let mut status = TestCaseStatus::non_success(kind);
            let class = if verdict == "fail" { check.level.as_str() } else { verdict };
            status.set_message(clean(&check.reason)).set_type(clean(class));
            status.set_description(clean(&explanation(run, check)));
            status
        }
    };
    let mut case = named(run, check.area(), &format!("{} {}", check.id, check.name), status);
    case.set_time(Duration::from_millis(check.wall_ms));
    case
}

fn named(run: &RunReport, area: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(clean(name), status);
    // CI systems make a tree of the dots.
    let part = |text: &str| text.replace('.', "_");
    let runtime = part(&format!("{} {}", run.subject(), run.runtime.version));
    case.set_classname(clean(&format!("{runtime}.{}.{area}", part(&run.kernel_series()))));
    case
}

fn explanation(run: &RunReport, check: &CheckReport) -> String {
    let mut lines = vec![
        format!("statement: {}", check.statement),
        format!("clause: {}", check.clause),
        format!("expected: {}", check.expected),
        format!("observed: {}", check.observed),
    ];
    for (title, facts) in [("inside", &check.inside), ("kernel", &check.kernel)] {
        lines.extend(facts.iter().map(|it| format!("{title}: {}", fact(it))));
    }
    lines.extend(check.trace.iter().map(|line| format!("trace: {line}")));
    lines.extend(run.again.iter().map(|again| format!("again: {again} {}", check.id)));
    lines.join("\n")
}

/// Characters that no XML document can have, not even as a reference (XML 1.0, 2.2 Characters), become visible; so do carriage
/// returns, which every reader would take for ends of lines.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n'
            | '\t'
            | ' '..='\u{7e}'
            | '\u{a0}'..='\u{d7ff}'
            | '\u{e000}'..='\u{fffd}'
            | '\u{10000}'..='\u{10ffff}' => clean.push(c),
            c => clean.extend(c.escape_unicode()),
        }
    }
    clean
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{HOSTILE, check, hostile, run};

    fn runs() -> Vec<RunReport> {
        let mut known = check("NS-03", "fail");
        known.known = Some("it is old".to_owned());
        let checks = vec![
            check("NS-01", "pass"),
            check("NS-02", "fail"),
            known,
            check("REAP-15", "skip"),
            check("SIG-01", "inconclusive"),
        ];
        vec![run("runc", "6.12.1", checks), run("crun", "6.1.2", vec![check("NS-01", "pass")])]
    }

    #[test]
    fn the_document_is_valid() {
        for runs in [runs(), vec![hostile()], Vec::new()] {
            let text = render(&runs).unwrap();
            schema::validate(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
    }

    #[test]
    fn verdicts_become_what_ci_systems_count() {
        let text = render(&runs()).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        assert_eq!(root.attribute("tests"), Some("6"));
        assert_eq!((root.attribute("failures"), root.attribute("errors")), (Some("1"), Some("1")));
        let case = |id: &str| {
            let is_it = |node: &roxmltree::Node<'_, '_>| {
                node.attribute("name").is_some_and(|name| name.starts_with(id))
            };
            document.descendants().find(is_it).unwrap()
        };
        assert_eq!(case("NS-01").children().filter(roxmltree::Node::is_element).count(), 0);
        let result = |id: &str| case(id).first_element_child().unwrap();
        assert_eq!(result("NS-02").tag_name().name(), "failure");
        assert_eq!(result("NS-02").attribute("type"), Some("MUST"));
        assert!(result("NS-02").text().unwrap().contains("kernel: net.a = 4  [tp_btf/x]\n"));
        assert_eq!(result("NS-03").attribute("message"), Some("known failure: it is old"));
        assert_eq!(result("REAP-15").tag_name().name(), "skipped");
        assert_eq!(result("SIG-01").tag_name().name(), "error");
        assert_eq!(case("REAP-15").attribute("classname"), Some("runc 1.6_12.REAP"));
    }

    #[test]
    fn a_hostile_text_is_read_again_as_it_was() {
        let text = render(&[hostile()]).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert!(failure.text().unwrap().contains(&clean(HOSTILE)), "{text}");
        assert_eq!(clean("a\u{1b}[31m\u{0}\r\u{fffe}b"), "a\\u{1b}[31m\\u{0}\\u{d}\\u{fffe}b");
    }
}
