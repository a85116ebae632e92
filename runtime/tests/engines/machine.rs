//! The machine around the engines: commands, root file systems of busybox, and what was there before a test.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::fail;

const BUSYBOX: &str = "/bin/busybox";
const CGROUPS: &str = "/sys/fs/cgroup";

/// What may take a moment on a loaded or emulated machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Programs of busybox that the tests use in containers.
const APPLETS: [&str; 13] =
    ["cat", "echo", "hostname", "httpd", "id", "kill", "pwd", "sh", "sleep", "tail", "touch", "tty", "wget"];

/// The runtime that the engines drive.
pub(crate) fn runtime() -> String {
    std::env::var("PODRT").unwrap_or_else(|_unset| "/bin/podrt".to_owned())
}

/// Runs a command to its end without input.
pub(crate) fn output(program: &str, args: &[&str]) -> Result<Output, Failed> {
    Ok(Command::new(program).args(args).stdin(Stdio::null()).output()?)
}

/// What an ended command said, in the words of a failed test.
pub(crate) fn told(what: &str, output: &Output) -> String {
    let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!("{what}: {}\nstdout: {}\nstderr: {}", output.status, said(&output.stdout), said(&output.stderr))
}

/// Runs a command, which must end with this code, and returns its standard output.
pub(crate) fn ends_with(code: i32, program: &str, args: &[&str]) -> Result<String, Failed> {
    let output = output(program, args)?;
    if output.status.code() != Some(code) {
        return fail(format!("instead of {code}: {}", told(&format!("{program} {args:?}"), &output)));
    }
    Ok(String::from_utf8(output.stdout)?.replace('\r', ""))
}

/// Compares what is with what should be.
pub(crate) fn expect(what: &str, is: impl AsRef<str>, should: &str) -> Result<(), Failed> {
    let is = is.as_ref().trim_end();
    if is != should {
        return fail(format!("{what} is {is:?} instead of {should:?}"));
    }
    Ok(())
}

/// Asks again until the answer has this in it.
pub(crate) fn until(wanted: &str, ask: impl Fn() -> Result<String, Failed>) -> Result<(), Failed> {
    let since = Instant::now();
    loop {
        let answer = ask()?;
        if answer.contains(wanted) {
            return Ok(());
        }
        if since.elapsed() > DEADLINE {
            return fail(format!("no {wanted:?} within {DEADLINE:?}, but {answer:?}"));
        }
    }
}

/// A root file system of busybox, made once, which tests do not change.
pub(crate) fn rootfs() -> Result<PathBuf, Failed> {
    let root = PathBuf::from("/run/busybox");
    if root.is_dir() {
        return Ok(root);
    }
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "www"] {
        fs::create_dir_all(root.join(dir))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox"))?;
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    fs::write(root.join("www/page"), "served\n")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/home-of-root:/bin/sh\n")?;
    Ok(root)
}

/// The same as a tar archive.
pub(crate) fn archive() -> Result<PathBuf, Failed> {
    let (root, path) = (rootfs()?, PathBuf::from("/run/busybox.tar"));
    if !path.exists() {
        let root = root.display().to_string();
        ends_with(0, BUSYBOX, &["tar", "-c", "-C", &root, "-f", &path.display().to_string(), "."])?;
    }
    Ok(path)
}

/// A file of the cgroup that a process is in.
pub(crate) fn cgroup_file(pid: &str, name: &str) -> Result<String, Failed> {
    Ok(fs::read_to_string(cgroup_of(pid)?.join(name))?.trim_end().to_owned())
}

/// The directory of the cgroup that a process is in.
pub(crate) fn cgroup_of(pid: &str) -> Result<PathBuf, Failed> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"));
    match path {
        Some(path) => Ok(Path::new(CGROUPS).join(path)),
        None => fail(format!("process {pid} is in no cgroup of version 2: {text}")),
    }
}

/// What names a namespace: its type and inode.
pub(crate) fn namespace(pid: &str, name: &str) -> Result<String, Failed> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{name}"))?.display().to_string())
}

/// What containers could leave behind.
#[derive(Debug)]
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Takes the mounts, the cgroups and the state of podrt.
    pub(crate) fn take() -> Result<Self, Failed> {
        let mut found = BTreeSet::new();
        for line in fs::read_to_string("/proc/self/mountinfo")?.lines() {
            let point = line.split(' ').nth(4).unwrap_or_default();
            found.insert(format!("mount {point}"));
        }
        cgroups(Path::new(CGROUPS), &mut found)?;
        for entry in fs::read_dir("/run/podrt").into_iter().flatten() {
            found.insert(format!("state {}", entry?.path().display()));
        }
        Ok(Self(found))
    }

    /// Fails if there is more than before.
    pub(crate) fn expect_nothing_new(&self) -> Result<(), Failed> {
        let after = Self::take()?;
        let new: Vec<&str> = after.0.difference(&self.0).map(String::as_str).collect();
        if new.is_empty() { Ok(()) } else { fail(format!("left behind: {}", new.join(", "))) }
    }
}

fn cgroups(dir: &Path, found: &mut BTreeSet<String>) -> Result<(), Failed> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // podman makes one of its own to try what there is, and keeps it.
        if entry.file_type()?.is_dir() && entry.file_name() != "podman_probe" {
            found.insert(format!("cgroup {}", entry.path().display()));
            cgroups(&entry.path(), found)?;
        }
    }
    Ok(())
}
