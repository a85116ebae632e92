//! System calls, at the two hooks that every call passes: only those that no tracepoint shows, by number.
//!
//! Numbers and registers are those of x86-64; calls through the 32-bit entry have other numbers and are passed over.
//! Arguments are read when the call returns: the registers are kept, and the kernel has just touched the memory that
//! they point to. Only setns and unshare are seen at entry too, for the namespaces before the call.

use core::mem::offset_of;

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_probe_read_kernel_str_bytes, bpf_probe_read_user,
    bpf_probe_read_user_str_bytes,
};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::{
    CgroupWrite, CloneFailed, ExecFailed, FILE_LEN, MISSING, Mount, MoveMount, NsInodes, NsSwitch, Path,
    PivotRoot, STR_LEN, Shm, Umount, VALUE_LEN, Wait, kind,
};

use crate::emit::{emit, emit_strings};
use crate::kernel::{Task, begins_again, current, current_namespaces, number_at, off, probe, rd};
use crate::maps::PENDING;
use crate::scope::{self, Scopes, lose};

const WRITE: u64 = 1;
const PWRITE64: u64 = 18;
const WRITEV: u64 = 20;
const SHMGET: u64 = 29;
const SHMAT: u64 = 30;
const CLONE: u64 = 56;
const FORK: u64 = 57;
const VFORK: u64 = 58;
const EXECVE: u64 = 59;
const WAIT4: u64 = 61;
const PIVOT_ROOT: u64 = 155;
const CHROOT: u64 = 161;
const MOUNT: u64 = 165;
const UMOUNT2: u64 = 166;
const SETHOSTNAME: u64 = 170;
const SETDOMAINNAME: u64 = 171;
const WAITID: u64 = 247;
const UNSHARE: u64 = 272;
const SETNS: u64 = 308;
const PWRITEV: u64 = 296;
const EXECVEAT: u64 = 322;
const OPEN_TREE: u64 = 428;
const MOVE_MOUNT: u64 = 429;
const FSOPEN: u64 = 430;
const CLONE3: u64 = 435;
const MOUNT_SETATTR: u64 = 442;

/// `TS_COMPAT` in `thread_info.status`: the call came through the 32-bit entry.
const TS_COMPAT: u32 = 2;
/// `CSIGNAL`: the byte of clone(2)'s flags that is the exit signal.
const CSIGNAL: u64 = 0xff;
const CLONE_VFORK_VM: u64 = 0x4100;
const P_PID: u64 = 1;

#[inline(always)]
fn is_compat(task: Task) -> bool {
    rd::<u32>(task, off!(task_syscall_status)) & TS_COMPAT != 0
}

/// `sys_enter(regs, id)`
#[btf_tracepoint(function = "sys_enter")]
pub(crate) fn sys_enter(ctx: BtfTracePointContext) -> u32 {
    let nr: u64 = ctx.arg(1);
    if nr != SETNS && nr != UNSHARE {
        return 0;
    }
    let task = current();
    let scope = scope::of_current();
    if scope == 0 || is_compat(task) {
        // What an earlier call of this thread left would be taken for this one's.
        _ = PENDING.remove(bpf_get_current_pid_tgid());
        return 0;
    }
    let mut before = NsInodes::NONE;
    current_namespaces(task, &mut before);
    if PENDING.insert(bpf_get_current_pid_tgid(), before, 0).is_err() {
        lose(scope);
    }
    0
}

/// `sys_exit(regs, ret)`
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn sys_exit(ctx: BtfTracePointContext) -> u32 {
    let regs: usize = ctx.arg(0);
    let ret: i64 = ctx.arg(1);
    let nr: u64 = rd(regs, off!(regs_nr));
    match nr {
        WRITE | PWRITE64 | WRITEV | PWRITEV => wrote(regs, nr, ret),
        WAIT4 | WAITID => waited(regs, nr, ret),
        EXECVE | EXECVEAT if ret < 0 => exec_failed(regs, nr, ret),
        CLONE | FORK | VFORK | CLONE3 if ret < 0 && !begins_again(ret) => clone_failed(regs, nr, ret),
        SETNS | UNSHARE => ns_switch(regs, nr, ret),
        MOUNT | UMOUNT2 | PIVOT_ROOT => mounted(regs, nr, ret),
        CHROOT | FSOPEN | OPEN_TREE | MOUNT_SETATTR | SETHOSTNAME | SETDOMAINNAME => path(regs, nr, ret),
        MOVE_MOUNT => move_mount(regs, ret),
        SHMGET | SHMAT => shm(regs, nr, ret),
        _ => {}
    }
    0
}

/// The scope of the caller, when it is a 64-bit call of a scoped task.
#[inline(always)]
fn scoped_caller() -> Option<(Task, Scopes)> {
    let task = current();
    let scopes = Scopes::of(scope::of_current(), 0)?;
    (!is_compat(task)).then_some((task, scopes))
}

#[inline(always)]
fn user<T>(p: u64) -> Option<T> {
    // SAFETY: the helper checks the address and returns an error for a bad one.
    unsafe { bpf_probe_read_user(p as *const T) }.ok()
}

#[inline(always)]
fn user_str(p: u64, out: &mut [u8; STR_LEN]) {
    // SAFETY: the helper checks the address; the array bounds the copy.
    _ = unsafe { bpf_probe_read_user_str_bytes(p as *const u8, out) };
}

/// A caller outside of all scopes counts when the child is in one; its number says which only for callers in the
/// initial pid namespace.
#[inline(always)]
fn waited(regs: usize, nr: u64, ret: i64) {
    let task = current();
    if is_compat(task) {
        return;
    }
    let is_waitid = nr == WAITID;
    let mut child = 0u32;
    let options: u32;
    let mut status = 0u32;
    let mut has_status = 0u32;
    if is_waitid {
        options = rd::<u64>(regs, off!(regs_arg3)) as u32;
        let info: u64 = rd(regs, off!(regs_arg2));
        if ret < 0 {
            // No child.
        } else if info == 0 {
            if rd::<u64>(regs, off!(regs_arg0)) as u32 as u64 == P_PID {
                child = rd::<u64>(regs, off!(regs_arg1)) as u32;
            }
        } else if let (Some(code), Some(pid)) = (user::<u32>(info + 8), user::<u32>(info + 16)) {
            // siginfo_t: si_code at 8, si_pid at 16, which is 0 when no child was ready.
            child = pid;
            status = code;
            has_status = u32::from(pid != 0);
        }
    } else {
        options = rd::<u64>(regs, off!(regs_arg2)) as u32;
        let wstatus: u64 = rd(regs, off!(regs_arg1));
        if ret > 0 {
            child = ret as u32;
            if wstatus != 0
                && let Some(value) = user::<u32>(wstatus)
            {
                status = value;
                has_status = 1;
            }
        }
    }
    let pid: usize = rd(task, off!(task_thread_pid));
    let level: u32 = rd(pid, off!(pid_level));
    let of_child = if level == 0 && child != 0 { scope::of_tgid(child) } else { 0 };
    let Some(scopes) = Scopes::of(of_child, scope::of_current()) else { return };
    emit::<Wait>(scopes, kind::WAIT, |record| {
        record.ret = ret;
        record.nr = child;
        record.options = options;
        record.status = status;
        record.has_status = has_status;
        record.is_waitid = u32::from(is_waitid);
        record.level = level;
        record.pid_ns = number_at(task, level).1;
    });
}

#[inline(always)]
fn exec_failed(regs: usize, nr: u64, ret: i64) {
    let Some((_, scopes)) = scoped_caller() else { return };
    let filename: u64 = if nr == EXECVE { rd(regs, off!(regs_arg0)) } else { rd(regs, off!(regs_arg1)) };
    emit_strings::<ExecFailed>(scopes, kind::EXEC_FAILED, offset_of!(ExecFailed, filename), |record| {
        record.errno = (-ret) as u32;
        // SAFETY: the helper checks the address; the array bounds the copy.
        _ = unsafe { bpf_probe_read_user_str_bytes(filename as *const u8, &mut record.filename) };
    });
}

#[inline(always)]
fn clone_failed(regs: usize, nr: u64, ret: i64) {
    let Some((_, scopes)) = scoped_caller() else { return };
    let arg0: u64 = rd(regs, off!(regs_arg0));
    let flags = match nr {
        CLONE => arg0 & !CSIGNAL,
        // struct clone_args begins with the flags.
        CLONE3 => user::<u64>(arg0).unwrap_or(0),
        VFORK => CLONE_VFORK_VM,
        _ => 0,
    };
    emit::<CloneFailed>(scopes, kind::CLONE_FAILED, |record| {
        record.flags = flags;
        record.errno = (-ret) as u32;
    });
}

#[inline(always)]
fn ns_switch(regs: usize, nr: u64, ret: i64) {
    let Some((task, scopes)) = scoped_caller() else { return };
    let key = bpf_get_current_pid_tgid();
    let kind = if nr == SETNS { kind::SETNS } else { kind::UNSHARE };
    emit::<NsSwitch>(scopes, kind, |record| {
        let arg0: u64 = rd(regs, off!(regs_arg0));
        if nr == SETNS {
            record.fd = arg0 as i32;
            record.flags = rd::<u64>(regs, off!(regs_arg1)) & 0xffff_ffff;
        } else {
            record.flags = arg0;
        }
        record.ret = ret;
        if let Some(before) = PENDING.get_ptr(key) {
            record.has_before = 1;
            // SAFETY: a value of a preallocated hash map stays readable, and the key is this thread's own.
            record.before = unsafe { *before };
        }
        current_namespaces(task, &mut record.after);
    });
    _ = PENDING.remove(key);
}

/// The mount namespace of a task.
#[inline(always)]
fn mnt_ns(task: Task) -> u32 {
    let nsproxy: usize = rd(task, off!(task_nsproxy));
    rd(rd(nsproxy, off!(nsproxy_mnt)), off!(mnt_inum))
}

#[inline(always)]
fn mounted(regs: usize, nr: u64, ret: i64) {
    let Some((task, scopes)) = scoped_caller() else { return };
    let (arg0, arg1): (u64, u64) = (rd(regs, off!(regs_arg0)), rd(regs, off!(regs_arg1)));
    if nr == MOUNT {
        emit_strings::<Mount>(scopes, kind::MOUNT, offset_of!(Mount, from), |record| {
            user_str(arg0, &mut record.from);
            user_str(arg1, &mut record.target);
            user_str(rd(regs, off!(regs_arg2)), &mut record.fstype);
            record.flags = rd(regs, off!(regs_arg3));
            record.ret = ret;
            record.mnt_ns = mnt_ns(task);
        });
    } else if nr == UMOUNT2 {
        emit_strings::<Umount>(scopes, kind::UMOUNT, offset_of!(Umount, target), |record| {
            user_str(arg0, &mut record.target);
            record.flags = arg1;
            record.ret = ret;
            record.mnt_ns = mnt_ns(task);
        });
    } else {
        emit_strings::<PivotRoot>(scopes, kind::PIVOT_ROOT, offset_of!(PivotRoot, new_root), |record| {
            user_str(arg0, &mut record.new_root);
            user_str(arg1, &mut record.put_old);
            record.ret = ret;
            record.mnt_ns = mnt_ns(task);
        });
    }
}

/// The calls with one string.
#[inline(always)]
fn path(regs: usize, nr: u64, ret: i64) {
    let Some((task, scopes)) = scoped_caller() else { return };
    let (arg0, arg1): (u64, u64) = (rd(regs, off!(regs_arg0)), rd(regs, off!(regs_arg1)));
    let is_name = nr == SETHOSTNAME || nr == SETDOMAINNAME;
    let kind = match nr {
        CHROOT => kind::CHROOT,
        FSOPEN => kind::FSOPEN,
        OPEN_TREE => kind::OPEN_TREE,
        MOUNT_SETATTR => kind::MOUNT_SETATTR,
        SETHOSTNAME => kind::HOSTNAME,
        _ => kind::DOMAINNAME,
    };
    emit::<Path>(scopes, kind, |record| {
        record.ret = ret;
        if is_name {
            record.ns = uts_ns(task);
            // The name has a length and no zero at its end.
            let length = if arg1 < 64 { arg1 as u32 } else { 64 };
            // SAFETY: at most 64 bytes of a longer array, which is zeroed; the helper checks the address.
            _ = unsafe {
                aya_ebpf::helpers::generated::bpf_probe_read_user(
                    (&raw mut record.path).cast(),
                    length,
                    arg0 as *const _,
                )
            };
            return;
        }
        record.ns = mnt_ns(task);
        let at_is_first = nr == OPEN_TREE || nr == MOUNT_SETATTR;
        user_str(if at_is_first { arg1 } else { arg0 }, &mut record.path);
        if at_is_first {
            record.flags = rd(regs, off!(regs_arg2));
        }
        if nr == MOUNT_SETATTR {
            // struct mount_attr: attr_set, attr_clr.
            let attr: u64 = rd(regs, off!(regs_arg3));
            record.set = user(attr).unwrap_or(0);
            record.clear = user(attr + 8).unwrap_or(0);
        }
    });
}

#[inline(always)]
fn move_mount(regs: usize, ret: i64) {
    let Some((task, scopes)) = scoped_caller() else { return };
    emit_strings::<MoveMount>(scopes, kind::MOVE_MOUNT, offset_of!(MoveMount, from), |record| {
        user_str(rd(regs, off!(regs_arg1)), &mut record.from);
        user_str(rd(regs, off!(regs_arg3)), &mut record.target);
        record.flags = rd(regs, off!(regs_arg4));
        record.ret = ret;
        record.mnt_ns = mnt_ns(task);
    });
}

/// `CGROUP2_SUPER_MAGIC` and `CGROUP_SUPER_MAGIC` (statfs(2)).
const CGROUP_MAGICS: [u64; 2] = [0x6367_7270, 0x0027_e0eb];

/// A write to a file of a cgroup. What tells is the file system of the descriptor's inode.
#[inline(always)]
fn wrote(regs: usize, nr: u64, ret: i64) {
    let known = off!(task_files) != MISSING
        && off!(files_fdt) != MISSING
        && off!(fdtable_max) != MISSING
        && off!(fdtable_fd) != MISSING
        && off!(file_inode) != MISSING
        && off!(inode_sb) != MISSING
        && off!(inode_private) != MISSING
        && off!(super_magic) != MISSING
        && off!(kernfs_name) != MISSING
        && (off!(kernfs_parent) != MISSING || off!(kernfs_rcu_parent) != MISSING);
    if !known {
        return;
    }
    let Some((task, scopes)) = scoped_caller() else { return };
    let files: usize = rd(task, off!(task_files));
    let fdt: usize = rd(files, off!(files_fdt));
    let fd = rd::<u64>(regs, off!(regs_arg0)) & 0xffff_ffff;
    if fd >= u64::from(rd::<u32>(fdt, off!(fdtable_max))) {
        return;
    }
    let table: usize = rd(fdt, off!(fdtable_fd));
    let Some(file) = probe::<usize>(table + ((fd as usize) << 3)) else { return };
    let Some(inode) = probe::<usize>(file + off!(file_inode) as usize) else { return };
    let Some(sb) = probe::<usize>(inode + off!(inode_sb) as usize) else { return };
    let Some(magic) = probe::<u64>(sb + off!(super_magic) as usize) else { return };
    if magic != CGROUP_MAGICS[0] && magic != CGROUP_MAGICS[1] {
        return;
    }
    let Some(node) = probe::<usize>(inode + off!(inode_private) as usize) else { return };
    let of_parent =
        if off!(kernfs_parent) != MISSING { off!(kernfs_parent) } else { off!(kernfs_rcu_parent) };
    emit::<CgroupWrite>(scopes, kind::CGROUP_WRITE, |record| {
        let parent = probe::<usize>(node + of_parent as usize).unwrap_or(0);
        record.id = probe(parent + off!(kernfs_id) as usize).unwrap_or(0);
        record.ret = ret;
        let name = probe::<usize>(node + off!(kernfs_name) as usize).unwrap_or(0);
        let file: &mut [u8; FILE_LEN] = &mut record.file;
        // SAFETY: the helper checks the address; the array bounds the copy.
        _ = unsafe { bpf_probe_read_kernel_str_bytes(name as *const u8, file) };
        let (mut from, mut length): (u64, u64) = (rd(regs, off!(regs_arg1)), rd(regs, off!(regs_arg2)));
        if nr == WRITEV || nr == PWRITEV {
            // The first struct iovec: base, length.
            let vector = user::<[u64; 2]>(from).unwrap_or([0; 2]);
            (from, length) = (vector[0], vector[1]);
        }
        let length = if length < VALUE_LEN as u64 { length as u32 } else { VALUE_LEN as u32 - 1 };
        // SAFETY: less than the array, which is zeroed; the helper checks the address.
        _ = unsafe {
            aya_ebpf::helpers::generated::bpf_probe_read_user(
                (&raw mut record.value).cast(),
                length,
                from as *const _,
            )
        };
    });
}

/// The UTS namespace of a task.
#[inline(always)]
fn uts_ns(task: Task) -> u32 {
    let nsproxy: usize = rd(task, off!(task_nsproxy));
    rd(rd(nsproxy, off!(nsproxy_uts)), off!(uts_inum))
}

#[inline(always)]
fn shm(regs: usize, nr: u64, ret: i64) {
    let Some((task, scopes)) = scoped_caller() else { return };
    let is_get = nr == SHMGET;
    let kind = if is_get { kind::SHMGET } else { kind::SHMAT };
    emit::<Shm>(scopes, kind, |record| {
        record.id = rd::<u64>(regs, off!(regs_arg0)) as i32;
        if is_get {
            record.size = rd(regs, off!(regs_arg1));
        }
        record.flags = rd::<u64>(regs, off!(regs_arg2)) as u32;
        record.ret = if !is_get && ret > 0 { 0 } else { ret };
        let nsproxy: usize = rd(task, off!(task_nsproxy));
        record.ipc_ns = rd(rd(nsproxy, off!(nsproxy_ipc)), off!(ipc_inum));
    });
}
