//! Pods as a kubelet leaves them on its node: cgroups by either of its drivers, and names of logs. No runtime is asked.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::container::{run, shell};
use crate::exporter::{Exporter, until};
use crate::process::Process;
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("kubelet::a_sandbox_is_known_by_what_is_beside_it", a_sandbox_is_known_by_what_is_beside_it),
    ("kubelet::a_pause_process_is_enough_where_nothing_is_beside_it", a_pause_process_is_enough),
    ("kubelet::what_is_shown_together_does_not_fall_when_a_part_of_it_ends", sums_do_not_fall),
];

const CGROUPS: &str = "/sys/fs/cgroup";
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
const SLEEP: [&str; 2] = ["sleep", "1000"];

/// How a kubelet names cgroups.
#[derive(Clone, Copy)]
enum Driver {
    Cgroupfs,
    Systemd,
}

/// The pod `web-0` of the namespace `shop`; its cgroups are removed with the test, once they are empty.
struct Pod {
    driver: Driver,
    logs: TempDir,
}

impl Pod {
    fn new(driver: Driver) -> Res<Self> {
        let pod = Self { driver, logs: tempfile::tempdir()? };
        fs::create_dir_all(pod.logs.path().join(format!("pods/shop_web-0_{UID}")))?;
        fs::create_dir_all(pod.logs.path().join("containers"))?;
        fs::create_dir_all(pod.cgroup())?;
        Ok(pod)
    }

    fn cgroup(&self) -> PathBuf {
        let path = match self.driver {
            Driver::Cgroupfs => format!("kubepods/burstable/pod{UID}"),
            Driver::Systemd => format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
                UID.replace('-', "_")
            ),
        };
        Path::new(CGROUPS).join(path)
    }

    /// Makes the cgroup of a container, whose id is of this digit.
    fn container(&self, digit: &str) -> Res<PathBuf> {
        let id = digit.repeat(64);
        let path = self.cgroup().join(match self.driver {
            Driver::Cgroupfs => id,
            Driver::Systemd => format!("cri-containerd-{id}.scope"),
        });
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Gives it a log, and with it a name.
    fn log(&self, digit: &str, name: &str) -> Res<()> {
        let link = format!("containers/web-0_shop_{name}-{}.log", digit.repeat(64));
        Ok(symlink("0.log", self.logs.path().join(link))?)
    }

    fn exporter(&self, options: &[&str]) -> Res<Exporter> {
        let logs = self.logs.path().display().to_string();
        Exporter::start(&[&["--path.logs", &logs, "--metadata.wait", "1s"], options].concat())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let cgroup = self.cgroup();
        for entry in fs::read_dir(&cgroup).into_iter().flatten().flatten() {
            // Its files go with it.
            _ = fs::remove_dir(entry.path());
        }
        for above in cgroup.ancestors().take_while(|above| *above != Path::new(CGROUPS)) {
            _ = fs::remove_dir(above);
        }
    }
}

fn series(name: &str, container: &str) -> String {
    format!("podproof_{name}{{namespace=\"shop\",pod=\"web-0\",container=\"{container}\"}}")
}

const UP: &str = "podproof_sandbox_init_up{namespace=\"shop\",pod=\"web-0\"}";

/// The type of a container, by its name and the digit of its id.
fn kind(scrape: &BTreeMap<String, f64>, container: &str, digit: &str) -> Option<String> {
    let head = format!(
        "podproof_container_info{{namespace=\"shop\",pod=\"web-0\",container=\"{container}\",container_id=\"{}\",pod_uid=\"{UID}\",container_type=\"",
        digit.repeat(64)
    );
    let rest = scrape.keys().find_map(|name| name.strip_prefix(&head))?;
    rest.split('"').next().map(str::to_owned)
}

fn a_sandbox_is_known_by_what_is_beside_it() -> Res<()> {
    for driver in [Driver::Cgroupfs, Driver::Systemd] {
        let pod = Pod::new(driver)?;
        let exporter = pod.exporter(&[])?;
        pod.log("1", "nginx")?;
        let cgroups = [pod.container("d")?, pod.container("1")?, pod.container("2")?];
        let mut sleepers = Vec::new();
        for cgroup in &cgroups {
            sleepers.push(Process::start(&SLEEP, cgroup)?);
        }
        // The third has no log yet, as an ephemeral container may have for a moment.
        let short = "2".repeat(12);
        let late = short.as_str();
        let names = [("POD", "d"), ("nginx", "1"), (late, "2")];
        let (scrape, kinds) = until("the containers", || {
            let scrape = exporter.scrape()?;
            let kinds =
                names.iter().map(|(name, digit)| kind(&scrape, name, digit)).collect::<Option<Vec<_>>>();
            Ok(kinds.map(|kinds| (scrape, kinds)))
        })?;
        expect("types", kinds, ["sandbox", "app", "app"].map(str::to_owned).to_vec())?;
        expect(UP, scrape.get(UP).copied(), Some(1.0))?;
        let processes = |scrape: &BTreeMap<_, _>| {
            ["POD", "nginx", late].map(|name| scrape.get(&series("processes", name)).copied())
        };
        expect("processes", processes(&scrape), [Some(1.0); 3])?;
        pod.log("2", "debug")?;
        let _another = pod.container("3")?;
        until("the name of the third", || Ok(kind(&exporter.scrape()?, "debug", "2")))?;
        // The expression of the alert PauseDied.
        drop(sleepers.remove(0));
        let scrape = until("the end of the sandbox", || {
            let scrape = exporter.scrape()?;
            Ok((scrape.get(UP) == Some(&0.0)).then_some(scrape))
        })?;
        expect("processes", processes(&scrape), [Some(0.0), Some(1.0), None])?;
        drop(sleepers);
    }
    Ok(())
}

fn a_pause_process_is_enough() -> Res<()> {
    let pod = Pod::new(Driver::Systemd)?;
    let program = pod.logs.path().join("pause");
    fs::copy("/bin/busybox", &program)?;
    let [pause, other] = [pod.container("d")?, pod.container("1")?];
    let _sleepers = [
        Process::of(Command::new(&program).arg0("busybox").args(SLEEP), &pause)?,
        // It is younger, whatever it is called.
        Process::of(Command::new(&program).arg0("busybox").args(SLEEP), &other)?,
    ];
    let exporter = pod.exporter(&[])?;
    let short = "1".repeat(12);
    let kinds = until("the containers", || {
        let scrape = exporter.scrape()?;
        Ok(kind(&scrape, "POD", "d").zip(kind(&scrape, &short, "1")))
    })?;
    expect("types", kinds, ("sandbox".to_owned(), "app".to_owned()))?;
    expect(UP, exporter.scrape()?.get(UP).copied(), Some(1.0))
}

/// What only grows, of the pod `web-0` or its whole namespace.
fn counters(scrape: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let is_counter =
        |name: &str| ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end));
    let is_own = |name: &str| {
        name.split_once('{')
            .is_some_and(|(family, labels)| is_counter(family) && labels.starts_with("namespace=\"shop\""))
    };
    scrape.iter().filter(|(name, _)| is_own(name)).map(|(name, value)| (name.clone(), *value)).collect()
}

fn sums_do_not_fall() -> Res<()> {
    for (label, shown) in [("container", "web-0"), ("pod", "")] {
        let pod = Pod::new(Driver::Cgroupfs)?;
        let [first, second] = [pod.container("1")?, pod.container("2")?];
        pod.log("1", "nginx")?;
        pod.log("2", "proxy")?;
        let cgroup = pod.cgroup();
        let mut levels: Vec<&Path> =
            cgroup.ancestors().take_while(|level| level.starts_with(CGROUPS)).collect();
        // A controller comes from above.
        levels.reverse();
        for level in levels {
            fs::write(level.join("cgroup.subtree_control"), "+cpu")?;
        }
        fs::write(first.join("cpu.max"), "20000 100000")?;
        let exporter = pod.exporter(&["--labels.drop", label, "--retention.deleted", "2s"])?;
        let series =
            |name: &str| format!("podproof_{name}{{namespace=\"shop\",pod=\"{shown}\",container=\"\"}}");
        let [execs, ages, periods] =
            ["execs_total", "zombie_duration_seconds_count", "cpu_periods_total"].map(series);
        until("the containers", || Ok(exporter.scrape()?.get(&execs).copied()))?;
        run(&first, "i=0; while [ $i -lt 10 ]; do /bin/busybox true; i=$((i+1)); done")?;
        run(&second, "/bin/busybox true")?;
        let busy = Process(shell(&first, "while :; do :; done").spawn()?);
        until("periods", || Ok(exporter.scrape()?.get(&periods).copied().filter(|n| *n >= 3.0)))?;
        drop(busy);
        let mut last = counters(&exporter.scrape()?);
        expect("execs", last.get(&execs).copied(), Some(11.0))?;
        fs::remove_dir(&first)?;
        until("the end of its retention", || {
            let scrape = exporter.scrape()?;
            let now = counters(&scrape);
            for (name, before) in &last {
                match now.get(name) {
                    Some(value) if value >= before => {}
                    found => return Err(format!("{name} fell from {before} to {found:?}").into()),
                }
            }
            last = now;
            Ok((scrape.get("podproof_tombstones") == Some(&0.0)).then_some(()))
        })?;
        let kept = [&execs, &ages, &periods].map(|name| last.get(name).copied());
        // The shells, and what they started.
        let is_kept = kept[0] == Some(11.0) && kept[1] >= Some(13.0) && kept[2] >= Some(3.0);
        expect(&format!("execs, zombies and periods are kept: {kept:?}"), is_kept, true)?;
        // Without any of them nothing is kept.
        drop(pod);
        until("the end of the sum", || {
            let scrape = exporter.scrape()?;
            Ok(counters(&scrape).is_empty().then_some(()))
        })?;
    }
    Ok(())
}
