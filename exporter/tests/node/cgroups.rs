//! Counts of a cgroup whose every event is known.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::container::Container;
use crate::exporter::{Exporter, until};
use crate::privileges::NOBODY;
use crate::process::{Process, until_zombie};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("cgroups::threads_of_the_kernel_are_none_of_the_host_s", threads_of_the_kernel),
    ("cgroups::one_that_may_not_be_listed_hides_no_other", one_that_may_not_be_listed),
    ("cgroups::counts_are_exact", counts_are_exact),
    ("cgroups::a_removed_container_ends_after_its_retention", a_removed_container_ends_after_its_retention),
    ("cgroups::the_node_s_forks_are_those_of_the_kernel", the_node_s_forks_are_those_of_the_kernel),
    ("cgroups::the_host_s_processes_are_those_of_proc", the_host_s_processes_are_those_of_proc),
    ("cgroups::a_second_exporter_says_that_the_address_is_taken", a_taken_address_is_named),
];

const N: u32 = 20;
const SLEEP: [&str; 2] = ["sleep", "1000"];

fn counts_are_exact() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let container = Container::new("a".repeat(64))?;
    let forks = container.series("forks_total", "kind=\"process\"");
    until("the container", || Ok(exporter.scrape()?.get(&forks).copied()))?;
    container.run(N)?;
    let scrape = exporter.scrape()?;
    let n = f64::from(N);
    for (name, labels, wanted) in [
        ("forks_total", "kind=\"process\"", n),
        ("execs_total", "", n),
        ("exits_total", "reason=\"success\"", n + 1.0),
        ("exits_total", "reason=\"error\"", 0.0),
        ("reaps_total", "reaper=\"parent\"", n + 1.0),
        ("cgroup_migrations_total", "direction=\"in\"", 1.0),
        ("zombie_duration_seconds_count", "", n + 1.0),
        ("processes", "", 0.0),
        ("zombie_processes", "parent=\"other\"", 0.0),
    ] {
        let series = container.series(name, labels);
        expect(&series, scrape.get(&series).copied(), Some(wanted))?;
    }
    expect("exit code", exporter.stop()?, Some(0))
}

fn a_removed_container_ends_after_its_retention() -> Res<()> {
    let exporter = Exporter::start(&["--retention.deleted", "3s"])?;
    let container = Container::new("b".repeat(64))?;
    let execs = container.series("execs_total", "");
    until("the container", || Ok(exporter.scrape()?.get(&execs).copied()))?;
    container.run(N)?;
    container.remove()?;
    // Its counts stay for a while.
    expect(&execs, exporter.scrape()?.get(&execs).copied(), Some(f64::from(N)))?;
    until("the end of the series", || Ok((!exporter.scrape()?.contains_key(&execs)).then_some(())))?;
    let scrape = exporter.scrape()?;
    let left: Vec<&String> = scrape.keys().filter(|name| name.contains(&container.id[..12])).collect();
    expect("series that are left", left, vec![])
}

fn the_node_s_forks_are_those_of_the_kernel() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let container = Container::new("c".repeat(64))?;
    // The kernel's counter is read on both sides of a scrape, which makes tasks itself.
    let sample = || -> Res<(u64, u64, u64)> {
        let before = kernel_forks()?;
        let scrape = exporter.scrape()?;
        let of = |kind: &str| scrape.get(&format!("podproof_node_forks_total{{kind=\"{kind}\"}}")).copied();
        let ours = of("process").zip(of("thread")).map(|(a, b)| a + b).ok_or("no node total")?;
        Ok((before, format!("{ours}").parse()?, kernel_forks()?))
    };
    let first = sample()?;
    container.run(100)?;
    let second = sample()?;
    let (grown, least, most) = (second.1 - first.1, second.0 - first.2, second.2 - first.0);
    if grown < 100 || grown < least || grown > most {
        return Err(format!("the node's forks grew by {grown}, the kernel's by {least} to {most}").into());
    }
    Ok(())
}

/// `processes` of proc_stat(5).
fn kernel_forks() -> Res<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("processes ")).ok_or("no forks in /proc/stat")?;
    Ok(line.trim().parse()?)
}

/// khugepaged ends and begins with this (admin-guide/mm/transhuge.rst).
fn threads_of_the_kernel() -> Res<()> {
    const HUGE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    const TIMES: u32 = 5;
    let before = fs::read_to_string(HUGE)?;
    let chosen = before.split(['[', ']']).nth(1).ok_or("no choice of huge pages")?.to_owned();
    let exporter = Exporter::start(&[])?;
    let count = |name: &str| -> Res<f64> {
        let scrape = exporter.scrape()?;
        Ok(scrape.iter().filter(|(series, _)| series.starts_with(name)).map(|(_, value)| value).sum())
    };
    let of_host = [
        "podproof_exits_total{namespace=\"\",pod=\"\",container=\"\"",
        "podproof_reaps_total{namespace=\"\",pod=\"\",container=\"\"",
    ];
    let counts = || -> Res<[f64; 3]> {
        Ok([count(of_host[0])?, count(of_host[1])?, count("podproof_node_exits_total")?])
    };
    let first = counts()?;
    for _time in 0..TIMES {
        fs::write(HUGE, "never")?;
        fs::write(HUGE, "always")?;
    }
    let last = counts()?;
    fs::write(HUGE, chosen)?;
    expect("exits and reaps of the host", (last[0], last[1]), (first[0], first[1]))?;
    expect("exits of the node", last[2] >= first[2] + f64::from(TIMES), true)
}

/// By its owner's will: the exporter has no capability for it.
fn one_that_may_not_be_listed() -> Res<()> {
    let closed = Container::new("c".repeat(64))?;
    chown(&closed.path, Some(NOBODY), Some(NOBODY))?;
    fs::set_permissions(&closed.path, Permissions::from_mode(0o700))?;
    let exporter = Exporter::start(&[])?;
    let open = Container::new("0".repeat(64))?;
    let forks = open.series("forks_total", "kind=\"process\"");
    until("the other container", || Ok(exporter.scrape()?.get(&forks).copied()))?;
    expect("the page", exporter.get("/")?.0, 200)
}

fn the_host_s_processes_are_those_of_proc() -> Res<()> {
    let container = Container::new("d".repeat(64))?;
    let service = Path::new("/sys/fs/cgroup/some.service");
    fs::create_dir_all(service)?;
    // One in the root beside the kernel's threads, one in a service, one in a container, and a zombie.
    let mut sleepers = Vec::new();
    for cgroup in [Path::new("/sys/fs/cgroup"), service, &container.path] {
        sleepers.push(Process::start(&SLEEP, cgroup)?);
    }
    sleepers.push(Process::start(&SLEEP, service)?);
    let zombie = &mut sleepers[3].0;
    zombie.kill()?;
    until_zombie(zombie)?;

    let exporter = Exporter::start(&[])?;
    let series = "podproof_processes{namespace=\"\",pod=\"\",container=\"\"}";
    // On both sides of a scrape: others may come and go meanwhile.
    let (listed, found) = until("a moment of rest", || {
        let (before, scrape, after) = (host_processes()?, exporter.scrape()?, host_processes()?);
        let found = scrape.get(series).copied().ok_or("the host has no number of processes")?;
        Ok((before == after).then_some((after, found)))
    })?;
    let ids = [&sleepers[0], &sleepers[1], &sleepers[2], &sleepers[3]].map(|sleeper| sleeper.0.id());
    let expected = [true, true, false, false];
    expect("what the test lists", ids.map(|id| listed.contains(&id)), expected)?;
    expect(series, format!("{found}"), listed.len().to_string())?;
    drop(sleepers);
    Ok(fs::remove_dir(service)?)
}

/// Processes of no container, by proc(5): all with a memory of their own, which neither zombies nor the kernel's threads have.
fn host_processes() -> Res<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended.
        let of = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let is_of_host = !["/docker/", "/podrt-pods/"].iter().any(|path| of("cgroup").contains(path));
        if is_of_host && of("status").contains("\nVmSize:") {
            found.insert(pid);
        }
    }
    Ok(found)
}

fn a_taken_address_is_named() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("s");
    let _listener = std::os::unix::net::UnixListener::bind(&socket)?;
    let address = format!("unix://{}", socket.display());
    let output = Command::new(std::env::current_exe()?)
        .args([crate::exporter::SERVE, "--web.listen-address", &address])
        .output()?;
    expect("exit code", output.status.code(), Some(1))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let is_told = text.contains(&format!("cannot listen on {address}")) && text.contains("in use");
    if is_told { Ok(()) } else { Err(text.into_owned().into()) }
}
