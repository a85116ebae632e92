//! The guest's mount table and its cgroup controllers.

use std::fs;

use nix::mount::{MsFlags, mount};
use vm_init::MountSpec;

use crate::step::{Failure, Step};

struct Fixed {
    fstype: &'static str,
    target: &'static str,
    flags: MsFlags,
    options: &'static str,
    /// Whether a kernel without this filesystem is still of use.
    optional: bool,
}

const fn fixed(fstype: &'static str, target: &'static str, flags: MsFlags, options: &'static str) -> Fixed {
    Fixed { fstype, target, flags, options, optional: false }
}

const fn optional(fstype: &'static str, target: &'static str) -> Fixed {
    Fixed { fstype, target, flags: SAFE, options: "", optional: true }
}

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
const NO_DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// In this order: later targets lie inside earlier ones. Flags and options as service managers choose them.
const TABLE: &[Fixed] = &[
    fixed("proc", "/proc", SAFE, ""),
    fixed("sysfs", "/sys", SAFE, ""),
    fixed("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
    fixed("devpts", "/dev/pts", MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC), "mode=0620,ptmxmode=0666"),
    fixed("tmpfs", "/dev/shm", NO_DEVICES, "mode=1777"),
    optional("mqueue", "/dev/mqueue"),
    fixed("tmpfs", "/run", NO_DEVICES, "mode=0755"),
    fixed("tmpfs", "/tmp", NO_DEVICES, "mode=1777"),
    fixed("cgroup2", "/sys/fs/cgroup", SAFE, "nsdelegate,memory_recursiveprot"),
    optional("bpf", "/sys/fs/bpf"),
    optional("tracefs", "/sys/kernel/tracing"),
    optional("debugfs", "/sys/kernel/debug"),
];

/// devtmpfs has no links; programs expect these four.
const DEV_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Mounts the fixed table and what the configuration adds; gives what was optional and refused.
pub(crate) fn mount_all(extra: &[MountSpec]) -> Result<Vec<String>, Failure> {
    let mut degraded = Vec::new();
    for entry in TABLE {
        match one(entry.fstype, entry.fstype, entry.target, entry.flags, entry.options) {
            Err(failure) if entry.optional => degraded.push(failure.to_string()),
            other => other?,
        }
    }
    for (target, link) in DEV_LINKS {
        std::os::unix::fs::symlink(target, link).step("link", link)?;
    }
    for spec in extra {
        let flags = if spec.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        one(&spec.source, &spec.fstype, &spec.target, flags, &spec.options)?;
    }
    Ok(degraded)
}

fn one(source: &str, fstype: &str, target: &str, flags: MsFlags, options: &str) -> Result<(), Failure> {
    // sysfs and cgroupfs have their mount points ready and refuse to create them.
    if !std::path::Path::new(target).is_dir() {
        fs::create_dir_all(target).step("create mount point", target)?;
    }
    mount(Some(source), target, Some(fstype), flags, Some(options))
        .map_err(|errno| Failure::new("mount", format!("{fstype} on {target}"), errno))
}

/// Controllers that the suite and the runtimes use.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Enables the controllers for the children of the root cgroup, each on its own: one that this kernel lacks
/// must not take the others with it. Gives those that are enabled afterwards.
pub(crate) fn enable_controllers(degraded: &mut Vec<String>) -> Vec<String> {
    const SUBTREE: &str = "/sys/fs/cgroup/cgroup.subtree_control";
    for controller in CONTROLLERS {
        if let Err(failure) =
            fs::write(SUBTREE, format!("+{controller}")).step("enable controller", controller)
        {
            degraded.push(failure.to_string());
        }
    }
    match fs::read_to_string(SUBTREE) {
        Ok(text) => text.split_whitespace().map(str::to_owned).collect(),
        Err(error) => {
            degraded.push(format!("read {SUBTREE}: {error}"));
            Vec::new()
        }
    }
}
