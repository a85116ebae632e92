//! Pods by `podman pod`, with crun as its runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Subject;
use crate::measure::{Res, timed};
use crate::node::{DIR, PROGRAM};

const IMAGE: &str = "localhost/bench";
const POD: &str = "bench";

/// podman, which has the image.
#[derive(Debug)]
pub(crate) struct Podman {
    program: PathBuf,
    crun: PathBuf,
}

impl Podman {
    pub(crate) fn new(program: &Path, crun: &Path, busybox: &Path, image: &Path) -> Res<Self> {
        let podman = Self { program: program.to_owned(), crun: crun.to_owned() };
        let archive = Path::new(DIR).join("image.tar");
        let mut tar = Command::new(busybox);
        timed(tar.args(["tar", "-c", "-C"]).arg(image).arg("-f").arg(&archive).arg("."))?;
        podman.call(&["import", &archive.display().to_string(), IMAGE])?;
        fs::remove_file(archive)?;
        Ok(podman)
    }

    fn call(&self, args: &[&str]) -> Res<u64> {
        timed(Command::new(&self.program).arg("--runtime").arg(&self.crun).args(args))
    }
}

impl Subject for Podman {
    fn name(&self) -> &'static str {
        "podman"
    }

    fn start(&self) -> Res<u64> {
        // The cgroup that podman 4.3 makes for a pod without systemd denies all devices, so that no runtime can make
        // /dev/null in it: the containers have no parent in common.
        let create = ["pod", "create", "--name", POD, "--network", "none", "--share", "net,ipc,uts"];
        let infra = ["--share-parent=false", "--infra-image", IMAGE, "--infra-command", PROGRAM];
        let mut ns = self.call(&[create.as_slice(), &infra].concat())?;
        for name in ["first", "second"] {
            ns += self.call(&["run", "--detach", "--pod", POD, "--name", name, IMAGE, PROGRAM])?;
        }
        Ok(ns)
    }

    fn stop(&self) -> Res<u64> {
        Ok(self.call(&["pod", "stop", POD])? + self.call(&["pod", "rm", POD])?)
    }
}
