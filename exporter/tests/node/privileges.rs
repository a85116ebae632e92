//! What the exporter takes to start, and what is left to it afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, ExitCode};

use caps::{CapSet, CapsHashSet};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use procfs::process::{Process, Status};

use crate::exporter::{Exporter, SERVE, again};
use crate::pods::{LEAK, Pod};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("privileges::root_keeps_none", root_keeps_none),
    ("privileges::a_user_without_root_gets_the_same_families", a_user_gets_the_same_families),
    ("privileges::without_ptrace_only_joined_namespaces_are_missing", without_ptrace),
    ("privileges::one_that_is_kept_reads_what_is_closed_to_others", one_is_kept),
    ("privileges::what_is_not_there_is_not_kept", what_is_not_there_is_not_kept),
];

/// First argument of this binary when it is to become a user without root; then come the capabilities and its new arguments.
pub(crate) const AS_NOBODY: &str = "as-nobody";

/// The user `nobody`.
pub(crate) const NOBODY: u32 = 65534;

/// What the probes take.
pub(crate) const PROBES: &str = "CAP_BPF,CAP_PERFMON";
/// And what the namespaces of PID 1 do.
const ALL: &str = "CAP_BPF,CAP_PERFMON,CAP_SYS_PTRACE";

/// Starts this binary again as `nobody` with these capabilities and no others. Gives the reason if it cannot.
pub(crate) fn become_nobody(arguments: &[String]) -> ExitCode {
    let [wanted, rest @ ..] = arguments else { return ExitCode::FAILURE };
    again(rest, || {
        let wanted = wanted.split(',').map(str::parse).collect::<Result<CapsHashSet, _>>()?;
        nix::sys::prctl::set_keepcaps(true)?;
        setgroups(&[])?;
        setgid(Gid::from_raw(NOBODY))?;
        setuid(Uid::from_raw(NOBODY))?;
        // Execution gives the new program those that are ambient.
        caps::set(None, CapSet::Inheritable, &wanted)?;
        Ok(caps::set(None, CapSet::Ambient, &wanted)?)
    })
}

/// All threads of a process, of which there must be several.
fn threads(exporter: &Exporter) -> Res<Vec<Status>> {
    let tasks = Process::new(exporter.pid()?)?.tasks()?;
    // One that has just ended is none.
    let all: Vec<_> = tasks.flatten().filter_map(|task| task.status().ok()).collect();
    if all.len() > 1 { Ok(all) } else { Err(format!("{} threads", all.len()).into()) }
}

/// Each thread has exactly these in what it is permitted and what is effective, and can gain none.
fn check_threads(exporter: &Exporter, kept: u64) -> Res<()> {
    for status in threads(exporter)? {
        let name = &status.name;
        expect(&format!("CapPrm of {name}"), status.capprm, kept)?;
        expect(&format!("CapEff of {name}"), status.capeff, kept)?;
        expect(&format!("CapInh of {name}"), status.capinh, 0)?;
        expect(&format!("CapAmb of {name}"), status.capamb, Some(0))?;
        expect(&format!("NoNewPrivs of {name}"), status.nonewprivs, Some(1))?;
    }
    Ok(())
}

/// With it at 0 anybody may use bpf(2), and capabilities are not what the tests see.
fn check_bpf_is_for_the_privileged() -> Res<()> {
    let value = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled")?;
    if value.trim() == "0" { Err("kernel.unprivileged_bpf_disabled is 0".into()) } else { Ok(()) }
}

/// Names of the samples of the second scrape, after both were made: by threads of their own, which are there then.
fn families(exporter: &Exporter) -> Res<BTreeSet<String>> {
    let name = |sample: &String| sample.split('{').next().map(str::to_owned);
    exporter.scrape()?;
    Ok(exporter.scrape()?.keys().filter_map(name).collect())
}

fn root_keeps_none() -> Res<()> {
    check_bpf_is_for_the_privileged()?;
    let exporter = Exporter::start(&[])?;
    families(&exporter)?;
    for status in threads(&exporter)? {
        expect(&format!("CapBnd of {}", status.name), status.capbnd, Some(0))?;
    }
    check_threads(&exporter, 0)?;
    // It counts on: the fork of a program that came after all that.
    let forks = "podproof_node_forks_total{kind=\"process\"}";
    let before = exporter.scrape()?.get(forks).copied();
    expect("status", Command::new("/bin/busybox").arg("true").status()?.code(), Some(0))?;
    let after = exporter.scrape()?.get(forks).copied();
    if before.is_some() && after > before {
        Ok(())
    } else {
        Err(format!("{before:?}, then {after:?}").into())
    }
}

fn a_user_gets_the_same_families() -> Res<()> {
    check_bpf_is_for_the_privileged()?;
    let of_root = families(&Exporter::start(&[])?)?;
    let exporter = Exporter::start_as_nobody(ALL, &[])?;
    expect("families", families(&exporter)?, of_root)?;
    for status in threads(&exporter)? {
        expect(&format!("user of {}", status.name), (status.ruid, status.euid), (NOBODY, NOBODY))?;
    }
    check_threads(&exporter, 0)
}

fn without_ptrace() -> Res<()> {
    let with = families(&Exporter::start_as_nobody(ALL, &[])?)?;
    let without = families(&Exporter::start_as_nobody(PROBES, &[])?)?;
    let missing: Vec<_> = with.difference(&without).map(String::as_str).collect();
    expect("missing families", missing, vec!["podproof_namespaces_joined_total"])
}

fn one_is_kept() -> Res<()> {
    const NAME: &str = "CAP_DAC_READ_SEARCH";
    let pod = Pod::run("kept", LEAK, &[])?;
    let root = pod.root().display().to_string();
    let options = ["--path.podrt", &root, "--capabilities.keep", NAME];
    let processes = pod.series("processes", "");
    let exporter = Exporter::start_as_nobody(&format!("{PROBES},{NAME}"), &options)?;
    expect(&processes, exporter.scrape()?.get(&processes).copied(), Some(1.0))?;
    check_threads(&exporter, caps::Capability::CAP_DAC_READ_SEARCH.bitmask())?;
    drop(exporter);
    // Without it the same pod is one whose names nobody knows.
    let exporter = Exporter::start_as_nobody(PROBES, &options[..2])?;
    expect(&processes, exporter.scrape()?.get(&processes).copied(), None)
}

fn what_is_not_there_is_not_kept() -> Res<()> {
    let output = Command::new(std::env::current_exe()?)
        .args([AS_NOBODY, PROBES, SERVE, "--web.listen-address", "unix:///tmp/none.sock"])
        .args(["--capabilities.keep", "CAP_SYS_ADMIN"])
        .output()?;
    expect("exit code", output.status.code(), Some(1))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let is_told = text.contains("--capabilities.keep: this process does not have CAP_SYS_ADMIN");
    if is_told { Ok(()) } else { Err(text.into_owned().into()) }
}
