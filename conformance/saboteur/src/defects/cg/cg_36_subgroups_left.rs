//! Only the top directory of the container's cgroup is removed, and the error ignored.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "cg-36-subgroups-left",
    target: "CG-36",
    does: "only the top directory is removed, and the error ignored",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "delete" {
        return base.pass(call);
    }
    match cgroup::of_container(call, base)? {
        Some(dir) if has_subgroups(&dir) => delete(call, base, &dir),
        _ => base.pass(call),
    }
}

fn has_subgroups(dir: &Path) -> bool {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
}

/// Deletes the container with the good runtime, from whose eyes the cgroup is hidden; then tries the top directory.
fn delete(call: &Call, base: &Base, dir: &Path) -> Result<u8> {
    let parent = dir.parent().context("find the parent of the container's cgroup")?;
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("make all mounts private")?;
    mount(Some("tmpfs"), parent, Some("tmpfs"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("hide {}", parent.display()))?;
    let code = base.pass(call)?;
    umount2(parent, MntFlags::MNT_DETACH).with_context(|| format!("show {}", parent.display()))?;
    // The defect: it has sub-groups, and nobody looks at the error.
    fs::remove_dir(dir).unwrap_or_default();
    Ok(code)
}
