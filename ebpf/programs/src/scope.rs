//! Which scope a fact belongs to. It is known before room in the ring is asked for, so that a loss is charged to the scope
//! that it concerns.

use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_pid_tgid};
use podproof_abi::Tag;

use crate::atomic;
use crate::kernel::{Task, cgroup_id, current, off, rd};
use crate::log::log;
use crate::maps::{CGROUPS, SLOTS, TAGS};

/// The scopes of a record: the one that it belongs to and, when a fact joins two, the other.
#[derive(Clone, Copy)]
pub(crate) struct Scopes {
    pub(crate) scope: u32,
    pub(crate) peer: u32,
}

impl Scopes {
    /// `None` when nobody listens.
    #[inline(always)]
    pub(crate) fn of(first: u32, second: u32) -> Option<Self> {
        if first != 0 {
            Some(Self { scope: first, peer: if second == first { 0 } else { second } })
        } else if second != 0 {
            Some(Self { scope: second, peer: 0 })
        } else {
            None
        }
    }

    /// Adds one to the losses of both.
    #[inline(always)]
    pub(crate) fn lose(self) {
        lose(self.scope);
        if self.peer != 0 {
            lose(self.peer);
        }
    }
}

/// `scope` while it is open, else 0.
#[inline(always)]
pub(crate) fn if_open(scope: u32) -> u32 {
    match SLOTS.get(scope) {
        Some(slot) if slot.open != 0 => scope,
        _ => 0,
    }
}

/// Scope of a thread group, by its tag.
#[inline(always)]
pub(crate) fn of_tgid(tgid: u32) -> u32 {
    match TAGS.get_ptr(tgid) {
        // SAFETY: a value of a preallocated hash map stays readable; at worst it is another group's.
        Some(tag) => if_open(unsafe { (*tag).scope }),
        None => 0,
    }
}

/// Scope of a cgroup.
#[inline(always)]
pub(crate) fn of_cgroup(id: u64) -> u32 {
    match CGROUPS.get_ptr(id) {
        // SAFETY: as in of_tgid.
        Some(scope) => if_open(unsafe { *scope }),
        None => 0,
    }
}

/// Scope of a task: of its thread group, else of its cgroup. The latter gives it a tag, because a task that is
/// reaped has no cgroup to go by.
#[inline(always)]
pub(crate) fn of_task(task: Task) -> u32 {
    let tgid = rd(task, off!(task_tgid));
    let scope = of_tgid(tgid);
    if scope != 0 { scope } else { adopt(task, tgid, cgroup_id(task)) }
}

/// Scope of the current task. The helpers spare the verifier some pointers, each of which costs it milliseconds.
#[inline(always)]
pub(crate) fn of_current() -> u32 {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let scope = of_tgid(tgid);
    if scope != 0 {
        return scope;
    }
    // SAFETY: the helper has no preconditions.
    adopt(current(), tgid, unsafe { bpf_get_current_cgroup_id() })
}

#[inline(always)]
fn adopt(task: Task, tgid: u32, cgroup_id: u64) -> u32 {
    let scope = of_cgroup(cgroup_id);
    if scope != 0 {
        let leader: usize = rd(task, off!(task_group_leader));
        tag(tgid, scope, rd(leader, off!(task_start)));
    }
    scope
}

/// Tags a thread group. A full map is a loss: later records of the group will be missing.
#[inline(always)]
pub(crate) fn tag(tgid: u32, scope: u32, start_ns: u64) {
    log!(tagged(scope, tgid));
    if TAGS.insert(tgid, Tag { scope, pad: 0, start_ns }, 0).is_err() {
        lose(scope);
    }
}

/// Adds one to the losses of a scope.
#[inline(always)]
pub(crate) fn lose(scope: u32) {
    log!(lost(scope));
    if let Some(slot) = SLOTS.get_ptr_mut(scope) {
        // SAFETY: a field of a map's value.
        atomic::add(unsafe { &raw mut (*slot).lost }, 1);
    }
}

/// The losses of a scope so far, the low 32 bits.
#[inline(always)]
pub(crate) fn lost(scope: u32) -> u32 {
    match SLOTS.get_ptr(scope) {
        // SAFETY: a field of a map's value.
        Some(slot) => unsafe { (&raw const (*slot).lost).read_volatile() as u32 },
        None => 0,
    }
}
