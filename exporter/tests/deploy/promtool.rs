//! What Prometheus' own tool says of the rules, the configuration and the metrics.

use std::ffi::OsString;
use std::process::{Command, Output};

use exporter::metrics::{FAMILIES, Kind};

use crate::check_metrics::check_metrics;
use crate::{Res, dir};

type Case = (&'static str, fn(&OsString) -> Res<()>);

pub(crate) const CASES: &[Case] = &[
    ("promtool::rules_are_right", |program| run(program, &["check", "rules", "alerts.yaml"])),
    ("promtool::rules_fire_when_they_should", |program| run(program, &["test", "rules", "alerts_test.yaml"])),
    ("promtool::the_configuration_is_right", |program| run(program, &["check", "config", "prometheus.yaml"])),
    ("promtool::names_and_types_are_as_prometheus_wants_them", names_and_types),
];

/// The program, if there is one.
pub(crate) fn program() -> Option<OsString> {
    std::env::var_os("PODPROOF_TEST_PROMTOOL")
}

fn run(program: &OsString, arguments: &[&str]) -> Res<()> {
    let output = Command::new(program).args(arguments).current_dir(dir()).output()?;
    succeeded(&output)
}

fn succeeded(output: &Output) -> Res<()> {
    if output.status.success() {
        return Ok(());
    }
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("promtool: {}\n{said}{told}", output.status).into())
}

/// Every metric there is, in an exposition with one sample of each.
fn names_and_types(program: &OsString) -> Res<()> {
    let mut exposition = String::new();
    for family in FAMILIES {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let labels: String = family.labels.iter().map(|label| format!("{label}=\"a\",")).collect();
        exposition += &format!("# HELP {0} {1}\n# TYPE {0} {kind}\n", family.name, family.help);
        exposition += &match family.kind {
            Kind::Histogram => format!(
                "{0}_bucket{{{labels}le=\"+Inf\"}} 1\n{0}_sum{{{labels}}} 1\n{0}_count{{{labels}}} 1\n",
                family.name
            ),
            Kind::Counter | Kind::Gauge => format!("{}{{{labels}}} 1\n", family.name),
        };
    }
    succeeded(&check_metrics(program, &exposition)?)
}
