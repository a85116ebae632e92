//! Namespaces that live without a process: kept by bind mounts (namespaces(7)) in the directory that the suite shares with all
//! containers of a cell.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::base::Base;
use crate::call::Call;
use crate::pod_layer;

/// What can be kept.
pub(crate) const KINDS: [(&str, CloneFlags); 4] = [
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
];

/// The file that a namespace of this kind is kept by.
pub(crate) fn file(shared: &Path, kind: &str) -> PathBuf {
    shared.join(format!("kept-{kind}"))
}

/// Keeps these namespaces of the caller for the pod that the call is to make.
pub(crate) fn keep(call: &Call, kinds: &[&str]) -> Result<()> {
    let manifest = pod_layer::manifest(call)?;
    let shared = manifest["spec"]["volumes"][0]["hostPath"]["path"].as_str();
    let shared = Path::new(shared.context("the suite shares a directory with the pod")?);
    let memory = memory(call)?;
    fs::write(&memory, shared.display().to_string())
        .with_context(|| format!("write {}", memory.display()))?;
    let none: Option<&str> = None;
    for kind in kinds {
        let (from, to) = (own(kind), file(shared, kind));
        if to.exists() {
            // Another pod of the cell has kept it.
            continue;
        }
        fs::write(&to, "").with_context(|| format!("make {}", to.display()))?;
        mount(Some(from.as_str()), &to, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("mount {from} on {}", to.display()))?;
    }
    Ok(())
}

/// Keeps new ones, which nobody is in.
pub(crate) fn keep_new(call: &Call, kinds: &[&str]) -> Result<()> {
    let wanted = || KINDS.into_iter().filter(|(kind, _)| kinds.contains(kind));
    let open =
        |(kind, flag)| Ok((File::open(own(kind)).with_context(|| format!("open {}", own(kind)))?, flag));
    let before = wanted().map(open).collect::<Result<Vec<_>>>()?;
    unshare(wanted().map(|(_, flag)| flag).collect()).context("unshare what is to be kept")?;
    let kept = keep(call, kinds);
    for (file, flag) in before {
        setns(file, flag).context("come back to the own namespaces")?;
    }
    kept
}

/// Passes a call on; with the pod, what was kept for it goes.
pub(crate) fn pass(call: &Call, base: &Base) -> Result<u8> {
    let code = base.pass(call)?;
    if pod_layer::verb(call) == Some("rm")
        && let Ok(shared) = fs::read_to_string(memory(call)?)
    {
        for (kind, _) in KINDS {
            let path = file(Path::new(&shared), kind);
            if path.exists() {
                umount2(&path, MntFlags::MNT_DETACH)
                    .with_context(|| format!("unmount {}", path.display()))?;
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
            }
        }
    }
    Ok(code)
}

fn own(kind: &str) -> String {
    format!("/proc/self/ns/{kind}")
}

fn memory(call: &Call) -> Result<PathBuf> {
    call.memory("kept")
}
