//! Pods of podrt as the exporter shows them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::SystemTime;

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exporter::{Exporter, until};
use crate::support::{differences, make_image, podrt};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("pods::a_zombie_is_shown_under_its_pod", a_zombie_is_shown_under_its_pod),
    ("pods::zombies_older_than_the_exporter_are_in_the_first_scrape", old_zombies_are_in_the_first_scrape),
    ("pods::a_restarted_container_goes_on_counting", a_restarted_container_goes_on_counting),
    ("pods::pause_reaps_where_pids_are_shared", pause_reaps_where_pids_are_shared),
    ("pods::pause_reaps_nothing_where_pids_are_not_shared", pause_reaps_nothing_where_pids_are_not_shared),
    ("pods::an_init_container_is_told_from_the_others", init_containers_are_told),
    ("pods::every_family_is_there", every_family_is_there),
    ("pods::containers_are_shown_together_when_their_label_is_dropped", a_label_is_dropped),
];

/// A pod; removed with the test.
pub(crate) struct Pod {
    dir: Rc<TempDir>,
    name: &'static str,
}

/// Its first process becomes a program that never reaps, and leaves it a child.
pub(crate) const LEAK: &str = "busybox true & exec busybox sleep 1000";

impl Pod {
    pub(crate) fn run(name: &'static str, script: &str, options: &[&str]) -> Res<Self> {
        Self::with_spec(name, script, options, json!({}), json!({}))
    }

    /// The same with more fields of the pod and of its container.
    fn with_spec(
        name: &'static str,
        script: &str,
        options: &[&str],
        pod: Value,
        container: Value,
    ) -> Res<Self> {
        Self::in_dir(Rc::new(tempfile::tempdir()?), name, script, options, pod, container)
    }

    /// The same in a directory, where others may be.
    pub(crate) fn in_dir(
        dir: Rc<TempDir>,
        name: &'static str,
        script: &str,
        options: &[&str],
        pod: Value,
        container: Value,
    ) -> Res<Self> {
        let (pod, manifest) = Self::written(dir, name, script, pod, container)?;
        pod.podrt(&[&["run", "--network", "none"], options, &[&manifest]].concat())?;
        Ok(pod)
    }

    /// One that does not run yet, and its manifest.
    pub(crate) fn written(
        dir: Rc<TempDir>,
        name: &'static str,
        script: &str,
        pod: Value,
        container: Value,
    ) -> Res<(Self, String)> {
        let image = dir.path().join(format!("{name}-image"));
        make_image(&image)?;
        let manifest = dir.path().join(format!("{name}.json"));
        let mut main = json!({ "name": "main", "image": image, "command": ["sh", "-c", script] });
        merge(&mut main, container);
        let mut spec = json!({ "containers": [main] });
        merge(&mut spec, pod);
        let metadata = json!({ "name": name, "namespace": "shop" });
        let document = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        fs::write(&manifest, document.to_string())?;
        Ok((Self { dir, name }, manifest.display().to_string()))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn podrt(&self, arguments: &[&str]) -> Res<()> {
        podrt(&self.root(), arguments)
    }

    /// Until the first process of one that runs [`LEAK`] is the program that does not reap.
    pub(crate) fn wait_for_leak(&self) -> Res<()> {
        let procs = format!("/sys/fs/cgroup/podrt-pods/{}/main/cgroup.procs", self.name);
        until("the zombie", || {
            let pid = fs::read_to_string(&procs)?;
            let comm = fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
            Ok(comm.contains("1000").then_some(()))
        })
    }

    fn exporter(&self) -> Res<Exporter> {
        self.exporter_with(&[])
    }

    fn exporter_with(&self, options: &[&str]) -> Res<Exporter> {
        Exporter::start(&[&["--path.podrt", &self.root().display().to_string()], options].concat())
    }

    pub(crate) fn series(&self, name: &str, labels: &str) -> String {
        let comma = if labels.is_empty() { "" } else { "," };
        format!(
            "podproof_{name}{{namespace=\"shop\",pod=\"{}\",container=\"main\"{comma}{labels}}}",
            self.name
        )
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if let Err(error) = self.podrt(&["rm", "--force", self.name]) {
            eprintln!("the pod {} is left: {error}", self.name);
        }
    }
}

fn merge(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

fn a_zombie_is_shown_under_its_pod() -> Res<()> {
    let pod = Pod::run("leaky", LEAK, &[])?;
    let exporter = pod.exporter()?;
    check_zombie(&pod, &exporter)?;
    let scrape = exporter.scrape()?;
    expect("processes", scrape.get(&pod.series("processes", "")).copied(), Some(1.0))?;
    let (code, page) = exporter.get("/")?;
    expect("code of the landing page", code, 200)?;
    let is_shown = page.lines().any(|line| {
        line.starts_with("<tr class=\"bad\"><td>shop<td>leaky<td>main<td class=\"n\">1<td class=\"n\">1")
    });
    expect("the pod is on the landing page", is_shown, true)?;
    let up = "podproof_sandbox_init_up{namespace=\"shop\",pod=\"leaky\"}";
    expect(up, scrape.get(up).copied(), Some(1.0))?;
    let is_known = |name: &String| {
        name.starts_with("podproof_container_info{namespace=\"shop\",pod=\"leaky\",container=\"main\"")
            && name.contains("container_type=\"app\"")
            && name.contains("runtime=\"podrt\"")
    };
    expect("containers in the identity", scrape.keys().filter(|name| is_known(name)).count(), 1)
}

fn old_zombies_are_in_the_first_scrape() -> Res<()> {
    let pod = Pod::run("older", LEAK, &[])?;
    pod.wait_for_leak()?;
    let exporter = pod.exporter()?;
    let zombies = pod.series("zombie_processes", "parent=\"init\"");
    expect(&zombies, exporter.scrape()?.get(&zombies).copied(), Some(1.0))
}

fn check_zombie(pod: &Pod, exporter: &Exporter) -> Res<()> {
    let zombies = pod.series("zombie_processes", "parent=\"init\"");
    until("the zombie", || Ok(exporter.scrape()?.get(&zombies).copied().filter(|count| *count == 1.0)))?;
    let age = pod.series("zombie_oldest_age_seconds", "");
    let ages = (exporter.scrape()?.get(&age).copied(), exporter.scrape()?.get(&age).copied());
    if ages.0 > Some(0.0) && ages.1 > ages.0 {
        Ok(())
    } else {
        Err(format!("ages of the zombie: {ages:?}").into())
    }
}

fn a_restarted_container_goes_on_counting() -> Res<()> {
    let pod = Pod::run("crashing", "busybox sleep 0.3; exit 1", &["--restart-backoff", "0"])?;
    let exporter = pod.exporter()?;
    let errors = pod.series("init_exits_total", "reason=\"error\"");
    let mut last = 0.0;
    until("three ends of the container", || {
        let Some(count) = exporter.scrape()?.get(&errors).copied() else { return Ok(None) };
        if count < last {
            return Err(format!("{errors} fell from {last} to {count}").into());
        }
        last = count;
        Ok((count >= 3.0).then_some(()))
    })
}

fn pause_reaps_where_pids_are_shared() -> Res<()> {
    let shared = json!({ "shareProcessNamespace": true });
    let pod = Pod::with_spec("sharing", "exec busybox sleep 1000", &[], shared, json!({}))?;
    let exporter = pod.exporter()?;
    // The child of a shell that ends, and which pause adopts.
    pod.podrt(&["exec", "sharing", "-c", "main", "--", "sh", "-c", "busybox sleep 0.5 >/dev/null 2>&1 &"])?;
    let reaps = pod.series("reaps_total", "reaper=\"pause\"");
    until("the reap", || Ok(exporter.scrape()?.get(&reaps).copied().filter(|count| *count >= 1.0)))?;
    let scrape = exporter.scrape()?;
    for (name, labels) in
        [("orphans_reparented_total", "new_parent=\"pause\""), ("reaps_total", "reaper=\"pause\"")]
    {
        let series = pod.series(name, labels);
        expect(&series, scrape.get(&series).copied(), Some(1.0))?;
    }
    for (name, labels) in
        [("orphans_reparented_total", "new_parent=\"init\""), ("reaps_total", "reaper=\"init\"")]
    {
        let series = pod.series(name, labels);
        expect(&series, scrape.get(&series).copied(), Some(0.0))?;
    }
    let started = scrape.get(&pod.series("container_start_time_seconds", "")).copied();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    let is_recent = started.is_some_and(|at| at <= now && at > now - 120.0);
    if is_recent { Ok(()) } else { Err(format!("started at {started:?}, now it is {now}").into()) }
}

fn pause_reaps_nothing_where_pids_are_not_shared() -> Res<()> {
    let pod = Pod::run("apart", "busybox sleep 1000 & wait", &[])?;
    let exporter = pod.exporter()?;
    // The child of a shell that ends, and which the container's own first process adopts.
    pod.podrt(&["exec", "apart", "-c", "main", "--", "sh", "-c", "busybox sleep 0.5 >/dev/null 2>&1 &"])?;
    let reaps = pod.series("reaps_total", "reaper=\"init\"");
    until("the reap", || Ok(exporter.scrape()?.get(&reaps).copied().filter(|count| *count >= 1.0)))?;
    let scrape = exporter.scrape()?;
    for (name, labels, wanted) in [
        ("reaps_total", "reaper=\"init\"", 1.0),
        ("reaps_total", "reaper=\"pause\"", 0.0),
        ("orphans_reparented_total", "new_parent=\"init\"", 1.0),
        ("orphans_reparented_total", "new_parent=\"pause\"", 0.0),
        ("zombie_processes", "parent=\"pause\"", 0.0),
    ] {
        let series = pod.series(name, labels);
        expect(&series, scrape.get(&series).copied(), Some(wanted))?;
    }
    Ok(())
}

fn init_containers_are_told() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let image = dir.path().join("image");
    make_image(&image)?;
    let stays = |name: &str| json!({ "name": name, "image": image, "command": ["busybox", "sleep", "1000"] });
    let mut sidecar = stays("proxy");
    merge(&mut sidecar, json!({ "restartPolicy": "Always" }));
    // The last of these keeps `main` from its begin, which `podrt run` waits for.
    let init = json!({ "initContainers": [sidecar, stays("migrate")] });
    let (pod, manifest) = Pod::written(Rc::new(tempfile::tempdir()?), "staged", "exit 0", init, json!({}))?;
    let program = std::env::var_os("PODRT_POD").ok_or("PODRT_POD is not set")?;
    let mut run = Command::new(program)
        .arg("--root")
        .arg(pod.root())
        .args(["run", "--network", "none", &manifest])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let exporter = pod.exporter()?;
    let kind = |scrape: &BTreeMap<String, f64>, container: &str| {
        let info = pod.series("container_info", "").replace("\"main\"}", &format!("\"{container}\","));
        let labels = scrape.keys().find_map(|name| name.strip_prefix(&info))?;
        Some(labels.split("container_type=\"").nth(1)?.split('"').next()?.to_owned())
    };
    let kinds = until("the containers", || {
        let scrape = exporter.scrape()?;
        Ok(["migrate", "proxy", "POD"]
            .map(|name| kind(&scrape, name))
            .into_iter()
            .collect::<Option<Vec<_>>>())
    })?;
    drop(pod);
    run.wait()?;
    expect("types of containers", kinds, ["init", "app", "sandbox"].map(str::to_owned).to_vec())
}

/// The kernel's BPF statistics are off.
const ABSENT: [&str; 2] = ["podproof_probe_runs_total", "podproof_probe_run_seconds_total"];

fn every_family_is_there() -> Res<()> {
    let limits = json!({ "resources": { "limits": { "cpu": "500m", "memory": "32Mi" } } });
    let pod = Pod::with_spec("whole", "exec busybox sleep 1000", &[], json!({}), limits)?;
    let cgroup = "/sys/fs/cgroup/podrt-pods/whole/main/pids.max";
    fs::write(cgroup, "100")?;
    let exporter = pod.exporter_with(&["--collector.throttle-histogram"])?;
    // A refusal of this process.
    let own = fs::File::open("/proc/self/ns/uts")?;
    expect("setns", setns(&own, CloneFlags::CLONE_NEWNET).is_err(), true)?;
    let status = Command::new("/bin/busybox").args(["unshare", "-u", "/bin/busybox", "true"]).status()?;
    expect("unshare", status.code(), Some(0))?;
    let limit = pod.series("pids_limit", "");
    until("the container", || Ok(exporter.scrape()?.get(&limit).copied()))?;
    let (_code, text) = exporter.get("/metrics")?;
    let absent = ABSENT.map(|name| format!("{name} is missing"));
    let others: Vec<String> = differences(&text)?.into_iter().filter(|it| !absent.contains(it)).collect();
    expect("differences from the golden list", others, vec![])?;
    // The check itself.
    for (from, to, told) in [
        (
            "# TYPE podproof_pids gauge",
            "# TYPE podproof_pids counter",
            "podproof_pids is a counter, not a gauge",
        ),
        (
            "podproof_map_entries{map=",
            "podproof_map_entries{maps=",
            "{maps=\"counters\"} is not as its family is",
        ),
        (
            "\npodproof_series ",
            "\npodproof_series{pod=\"\"} ",
            "podproof_series{pod=\"\"} is not as its family is",
        ),
    ] {
        let other = differences(&text.replace(from, to))?;
        expect(&format!("{other:?}: {told}"), other.iter().any(|it| it.contains(told)), true)?;
    }
    Ok(())
}

fn a_label_is_dropped() -> Res<()> {
    let pod = Pod::run("merged", LEAK, &[])?;
    let exporter = pod.exporter_with(&["--labels.drop", "container"])?;
    let of =
        |name: &str, labels: &str| pod.series(name, labels).replace("container=\"main\"", "container=\"\"");
    let zombies = of("zombie_processes", "parent=\"init\"");
    until("the zombie", || Ok(exporter.scrape()?.get(&zombies).copied().filter(|count| *count == 1.0)))?;
    let scrape = exporter.scrape()?;
    // The container's one, and pause.
    let processes = of("processes", "");
    expect(&processes, scrape.get(&processes).copied(), Some(2.0))?;
    let up = "podproof_sandbox_init_up{namespace=\"shop\",pod=\"merged\"}";
    expect(up, scrape.get(up).copied(), Some(1.0))?;
    let others = scrape.keys().filter(|name| name.contains("pod=\"merged\"") && name.contains("container"));
    let others: Vec<&String> = others.filter(|name| !name.contains("container=\"\"")).collect();
    expect("series of single containers", others, vec![])
}
