//! Cgroups made, removed, joined, frozen and populated, in any hierarchy. Tags and counters live in the v2 hierarchy only, whose
//! number is 0: ids of other hierarchies are numbered apart from it.

use core::mem::offset_of;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel_str_bytes};
use aya_ebpf::macros::{btf_tracepoint, fentry};
use aya_ebpf::programs::{BtfTracePointContext, FEntryContext};
use podproof_abi::{Attach, Cgroup, Counter, PATH_LEN, kind, table};

use crate::count::{self, Counting, refused};
use crate::emit::emit_strings;
use crate::kernel::{cgroup_id, id_of_cgroup, keeps_counters, off, rd, task_id, writes_events};
use crate::maps::{CGROUPS, MOVING, PATH, PATHS};
use crate::scope::{self, Scopes, lose};

const DEFAULT_HIERARCHY: u32 = 0;

#[inline(always)]
fn hierarchy(cgroup: usize) -> u32 {
    let root: usize = rd(cgroup, off!(cgroup_root));
    rd(root, off!(cgroup_root_hierarchy))
}

#[inline(always)]
fn copy_path(path: usize, out: &mut [u8; PATH_LEN]) {
    // SAFETY: the helper checks the address; the array bounds the copy.
    _ = unsafe { bpf_probe_read_kernel_str_bytes(path as *const u8, out) };
}

/// Writes a record about a cgroup for its own scope and that of the current task.
#[inline(always)]
fn show(own: u32, kind: u16, id: u64, hierarchy: u32, path: usize, value: u32) {
    let Some(scopes) = Scopes::of(own, scope::of_current()) else { return };
    emit_strings::<Cgroup>(scopes, kind, offset_of!(Cgroup, path), |record| {
        record.id = id;
        record.hierarchy = hierarchy;
        record.value = value;
        copy_path(path, &mut record.path);
    });
}

/// Leaves the path of a new cgroup for user space, which may come when the cgroup is gone. One that is too long is not kept: its
/// beginning may be another's.
#[inline(always)]
fn keep_path(id: u64, path: usize) {
    let Some(room) = PATH.get_ptr_mut(0) else { return };
    // SAFETY: the only value of an array of this CPU, which nobody else uses meanwhile.
    let room = unsafe { &mut *room };
    // SAFETY: the helper checks the address; the array bounds the copy.
    let len =
        unsafe { bpf_probe_read_kernel_str_bytes(path as *const u8, room) }.map_or(0, |text| text.len());
    // Without its end the text is as long as one that just fits.
    if len == 0 || len >= PATH_LEN - 1 {
        return;
    }
    if let Err(error) = PATHS.insert(id, room, 0) {
        refused(table::PATHS, error);
    }
}

/// `cgroup_mkdir(cgrp, path)`: a child of a tagged cgroup is tagged; counting begins.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub(crate) fn cgroup_mkdir(ctx: BtfTracePointContext) -> u32 {
    let cgroup: usize = ctx.arg(0);
    let path: usize = ctx.arg(1);
    let (id, hierarchy) = (id_of_cgroup(cgroup), hierarchy(cgroup));
    if keeps_counters() && hierarchy == DEFAULT_HIERARCHY {
        // The path first: who finds the counters finds it too.
        keep_path(id, path);
        if !count::begin(id) {
            _ = PATHS.remove(id);
        }
        Counting::rest().count(Counter::CgroupsCreated);
    }
    if !writes_events() {
        return 0;
    }
    let mut inherited = 0;
    if hierarchy == DEFAULT_HIERARCHY {
        let parent_css: usize = rd(cgroup, off!(cgroup_self_parent));
        let parent: usize = rd(parent_css, off!(css_cgroup));
        inherited = scope::of_cgroup(id_of_cgroup(parent));
        if inherited != 0 && CGROUPS.insert(id, inherited, 0).is_err() {
            lose(inherited);
        }
    }
    show(inherited, kind::CGROUP_MKDIR, id, hierarchy, path, 0);
    0
}

/// `cgroup_rmdir(cgrp, path)`: ends the tag, but not the counting: zombies may still be reaped.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub(crate) fn cgroup_rmdir(ctx: BtfTracePointContext) -> u32 {
    let cgroup: usize = ctx.arg(0);
    let path: usize = ctx.arg(1);
    let (id, hierarchy) = (id_of_cgroup(cgroup), hierarchy(cgroup));
    if keeps_counters() && hierarchy == DEFAULT_HIERARCHY {
        Counting::rest().count(Counter::CgroupsRemoved);
    }
    if !writes_events() {
        return 0;
    }
    let mut own = 0;
    if hierarchy == DEFAULT_HIERARCHY {
        own = scope::of_cgroup(id);
        if own != 0 {
            _ = CGROUPS.remove(id);
        }
    }
    show(own, kind::CGROUP_RMDIR, id, hierarchy, path, 0);
    0
}

/// A record of a cgroup whose scope does not change by it.
#[inline(always)]
fn changed(ctx: &BtfTracePointContext, kind: u16, value: u32) {
    let cgroup: usize = ctx.arg(0);
    let path: usize = ctx.arg(1);
    let (id, hierarchy) = (id_of_cgroup(cgroup), hierarchy(cgroup));
    let own = if hierarchy == DEFAULT_HIERARCHY { scope::of_cgroup(id) } else { 0 };
    show(own, kind, id, hierarchy, path, value);
}

/// `cgroup_freeze(cgrp, path)`
#[btf_tracepoint(function = "cgroup_freeze")]
pub(crate) fn cgroup_freeze(ctx: BtfTracePointContext) -> u32 {
    changed(&ctx, kind::CGROUP_FREEZE, 1);
    0
}

/// `cgroup_unfreeze(cgrp, path)`
#[btf_tracepoint(function = "cgroup_unfreeze")]
pub(crate) fn cgroup_unfreeze(ctx: BtfTracePointContext) -> u32 {
    changed(&ctx, kind::CGROUP_FREEZE, 0);
    0
}

/// `cgroup_notify_frozen(cgrp, path, val)`
#[btf_tracepoint(function = "cgroup_notify_frozen")]
pub(crate) fn cgroup_notify_frozen(ctx: BtfTracePointContext) -> u32 {
    let value: u32 = ctx.arg(2);
    changed(&ctx, kind::CGROUP_FROZEN, u32::from(value != 0));
    0
}

/// `cgroup_notify_populated(cgrp, path, val)`
#[btf_tracepoint(function = "cgroup_notify_populated")]
pub(crate) fn cgroup_notify_populated(ctx: BtfTracePointContext) -> u32 {
    let value: u32 = ctx.arg(2);
    changed(&ctx, kind::CGROUP_POPULATED, u32::from(value != 0));
    0
}

/// `cgroup_attach_task(dst_cgrp, path, task, threadgroup)`: a process that is moved into a tagged cgroup is tagged.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task(ctx: BtfTracePointContext) -> u32 {
    let cgroup: usize = ctx.arg(0);
    let path: usize = ctx.arg(1);
    let task: usize = ctx.arg(2);
    let threadgroup: u32 = ctx.arg(3);
    let (id, hierarchy) = (id_of_cgroup(cgroup), hierarchy(cgroup));
    let has_all = threadgroup & 0xff != 0;
    if keeps_counters() && hierarchy == DEFAULT_HIERARCHY && has_all {
        Counting::of(id).count(Counter::MigrationsIn);
        let mover = bpf_get_current_pid_tgid();
        if let Some(from) = MOVING.get_ptr(mover) {
            // SAFETY: a map's value; the key is this thread's own.
            Counting::of(unsafe { *from }).count(Counter::MigrationsOut);
            _ = MOVING.remove(mover);
        }
    }
    if !writes_events() {
        return 0;
    }
    let moved = task_id(task);
    let mut scope = scope::of_tgid(moved.tgid);
    if scope == 0 && hierarchy == DEFAULT_HIERARCHY {
        scope = scope::of_cgroup(id);
        if scope != 0 {
            let leader: usize = rd(task, off!(task_group_leader));
            scope::tag(moved.tgid, scope, rd(leader, off!(task_start)));
        }
    }
    let Some(scopes) = Scopes::of(scope, scope::of_current()) else { return 0 };
    emit_strings::<Attach>(scopes, kind::CGROUP_ATTACH, offset_of!(Attach, path), |record| {
        record.id = id;
        record.hierarchy = hierarchy;
        record.threadgroup = u32::from(has_all);
        record.task = moved;
        copy_path(path, &mut record.path);
    });
    0
}

/// `cgroup_attach_task(dst_cgrp, leader, threadgroup)` is about to move a process: the tracepoint of this name comes when the
/// cgroup before is forgotten already.
#[fentry(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task_entry(ctx: FEntryContext) -> u32 {
    let cgroup: usize = ctx.arg(0);
    let leader: usize = ctx.arg(1);
    let threadgroup: u32 = ctx.arg(2);
    if threadgroup & 0xff != 0
        && hierarchy(cgroup) == DEFAULT_HIERARCHY
        && let Err(error) = MOVING.insert(bpf_get_current_pid_tgid(), cgroup_id(leader), 0)
    {
        refused(table::MOVING, error);
    }
    0
}
