//! Which events a reader wants who did not ask for details.

use podproof_ebpf::event::{EventKind, SignalResult, TaskRef};

use super::words;
use crate::observe::trace::CLONE_THREAD;

const SIGURG: u32 = 23;
/// Signals that the C library keeps for itself: SIGCANCEL and SIGSETXID (signal(7)).
const LIBC_SIGNALS: [u32; 2] = [32, 33];
/// The names that a shell tries on its way through PATH are not there, mostly; the end of a process tells of the last one.
const ENOENT: i32 = 2;
const OPEN_TREE_CLONE: u64 = 1;
/// Writes that another event tells of: the move of a process, the order to freeze.
const TOLD_ELSEWHERE: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.freeze"];

/// Whether the event only adds detail to what others tell: threads, waits, what a signal ran, the start of a zombie.
#[must_use]
pub fn is_detail(current: TaskRef, kind: &EventKind) -> bool {
    match kind {
        EventKind::NewTask { flags, .. } => flags & CLONE_THREAD != 0,
        EventKind::Exit { group_dead, .. } => !group_dead,
        EventKind::Reap { task, .. } => task.tid != task.tgid,
        EventKind::ExecFailed { errno, .. } => *errno == ENOENT,
        EventKind::SignalGenerate { signal, si_code, target, result, .. } => {
            let to_itself = target.tgid == current.tgid;
            // The runtime of Go wakes its threads by SIGURG, and some of its programs pass each one on to others.
            let is_idle = *signal == SIGURG && (to_itself || *result != SignalResult::Delivered);
            words::change_of_child(*signal, *si_code).is_some()
                || is_idle
                || (to_itself && LIBC_SIGNALS.contains(signal))
        }
        EventKind::CgroupWrite { file, ret, .. } => *ret >= 0 && TOLD_ELSEWHERE.contains(&file.as_str()),
        EventKind::Unshare { flags, ret, .. } => *ret >= 0 && words::new_namespaces(*flags).is_empty(),
        EventKind::OpenTree { flags, ret, .. } => *ret >= 0 && flags & OPEN_TREE_CLONE == 0,
        EventKind::ZombieStart { .. }
        | EventKind::Wait { .. }
        | EventKind::Free { .. }
        | EventKind::SignalDeliver { .. }
        | EventKind::CgroupPopulated { .. } => true,
        EventKind::CloneFailed { .. }
        | EventKind::Exec { .. }
        | EventKind::Reparent { .. }
        | EventKind::OomVictim { .. }
        | EventKind::CgroupMkdir { .. }
        | EventKind::CgroupRmdir { .. }
        | EventKind::CgroupAttach { .. }
        | EventKind::CgroupFreeze { .. }
        | EventKind::CgroupFrozen { .. }
        | EventKind::Setns { .. }
        | EventKind::Mount { .. }
        | EventKind::Umount { .. }
        | EventKind::PivotRoot { .. }
        | EventKind::Chroot { .. }
        | EventKind::Fsopen { .. }
        | EventKind::MoveMount { .. }
        | EventKind::MountSetattr { .. }
        | EventKind::Hostname { .. }
        | EventKind::Shmget { .. }
        | EventKind::Shmat { .. }
        | EventKind::Gap { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::sample;

    const SIGCHLD: u32 = 17;

    fn detail(kind: &EventKind) -> bool {
        is_detail(sample::task(10), kind)
    }

    #[test]
    fn threads_are_details_and_processes_are_not() {
        assert!(detail(&sample::born(11, &[11], CLONE_THREAD)));
        assert!(!detail(&sample::born(11, &[11], 0)));
        assert!(detail(&sample::exit(10, 0, false)));
        assert!(!detail(&sample::exit(10, 0, true)));
    }

    #[test]
    fn signals_between_processes_are_no_details() {
        assert!(!detail(&sample::signal(15, 0, 11)));
        assert!(detail(&sample::signal(SIGCHLD, 1, 11)));
        assert!(!detail(&sample::signal(SIGCHLD, 0, 11)), "one that a process sent");
        assert!(detail(&sample::signal(SIGURG, -6, 10)));
        assert!(!detail(&sample::signal(SIGURG, 0, 11)));
        for became in [SignalResult::AlreadyPending, SignalResult::Ignored] {
            let mut vain = sample::signal(SIGURG, 0, 11);
            if let EventKind::SignalGenerate { result, .. } = &mut vain {
                *result = became;
            }
            assert!(detail(&vain), "{became:?}");
        }
    }

    #[test]
    fn what_failed_is_no_detail() {
        let write = |ret| EventKind::CgroupWrite {
            cgroup_id: 7,
            file: "cgroup.procs".into(),
            value: "12".into(),
            ret,
        };
        assert!(detail(&write(2)));
        assert!(!detail(&write(-16)));
        let failed = |errno| EventKind::ExecFailed { filename: "/bin/x".into(), errno };
        assert!(detail(&failed(ENOENT)));
        assert!(!detail(&failed(13)));
    }

    #[test]
    fn a_gap_is_always_shown() {
        assert!(!detail(&EventKind::Gap { lost: 1 }));
    }
}
