//! Zombies that are older than the probes: found in /proc once, and looked after until they are reaped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use podproof_ebpf::counters::{ZombieParent, ZombieView};
use procfs::process::Process;
use procfs::{ProcError, ProcResult};

use super::clock;
use super::proc::Procfs;
use crate::cgroups::below_mount;

/// A zombie that was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Old {
    tgid: i32,
    /// Tells it from a later process of this number, in ticks since boot.
    start_time: u64,
    /// As `/proc` shows it, from the root of this process' cgroup namespace on.
    cgroup: PathBuf,
    /// The id of that cgroup, which it keeps when its directory is removed.
    cgroup_id: Option<u64>,
    /// While that is not known, as its directory was removed before: the nearest one around it that is there.
    around: Option<u64>,
    parent_tgid: u32,
    parent: ZombieParent,
    /// When it was found: when it ended is known to nobody.
    since_ns: u64,
}

impl Old {
    pub(super) fn tgid(&self) -> u32 {
        self.tgid.cast_unsigned()
    }

    /// The cgroup that it died in, if that is known.
    pub(super) fn cgroup_id(&self) -> Option<u64> {
        self.cgroup_id
    }

    #[cfg(test)]
    pub(super) fn of_tgid(tgid: i32) -> Self {
        let (cgroup, parent) = (PathBuf::new(), ZombieParent::Other);
        Self {
            tgid,
            start_time: 0,
            cgroup,
            cgroup_id: None,
            around: None,
            parent_tgid: 1,
            parent,
            since_ns: 0,
        }
    }

    /// Takes over who should reap it: a parent that ends hands it on.
    fn follow(&mut self, procfs: &Procfs, parent_pid: i32) {
        let parent_tgid = parent_pid.cast_unsigned();
        if parent_tgid != self.parent_tgid {
            (self.parent_tgid, self.parent) = (parent_tgid, parent(procfs, parent_pid, &self.cgroup));
        }
    }

    fn view(&self) -> ZombieView {
        ZombieView {
            tgid: self.tgid(),
            since_ns: self.since_ns,
            cgroup_id: self.cgroup_id.or(self.around).unwrap_or(0),
            parent_tgid: self.parent_tgid,
            parent: self.parent,
        }
    }
}

/// All zombies of now. The end of processes that go meanwhile is not an error.
pub(super) fn find(procfs: &Procfs) -> ProcResult<Vec<Old>> {
    let since_ns = clock::boot_ns();
    let found = procfs.pids()?.map(|pid| old(procfs, pid?, since_ns));
    let found = found.filter_map(|found| match found {
        // It may be one.
        Err(error) if is_lack(&error) => Some(Err(error)),
        // It has gone, or /proc hides it.
        found => found.ok().flatten().map(Ok),
    });
    found.collect()
}

/// It is us who have no descriptor or memory left. What else fails is of the process: that its cgroup lies too deep to be told, or it.
fn is_lack(error: &ProcError) -> bool {
    let numbers = [nix::libc::EMFILE, nix::libc::ENFILE, nix::libc::ENOMEM];
    matches!(error, ProcError::Io(error, _) if error.raw_os_error().is_some_and(|number| numbers.contains(&number)))
}

/// `None` when it is no zombie.
fn old(procfs: &Procfs, pid: i32, since_ns: u64) -> ProcResult<Option<Old>> {
    let stat = procfs.stat(pid)?;
    // A leader that ended before its threads is no zombie yet.
    if stat.state != 'Z' || stat.num_threads > 1 {
        return Ok(None);
    }
    let process = procfs.process(pid)?;
    // The number may be another's by now.
    if process.stat()?.starttime != stat.starttime {
        return Ok(None);
    }
    let Some(cgroup) = cgroup_of(&process)? else { return Ok(None) };
    Ok(Some(Old {
        tgid: stat.pid,
        start_time: stat.starttime,
        cgroup_id: None,
        around: None,
        parent_tgid: stat.ppid.cast_unsigned(),
        parent: parent(procfs, stat.ppid, &cgroup),
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
fn parent(procfs: &Procfs, pid: i32, cgroup: &Path) -> ZombieParent {
    let Ok(process) = procfs.process(pid) else { return ZombieParent::Other };
    let numbers = process.status().ok().and_then(|status| status.nspid).unwrap_or_default();
    if numbers.len() < 2 || numbers.last() != Some(&1) {
        ZombieParent::Other
    } else if cgroup_of(&process).is_ok_and(|own| own.is_some_and(|own| own != cgroup)) {
        ZombieParent::OtherInit
    } else {
        ZombieParent::Init
    }
}

/// Finds the cgroups that are not found yet, or what is there around them. `ids` are those that there are by path, and `root` is that of
/// the cgroup namespace.
pub(super) fn place(old: &mut [Old], ids: &BTreeMap<PathBuf, u64>, root: &Path) {
    for zombie in old.iter_mut().filter(|zombie| zombie.cgroup_id.is_none()) {
        let Some(path) = below_mount(root, &zombie.cgroup) else { continue };
        zombie.cgroup_id = ids.get(&path).copied();
        zombie.around = path.ancestors().skip(1).find_map(|path| ids.get(path)).copied();
    }
}

/// Takes out who was reaped, and gives the others as the probes give theirs, with the parents of now.
pub(super) fn still(procfs: &Procfs, old: &mut Vec<Old>) -> ProcResult<Vec<ZombieView>> {
    let mut fault = None;
    old.retain_mut(|zombie| match procfs.stat(zombie.tgid) {
        Ok(stat) if stat.state == 'Z' && stat.starttime == zombie.start_time => {
            zombie.follow(procfs, stat.ppid);
            true
        }
        Ok(_) => false,
        Err(error) if is_lack(&error) => {
            fault = Some(error);
            true
        }
        Err(_) => procfs.is_hidden(zombie.tgid),
    });
    fault.map_or_else(|| Ok(old.iter().map(Old::view).collect()), Err)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Child, Command, Stdio};

    use nix::sys::prctl;
    use nix::sys::wait::waitpid;
    use nix::unistd::Pid;

    use super::*;
    use crate::observe::proc;

    /// Tries until a zombie among those of now is the one.
    fn find_one(is_it: impl Fn(&Old) -> bool) -> Vec<Old> {
        for _try in 0..10_000 {
            let found: Vec<Old> = find(&proc::own()).unwrap().into_iter().filter(&is_it).collect();
            if !found.is_empty() {
                return found;
            }
            std::thread::yield_now();
        }
        panic!("no zombie");
    }

    /// A child that has ended.
    fn ended() -> (Child, Vec<Old>) {
        let mut child = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
        // Its end closes the pipe, a moment before it is a zombie.
        child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        let found = find_one(|zombie| zombie.tgid() == child.id());
        (child, found)
    }

    #[test]
    fn a_zombie_is_found_and_goes_when_it_is_reaped() {
        let (mut child, mut found) = ended();
        let views = still(&proc::own(), &mut found).unwrap();
        assert_eq!((views[0].tgid, views[0].parent_tgid), (child.id(), std::process::id()));
        child.wait().unwrap();
        assert!(still(&proc::own(), &mut found).unwrap().is_empty());
    }

    #[test]
    fn a_zombie_stays_in_a_cgroup_that_was_removed() {
        let (mut child, mut found) = ended();
        found[0].cgroup = "pod/inner".into();
        let ids = BTreeMap::from([(found[0].cgroup.clone(), 7)]);
        let mut placed = |ids: &BTreeMap<PathBuf, u64>, root: &str| {
            place(&mut found, ids, Path::new(root));
            still(&proc::own(), &mut found).unwrap()[0].cgroup_id
        };
        assert_eq!(placed(&BTreeMap::new(), ""), 0);
        assert_eq!(placed(&ids, "elsewhere"), 0);
        // It was removed before.
        let around = BTreeMap::from([(PathBuf::new(), 1), ("pod".into(), 2)]);
        assert_eq!(placed(&around, ""), 2);
        assert_eq!(placed(&BTreeMap::from([(PathBuf::new(), 1)]), ""), 1);
        assert_eq!(placed(&ids, ""), 7);
        assert_eq!(placed(&BTreeMap::new(), ""), 7);
        // Another of the same path is another.
        let others = ids.into_keys().map(|path| (path, 8)).collect();
        assert_eq!(placed(&others, ""), 7);
        child.wait().unwrap();
    }

    #[test]
    fn a_zombie_that_is_handed_on_has_the_new_parent() {
        prctl::set_child_subreaper(true).unwrap();
        let mut parent = Command::new("sh").args(["-c", "true & exec sleep 1000"]).spawn().unwrap();
        let mut found = find_one(|zombie| zombie.parent_tgid == parent.id());
        let before = still(&proc::own(), &mut found).unwrap();
        assert_eq!(before[0].parent_tgid, parent.id());
        parent.kill().unwrap();
        parent.wait().unwrap();
        let after = still(&proc::own(), &mut found).unwrap();
        assert_eq!(after, [ZombieView { parent_tgid: std::process::id(), ..before[0] }]);
        waitpid(Pid::from_raw(found[0].tgid), None).unwrap();
        assert!(still(&proc::own(), &mut found).unwrap().is_empty());
    }
}
