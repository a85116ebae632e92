//! The host name of another UTS namespace (uts_namespaces(7)).

use std::fs::File;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use nix::unistd::{gethostname, sethostname};

/// The name in the UTS namespace behind a path.
pub(crate) fn name_in(path: &str) -> Result<String> {
    let name = within(path, || gethostname().context("read the host name"))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Sets the name in the UTS namespace behind a path.
pub(crate) fn rename_in(path: &str, name: &str) -> Result<()> {
    within(path, || sethostname(name).context("set the host name"))
}

/// Does this there, and comes back: the good runtime that is called next must not notice.
fn within<T>(path: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let own = File::open("/proc/self/ns/uts").context("open the own UTS namespace")?;
    let other = File::open(path).with_context(|| format!("open {path}"))?;
    setns(other, CloneFlags::CLONE_NEWUTS).with_context(|| format!("setns {path}"))?;
    let done = act();
    setns(own, CloneFlags::CLONE_NEWUTS).context("come back to the own UTS namespace")?;
    done
}
