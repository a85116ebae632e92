//! Cgroups made, removed and joined, in any hierarchy. Tags live in the v2 hierarchy only, whose number is 0: ids of
//! other hierarchies are numbered apart from it.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::{Attach, Cgroup, PATH_LEN, kind};

use crate::emit::emit;
use crate::kernel::{off, rd, task_id};
use crate::maps::CGROUPS;
use crate::scope::{self, Scopes, lose};

const DEFAULT_HIERARCHY: u32 = 0;

#[inline(always)]
fn id(cgroup: usize) -> u64 {
    let kn: usize = rd(cgroup, off!(cgroup_kn));
    rd(kn, off!(kernfs_id))
}

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

/// `cgroup_mkdir(cgrp, path)`: a child of a tagged cgroup is tagged.
#[btf_tracepoint(function = "cgroup_mkdir")]
pub(crate) fn cgroup_mkdir(ctx: BtfTracePointContext) -> u32 {
    let cgroup: usize = ctx.arg(0);
    let path: usize = ctx.arg(1);
    let (id, hierarchy) = (id(cgroup), hierarchy(cgroup));
    let mut inherited = 0;
    if hierarchy == DEFAULT_HIERARCHY {
        let parent_css: usize = rd(cgroup, off!(cgroup_self_parent));
        let parent: usize = rd(parent_css, off!(css_cgroup));
        inherited = scope::of_cgroup(self::id(parent));
        if inherited != 0 && CGROUPS.insert(id, inherited, 0).is_err() {
            lose(inherited);
        }
    }
    let Some(scopes) = Scopes::of(inherited, scope::of_current()) else { return 0 };
    emit::<Cgroup>(scopes, kind::CGROUP_MKDIR, |record| {
        record.id = id;
        record.hierarchy = hierarchy;
        copy_path(path, &mut record.path);
    });
    0
}

/// `cgroup_rmdir(cgrp, path)`: ends the tag.
#[btf_tracepoint(function = "cgroup_rmdir")]
pub(crate) fn cgroup_rmdir(ctx: BtfTracePointContext) -> u32 {
    let cgroup: usize = ctx.arg(0);
    let path: usize = ctx.arg(1);
    let (id, hierarchy) = (id(cgroup), hierarchy(cgroup));
    let mut own = 0;
    if hierarchy == DEFAULT_HIERARCHY {
        own = scope::of_cgroup(id);
        if own != 0 {
            _ = CGROUPS.remove(id);
        }
    }
    let Some(scopes) = Scopes::of(own, scope::of_current()) else { return 0 };
    emit::<Cgroup>(scopes, kind::CGROUP_RMDIR, |record| {
        record.id = id;
        record.hierarchy = hierarchy;
        copy_path(path, &mut record.path);
    });
    0
}

/// `cgroup_attach_task(dst_cgrp, path, task, threadgroup)`: a process that is moved into a tagged cgroup is tagged.
#[btf_tracepoint(function = "cgroup_attach_task")]
pub(crate) fn cgroup_attach_task(ctx: BtfTracePointContext) -> u32 {
    let cgroup: usize = ctx.arg(0);
    let path: usize = ctx.arg(1);
    let task: usize = ctx.arg(2);
    let threadgroup: u32 = ctx.arg(3);
    let (id, hierarchy) = (id(cgroup), hierarchy(cgroup));
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
    emit::<Attach>(scopes, kind::CGROUP_ATTACH, |record| {
        record.id = id;
        record.hierarchy = hierarchy;
        record.threadgroup = threadgroup & 1;
        record.task = moved;
        copy_path(path, &mut record.path);
    });
    0
}
