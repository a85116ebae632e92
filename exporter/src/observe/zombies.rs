//! Zombies that are older than the probes: found in /proc once, and looked after until they are reaped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use podproof_ebpf::counters::{ZombieParent, ZombieView};
use procfs::process::{Process, all_processes};
use procfs::{ProcError, ProcResult};

use super::clock;
use crate::cgroups::below_mount;

/// A zombie that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Old {
    tgid: i32,
    /// Tells it from a later process of this number, in ticks since boot.
    start_time: u64,
    /// As `/proc` shows it, from the root of this process' cgroup namespace on.
    cgroup: PathBuf,
    parent_tgid: u32,
    parent: ZombieParent,
    /// When it was found: when it ended is known to nobody.
    since_ns: u64,
}

impl Old {
    pub(super) fn tgid(&self) -> u32 {
        self.tgid.cast_unsigned()
    }

    #[cfg(test)]
    pub(super) fn of_tgid(tgid: i32) -> Self {
        let (cgroup, parent) = (PathBuf::new(), ZombieParent::Other);
        Self { tgid, start_time: 0, cgroup, parent_tgid: 1, parent, since_ns: 0 }
    }
}

/// All zombies of now. The end of processes that go meanwhile is not an error.
pub(super) fn find() -> ProcResult<Vec<Old>> {
    let since_ns = clock::boot_ns();
    let found = all_processes()?.map(|process| old(&process?, since_ns)).filter_map(|found| match found {
        // As when there is no descriptor left: it may be one.
        Err(error @ ProcError::Io(..)) => Some(Err(error)),
        // It has gone, or /proc hides it.
        found => found.ok().flatten().map(Ok),
    });
    found.collect()
}

/// `None` when it is no zombie.
fn old(process: &Process, since_ns: u64) -> ProcResult<Option<Old>> {
    let stat = process.stat()?;
    // A leader that ended before its threads is no zombie yet.
    if stat.state != 'Z' || stat.num_threads > 1 {
        return Ok(None);
    }
    let Some(cgroup) = cgroup_of(process)? else { return Ok(None) };
    Ok(Some(Old {
        tgid: stat.pid,
        start_time: stat.starttime,
        parent_tgid: u32::try_from(stat.ppid).unwrap_or(0),
        parent: parent(stat.ppid, &cgroup),
        cgroup,
        since_ns,
    }))
}

/// Its cgroup in the v2 hierarchy, as `/proc` shows it.
fn cgroup_of(process: &Process) -> ProcResult<Option<PathBuf>> {
    let groups = process.cgroups()?;
    let Some(unified) = groups.0.iter().find(|group| group.hierarchy == 0) else { return Ok(None) };
    let cgroup = Path::new(unified.pathname.strip_suffix(" (deleted)").unwrap_or(&unified.pathname));
    Ok(Some(cgroup.strip_prefix("/").unwrap_or(cgroup).to_owned()))
}

/// What the parent of a zombie is, by proc_pid_status(5), `NSpid`: PID 1 of a pid namespace below the initial one, or not.
fn parent(pid: i32, cgroup: &Path) -> ZombieParent {
    let Ok(process) = Process::new(pid) else { return ZombieParent::Other };
    let numbers = process.status().ok().and_then(|status| status.nspid).unwrap_or_default();
    if numbers.len() < 2 || numbers.last() != Some(&1) {
        ZombieParent::Other
    } else if cgroup_of(&process).is_ok_and(|own| own.is_some_and(|own| own != cgroup)) {
        ZombieParent::OtherInit
    } else {
        ZombieParent::Init
    }
}

/// Takes out who was reaped, and gives the others as the probes give theirs. `ids` are the cgroups by path, and `root` is that of the
/// cgroup namespace, if it is known.
pub(super) fn still(
    old: &mut Vec<Old>,
    ids: &BTreeMap<PathBuf, u64>,
    root: Option<&Path>,
) -> ProcResult<Vec<ZombieView>> {
    let mut fault = None;
    old.retain(|zombie| match Process::new(zombie.tgid).and_then(|process| process.stat()) {
        Ok(stat) => stat.state == 'Z' && stat.starttime == zombie.start_time,
        Err(error @ ProcError::Io(..)) => {
            fault = Some(error);
            true
        }
        Err(_) => false,
    });
    if let Some(fault) = fault {
        return Err(fault);
    }
    let view = |zombie: &Old| {
        Some(ZombieView {
            tgid: u32::try_from(zombie.tgid).ok()?,
            since_ns: zombie.since_ns,
            cgroup_id: root
                .and_then(|root| ids.get(&below_mount(root, &zombie.cgroup)?))
                .copied()
                .unwrap_or(0),
            parent_tgid: zombie.parent_tgid,
            parent: zombie.parent,
        })
    };
    Ok(old.iter().filter_map(view).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_zombie_is_found_and_goes_when_it_is_reaped() {
        let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        // Its end closes the pipe, a moment before it is a zombie.
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut found = Vec::new();
        for _try in 0..10_000 {
            found = find().unwrap().into_iter().filter(|zombie| zombie.tgid == pid).collect();
            if !found.is_empty() {
                break;
            }
            std::thread::yield_now();
        }
        let ids = BTreeMap::from([(found[0].cgroup.clone(), 7)]);
        let at_top = Some(Path::new(""));
        let mut still = |root| still(&mut found, &ids, root).unwrap();
        let views = still(at_top);
        assert_eq!((views[0].tgid, views[0].cgroup_id), (child.id(), 7));
        assert_eq!(still(Some(Path::new("inner")))[0].cgroup_id, 0);
        assert_eq!(still(None)[0].cgroup_id, 0);
        assert_eq!(views[0].parent_tgid, std::process::id());
        child.wait().unwrap();
        assert!(still(at_top).is_empty());
    }
}
