//! The files of `deploy/` against what they speak of: the metrics, the command line, the API of Kubernetes, Prometheus.
//!
//! `PODPROOF_TEST_PROMTOOL` is Prometheus' promtool, which `cargo xtask test` finds or fetches.

#[path = "../support/promtool.rs"]
mod check_metrics;
#[path = "../support/expect.rs"]
mod expect;
mod kubernetes;
mod metrics;
mod promql;
mod promtool;
mod rules;
mod unit;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use expect::expect;

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (name, case) in [metrics::CASES, rules::CASES, kubernetes::CASES, unit::CASES].into_iter().flatten() {
        trials.push(Trial::test(*name, move || case().map_err(Failed::from)));
    }
    for (name, case) in promtool::CASES {
        trials.push(Trial::ignorable_test(*name, move || match promtool::program() {
            None => Ok(Completion::ignored_with("no promtool; `cargo xtask test` has one")),
            Some(program) => case(&program).map(|()| Completion::Completed).map_err(Failed::from),
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Any error of a test, in words.
type Res<T> = Result<T, Box<dyn std::error::Error>>;
type Case = (&'static str, fn() -> Res<()>);

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// A file of `deploy/`.
fn text(name: &str) -> Res<String> {
    let path = dir().join(name);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Fails with all offences, if there are any.
fn none(offences: &[String]) -> Res<()> {
    if offences.is_empty() { Ok(()) } else { Err(offences.join("\n").into()) }
}
