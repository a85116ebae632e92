//! Pods of podrt, and what goes wrong in each.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::all_processes;
use serde_json::{Map, Value, json};

use crate::PATIENCE;
use crate::support::{Res, make_image, podrt, until};

/// That of what is shown.
pub(crate) const NAMESPACE: &str = "demo";
const CGROUPS: &str = "/sys/fs/cgroup/podrt-pods";

/// A pod with one container, `main`.
pub(crate) struct Scene {
    pub(crate) pod: &'static str,
    /// What is wrong with it, for people.
    pub(crate) what: &'static str,
    script: &'static str,
    /// Limits of memory and of CPU, in Kubernetes' notation.
    limits: &'static [(&'static str, &'static str)],
    /// What is done to it once it runs.
    then: Then,
    /// The alerts that it sets off.
    pub(crate) alerts: &'static [&'static str],
}

enum Then {
    Nothing,
    /// A file of its container's cgroup is written.
    Write(&'static str, &'static str),
    /// The sandbox's process is killed while the pod's supervisor looks away.
    KillSandbox,
}

pub(crate) const SCENES: &[Scene] = &[
    Scene {
        pod: "leaky",
        what: "PID 1 inherits two orphans a second and never waits",
        script: "(while :; do (busybox true &); busybox sleep 0.5; done) & exec busybox sleep 100000",
        limits: &[],
        then: Then::Nothing,
        alerts: &["ReaperStalled", "ZombieStuck", "ZombiesAccumulating"],
    },
    Scene {
        pod: "orphaned",
        what: "its sandbox is killed, and its container runs on",
        script: "exec busybox sleep 100000",
        limits: &[],
        then: Then::KillSandbox,
        // Nobody waits for the sandbox either.
        alerts: &["PauseDied", "ZombieStuck"],
    },
    Scene {
        pod: "crashing",
        what: "PID 1 fails, again and again",
        script: "busybox sleep 1; exit 1",
        limits: &[],
        then: Then::Nothing,
        alerts: &["InitCrashLoop"],
    },
    Scene {
        pod: "crowded",
        what: "19 tasks of 20",
        script: "i=0; while [ $i -lt 18 ]; do busybox sleep 100000 & i=$((i+1)); done; wait",
        limits: &[],
        then: Then::Write("pids.max", "20"),
        alerts: &["TaskLimitNear"],
    },
    Scene {
        pod: "greedy",
        what: "children are killed for their memory, and PID 1 lives on",
        script: "while :; do busybox sleep 3; sh -c 'x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done'; done",
        limits: &[("memory", "24Mi"), ("cpu", "200m")],
        // podrt lets the whole container end, as the kubelet does by default.
        then: Then::Write("memory.oom.group", "0"),
        alerts: &["HiddenOOM", "OOMLoop"],
    },
    Scene {
        pod: "nosy",
        what: "makes user namespaces, and is refused others",
        script: "while :; do busybox sleep 3; busybox unshare -U busybox true; busybox unshare -m busybox true; done",
        limits: &[],
        then: Then::Nothing,
        alerts: &["UnexpectedNamespaceEntry"],
    },
    Scene {
        pod: "forking",
        what: "makes processes as fast as it can, after half a minute of rest",
        script: "busybox sleep 30; (while :; do (:); done) & while :; do (:); done",
        limits: &[],
        // Prometheus and the exporter need a processor too.
        then: Then::Write("cpu.max", "30000 100000"),
        alerts: &["ForkStorm"],
    },
];

/// Makes processes all the time, and counts them in a file; nothing is wrong with it.
pub(crate) const STEADY: Scene = Scene {
    pod: "steady",
    what: "makes some processes a second",
    script: "n=0; while :; do busybox true; busybox sleep 0.4; n=$((n+2)); echo $n > /forked; done",
    limits: &[],
    then: Then::Nothing,
    alerts: &[],
};

/// The pods of a directory; removed with it.
pub(crate) struct Pods {
    dir: PathBuf,
}

impl Pods {
    /// Makes the image that all of them have.
    pub(crate) fn new(dir: &Path) -> Res<Self> {
        make_image(&dir.join("image"))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// podrt's directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    pub(crate) fn run(&self, scene: &Scene) -> Res<()> {
        let limits = scene.limits.iter().map(|(name, limit)| ((*name).to_owned(), json!(limit)));
        self.start(NAMESPACE, scene.pod, scene.script, &limits.collect())?;
        let cgroup = Path::new(CGROUPS).join(scene.pod);
        match scene.then {
            Then::Nothing => {}
            Then::Write(file, value) => fs::write(cgroup.join("main").join(file), value)?,
            Then::KillSandbox => {
                kill(supervisor(scene.pod)?, Signal::SIGSTOP)?;
                let sandbox = fs::read_to_string(cgroup.join("_sandbox/cgroup.procs"))?;
                kill(Pid::from_raw(sandbox.trim().parse()?), Signal::SIGKILL)?;
            }
        }
        Ok(())
    }

    /// Starts a pod whose container, `main`, runs this script under these limits.
    pub(crate) fn start(
        &self,
        namespace: &str,
        pod: &str,
        script: &str,
        limits: &Map<String, Value>,
    ) -> Res<()> {
        let document = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod, "namespace": namespace },
            "spec": { "containers": [{
                "name": "main", "image": self.dir.join("image"), "command": ["sh", "-c", script],
                "resources": { "limits": limits },
            }] },
        });
        let manifest = self.dir.join(format!("{pod}.json"));
        fs::write(&manifest, document.to_string())?;
        let manifest = manifest.display().to_string();
        self.podrt(&["run", "--network", "none", "--restart-backoff", "0", &manifest])
    }

    pub(crate) fn remove(&self, scene: &Scene) -> Res<()> {
        if matches!(scene.then, Then::KillSandbox) {
            kill(supervisor(scene.pod)?, Signal::SIGCONT)?;
        }
        self.end(scene.pod)
    }

    /// Ends a pod, and what it left.
    pub(crate) fn end(&self, pod: &str) -> Res<()> {
        self.podrt(&["rm", "--force", pod])
    }

    fn podrt(&self, arguments: &[&str]) -> Res<()> {
        podrt(&self.root(), arguments)
    }
}

/// How many processes [`STEADY`] has made so far; it may have made two more.
pub(crate) fn forked() -> Res<u32> {
    let procs = Path::new(CGROUPS).join(STEADY.pod).join("main/cgroup.procs");
    until("the count of the processes made", PATIENCE, || {
        // The process may just have ended, and the file may just be written.
        let count =
            |tgid: &str| fs::read_to_string(format!("/proc/{tgid}/root/forked")).ok()?.trim().parse().ok();
        Ok(fs::read_to_string(&procs)?.lines().find_map(count))
    })
}

/// The process of podrt that stays with a pod.
fn supervisor(pod: &str) -> Res<Pid> {
    let is_it = |words: &[String]| words.ends_with(&["supervise".to_owned(), pod.to_owned()]);
    let found = all_processes()?.flatten().find(|process| process.cmdline().is_ok_and(|words| is_it(&words)));
    Ok(Pid::from_raw(found.ok_or_else(|| format!("{pod} has no supervisor"))?.pid))
}
