//! The exporter on a real kernel, scraped over its socket. Needs root, a cgroup v2 host and a build with probes; the pods are
//! podrt's, which `PODRT_POD` names, and their sandbox program `PODRT_PAUSE`. What is missing is told.
//!
//! The exporter is this binary, started again with `serve` and its options. With `pages` it prints what a browser is to show.

mod cgroups;
mod check;
mod churn;
mod container;
mod debug;
#[path = "../support/expect.rs"]
mod expect;
mod exporter;
mod full;
mod hidden;
mod hostile;
mod kubelet;
mod kubernetes;
mod namespace;
mod options;
mod pages;
mod parts;
mod pids;
mod pods;
mod privileges;
mod process;
mod reconcile;
mod short_lived;
#[path = "../support/mod.rs"]
mod support;
mod systemd;
mod throttling;
mod web;
mod zombies;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use expect::expect;
use support::Res;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some(exporter::SERVE) => {
            return ::exporter::run::main(::exporter::cli::Cli::parse_from(&args[1..]));
        }
        Some(pages::PAGES) => return pages::print(),
        Some(privileges::AS_NOBODY) => return privileges::become_nobody(&args[2..]),
        Some(namespace::IN_NAMESPACE) => return namespace::enter(&args[2..]),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Node totals are compared.
    arguments.test_threads = Some(1);
    let cases = [
        cgroups::CASES,
        check::CASES,
        churn::CASES,
        debug::CASES,
        full::CASES,
        hidden::CASES,
        hostile::CASES,
        kubelet::CASES,
        kubernetes::CASES,
        namespace::CASES,
        options::CASES,
        parts::CASES,
        pids::CASES,
        pods::CASES,
        privileges::CASES,
        reconcile::CASES,
        short_lived::CASES,
        systemd::CASES,
        throttling::CASES,
        web::CASES,
        zombies::CASES,
    ];
    let trials = cases.into_iter().flatten().map(|(name, case)| {
        Trial::ignorable_test(*name, move || match missing() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => case().map(|()| Completion::Completed).map_err(Failed::from),
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

type Case = (&'static str, fn() -> Res<()>);

/// Why these tests cannot run here.
fn missing() -> Option<&'static str> {
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Some("/sys/fs/cgroup is not cgroup v2");
    }
    if std::env::var_os("PODRT_POD").is_none() || std::env::var_os("PODRT_PAUSE").is_none() {
        return Some("needs PODRT_POD and PODRT_PAUSE; runs in a VM by `cargo xtask test`");
    }
    None
}
