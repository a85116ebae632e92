//! What an exporter leaves out, and what it folds together.

use std::process::Command;

use crate::container::{Container, run};
use crate::exporter::{Exporter, SERVE, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("options::containers_beyond_the_limit_are_counted_together", the_limit_of_series),
    ("options::types_of_namespaces_that_are_not_named_are_counted_together", types_of_namespaces),
    ("options::collectors_are_left_out_for_good_or_for_a_scrape", collectors),
    ("options::only_a_hierarchy_is_taken_for_one", only_a_hierarchy),
];

fn the_limit_of_series() -> Res<()> {
    let first = Container::new("1".repeat(64))?;
    // Room for one container, and for no second one.
    let exporter = Exporter::start(&["--series.max", "200"])?;
    let second = Container::new("2".repeat(64))?;
    let limited = "podproof_series_limited_total";
    until("the second container", || Ok(exporter.scrape()?.get(limited).copied().filter(|n| *n == 1.0)))?;
    for container in [&first, &second] {
        container.run(10)?;
    }
    let scrape = exporter.scrape()?;
    let overflow = "podproof_execs_total{namespace=\"\",pod=\"\",container=\"_overflow\"}";
    let (own, others) = (first.series("execs_total", ""), second.series("execs_total", ""));
    let shown = [&own, &others, overflow].map(|name| scrape.get(name).copied());
    expect("execs", shown, [Some(10.0), None, Some(10.0)])?;
    expect("limit", scrape.get("podproof_series_limit").copied(), Some(200.0))
}

fn only_a_hierarchy() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let named = dir.path().display().to_string();
    let socket = format!("unix://{named}/socket");
    let output = Command::new(std::env::current_exe()?)
        .args([SERVE, "--web.listen-address", &socket, "--path.cgroupfs", &named])
        .output()?;
    expect("exit code", output.status.code(), Some(1))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let is_told = text
        .contains(&format!("--path.cgroupfs: {named} is no cgroup v2 hierarchy but in a file system of"))
        && text.contains("name /sys/fs/cgroup, or leave the option out");
    if is_told { Ok(()) } else { Err(text.into_owned().into()) }
}

fn types_of_namespaces() -> Res<()> {
    let container = Container::new("4".repeat(64))?;
    let exporter = Exporter::start(&["--collector.namespaces.types=uts"])?;
    let created = |kind: &str, operation: &str| {
        let labels = format!("namespace_type=\"{kind}\",operation=\"{operation}\"");
        container.series("namespaces_created_total", &labels)
    };
    until("the container", || Ok(exporter.scrape()?.get(&created("uts", "clone")).copied()))?;
    run(
        &container.path,
        "/bin/busybox unshare -u -i /bin/busybox true && /bin/busybox unshare -n /bin/busybox true",
    )?;
    let scrape = exporter.scrape()?;
    let shown = ["uts", "other", "ipc", "net"].map(|kind| scrape.get(&created(kind, "unshare")).copied());
    expect("namespaces by unshare", shown, [Some(1.0), Some(2.0), None, None])?;
    let joined = container.series("namespaces_joined_total", "");
    let joined = scrape.keys().filter(|name| name.starts_with(joined.trim_end_matches('}')));
    expect("series of joined namespaces", joined.count(), 4)
}

fn collectors() -> Res<()> {
    let container = Container::new("3".repeat(64))?;
    let exporter = Exporter::start(&["--no-collector.forks", "--no-collector.zombie-histogram"])?;
    let is_there = |text: &str, family: &str| {
        text.lines().any(|line| line.starts_with(&format!("# TYPE podproof_{family} ")))
    };
    let has = |path: &str| -> Res<Vec<bool>> {
        let (code, text) = exporter.get(path)?;
        expect("code", code, 200)?;
        let families =
            ["forks_total", "zombie_duration_seconds", "reaps_total", "init_exits_total", "build_info"];
        Ok(families.iter().map(|family| is_there(&text, family)).collect())
    };
    until("the container", || {
        Ok(exporter.scrape()?.get(&container.series("reaps_total", "reaper=\"init\"")).copied())
    })?;
    expect("all", has("/metrics")?, vec![false, false, true, true, true])?;
    expect(
        "some",
        has("/metrics?collect[]=zombies&collect%5B%5D=forks")?,
        vec![false, false, true, false, true],
    )?;
    let (code, text) = exporter.get("/metrics?collect[]=nothing")?;
    expect(
        "an unknown collector",
        (code, text.contains("no collector \"nothing\"; there are: forks")),
        (400, true),
    )
}
