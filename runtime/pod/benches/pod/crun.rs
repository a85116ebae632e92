//! The calls of crun that make and end the same containers, with nobody around them.
//!
//! Their configurations are those that podrt makes for its pod, with other directories, another cgroup and another sandbox. What
//! podrt does beside the containers is missing: overlays, /dev/shm, logs, state of a pod, and somebody who stays.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use runtime::sys::process::{pidfd_open, wait_end};
use serde_json::{Value, json};

use crate::Subject;
use crate::measure::{Res, timed};
use crate::node::{self, DIR};
use crate::podrt::{CGROUP, Podrt};

const SANDBOX: &str = "_sandbox";
const CONTAINERS: [&str; 2] = ["first", "second"];
/// The version of the runtime specification that crun 1.8 knows; it refuses others, and nothing in these configurations is newer.
const VERSION: &str = "1.0.2";
const DEADLINE: Duration = Duration::from_secs(60);

/// crun, and the bundles.
#[derive(Debug)]
pub(crate) struct Crun {
    program: PathBuf,
    dir: PathBuf,
}

impl Crun {
    /// Takes the configurations of a pod that podrt runs for it, and makes what they mount.
    pub(crate) fn new(program: &Path, podrt: &Podrt, image: &Path) -> Res<Self> {
        let crun = Self { program: program.to_owned(), dir: Path::new(DIR).join("crun") };
        let pod = crun.dir.join("pod");
        let theirs = podrt.pod_dir();
        for dir in ["etc", "messages", "shm"] {
            fs::create_dir_all(pod.join(dir))?;
        }
        podrt.start()?;
        for name in ["hosts", "hostname", "resolv.conf"] {
            fs::copy(theirs.join("etc").join(name), pod.join("etc").join(name))?;
        }
        for name in CONTAINERS.iter().chain([&SANDBOX]) {
            fs::write(pod.join("messages").join(name), "")?;
            let (bundle, root) = (crun.bundle(name), crun.bundle(name).join("rootfs"));
            fs::create_dir_all(&bundle)?;
            if *name == SANDBOX {
                // crun makes devices in any case.
                fs::create_dir_all(root.join("dev"))?;
                fs::copy(image.join("bin/pause"), root.join("pause"))?;
            } else {
                copy(image, &root)?;
            }
            let text = fs::read_to_string(theirs.join("bundles").join(name).join("config.json"))?;
            let text = text.replace(&theirs.display().to_string(), &pod.display().to_string());
            let mut config: Value = serde_json::from_str(&text.replace(CGROUP, "/crun-pods"))?;
            config["ociVersion"] = json!(VERSION);
            if config["mounts"].is_null() {
                // crun asks for the word.
                config["mounts"] = json!([]);
            }
            fs::write(bundle.join("config.json"), config.to_string())?;
        }
        podrt.stop()?;
        node::expect_programs(0)?;
        Ok(crun)
    }

    fn bundle(&self, name: &str) -> PathBuf {
        self.dir.join("bundles").join(name)
    }

    fn call(&self, args: &[&str]) -> Res<u64> {
        let state = self.dir.join("state");
        fs::create_dir_all(&state)?;
        timed(Command::new(&self.program).arg("--root").arg(state).args(args))
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("pid")
    }

    fn pid(&self, name: &str) -> Res<i32> {
        Ok(fs::read_to_string(self.pid_file(name))?.trim().parse()?)
    }

    fn start_one(&self, name: &str) -> Res<u64> {
        let (bundle, file) = (self.bundle(name).display().to_string(), self.pid_file(name));
        let file = file.display().to_string();
        let create = self.call(&["create", "--bundle", &bundle, "--pid-file", &file, name])?;
        Ok(create + self.call(&["start", name])?)
    }

    /// Lets a container join the namespaces of this process.
    fn join(&self, name: &str, sandbox: i32) -> Res<()> {
        let path = self.bundle(name).join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        for namespace in config["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
            let file = namespace["path"].as_str().and_then(|path| path.rsplit('/').next());
            if let Some(file) = file.map(str::to_owned) {
                namespace["path"] = json!(format!("/proc/{sandbox}/ns/{file}"));
            }
        }
        Ok(fs::write(path, config.to_string())?)
    }

    /// Asks these to end, waits until they have, and deletes them; how long that took.
    fn end(&self, names: &[&str]) -> Res<u64> {
        let mut ns = 0;
        let mut ends = Vec::new();
        for name in names {
            ends.push(pidfd_open(Pid::from_raw(self.pid(name)?))?);
            ns += self.call(&["kill", name, "TERM"])?;
        }
        let since = Instant::now();
        for end in ends {
            if !wait_end(end.as_fd(), DEADLINE)? {
                return Err(format!("a container of crun does not end within {DEADLINE:?}").into());
            }
        }
        ns += u64::try_from(since.elapsed().as_nanos())?;
        for name in names {
            ns += self.call(&["delete", name])?;
        }
        Ok(ns)
    }
}

impl Subject for Crun {
    fn name(&self) -> &'static str {
        "crun"
    }

    fn start(&self) -> Res<u64> {
        let mut ns = self.start_one(SANDBOX)?;
        let sandbox = self.pid(SANDBOX)?;
        for name in CONTAINERS {
            self.join(name, sandbox)?;
            ns += self.start_one(name)?;
        }
        Ok(ns)
    }

    fn stop(&self) -> Res<u64> {
        Ok(self.end(&CONTAINERS)? + self.end(&[SANDBOX])?)
    }
}

/// Copies a directory of directories and files.
fn copy(from: &Path, to: &Path) -> Res<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
