//! System calls, at the two hooks that every call passes: only those that no tracepoint shows, by number.
//!
//! Numbers and registers are those of x86-64; calls through the 32-bit entry have other numbers and are passed over.
//! Arguments are read when the call returns: the registers are kept, and the kernel has just touched the memory that
//! they point to. Only setns and unshare are seen at entry too, for the namespaces before the call.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user, bpf_probe_read_user_str_bytes};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::{CloneFailed, Mount, NsInodes, NsSwitch, PivotRoot, STR_LEN, Shm, Umount, Wait, kind};

use crate::emit::emit;
use crate::kernel::{Task, current, current_namespaces, number_at, off, rd};
use crate::maps::PENDING;
use crate::scope::{self, Scopes, lose};

const SHMGET: u64 = 29;
const SHMAT: u64 = 30;
const CLONE: u64 = 56;
const FORK: u64 = 57;
const VFORK: u64 = 58;
const WAIT4: u64 = 61;
const PIVOT_ROOT: u64 = 155;
const MOUNT: u64 = 165;
const UMOUNT2: u64 = 166;
const WAITID: u64 = 247;
const UNSHARE: u64 = 272;
const SETNS: u64 = 308;
const CLONE3: u64 = 435;

/// `TS_COMPAT` in `thread_info.status`: the call came through the 32-bit entry.
const TS_COMPAT: u32 = 2;
/// `CSIGNAL`: the byte of clone(2)'s flags that is the exit signal.
const CSIGNAL: u64 = 0xff;
const CLONE_VFORK_VM: u64 = 0x4100;
const P_PID: u64 = 1;
const WNOWAIT: u32 = 0x0100_0000;

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
        return 0;
    }
    let mut before = NsInodes {
        mnt: 0,
        uts: 0,
        ipc: 0,
        net: 0,
        pid_for_children: 0,
        cgroup: 0,
        user: 0,
        time: 0,
        time_for_children: 0,
        pid: 0,
    };
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
        WAIT4 | WAITID => waited(regs, nr, ret),
        CLONE | FORK | VFORK | CLONE3 if ret < 0 => clone_failed(regs, nr, ret),
        SETNS | UNSHARE => ns_switch(regs, nr, ret),
        MOUNT | UMOUNT2 | PIVOT_ROOT => mounted(regs, nr, ret),
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

/// A child was taken from wait4 or waitid. A caller outside of all scopes counts when the child is in one; its
/// number says which only for callers in the initial pid namespace.
#[inline(always)]
fn waited(regs: usize, nr: u64, ret: i64) {
    let is_waitid = nr == WAITID;
    if ret < 0 || (!is_waitid && ret == 0) {
        return;
    }
    let task = current();
    if is_compat(task) {
        return;
    }
    let child: u32;
    let options: u32;
    let mut status = 0u32;
    let mut has_status = 0u32;
    if is_waitid {
        options = rd::<u64>(regs, off!(regs_arg3)) as u32;
        let info: u64 = rd(regs, off!(regs_arg2));
        // siginfo_t: si_code at 8, si_pid at 16.
        if let (true, Some(code), Some(pid)) = (info != 0, user::<u32>(info + 8), user::<u32>(info + 16)) {
            child = pid;
            status = code;
            has_status = 1;
        } else if rd::<u64>(regs, off!(regs_arg0)) as u32 as u64 == P_PID {
            child = rd::<u64>(regs, off!(regs_arg1)) as u32;
        } else {
            return;
        }
    } else {
        options = rd::<u64>(regs, off!(regs_arg2)) as u32;
        child = ret as u32;
        let wstatus: u64 = rd(regs, off!(regs_arg1));
        if wstatus != 0
            && let Some(value) = user::<u32>(wstatus)
        {
            status = value;
            has_status = 1;
        }
    }
    if child == 0 || options & WNOWAIT != 0 {
        return;
    }
    let pid: usize = rd(task, off!(task_thread_pid));
    let level: u32 = rd(pid, off!(pid_level));
    let of_child = if level == 0 { scope::of_tgid(child) } else { 0 };
    let Some(scopes) = Scopes::of(of_child, scope::of_current()) else { return };
    emit::<Wait>(scopes, kind::WAIT, |record| {
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
        emit::<Mount>(scopes, kind::MOUNT, |record| {
            user_str(arg0, &mut record.from);
            user_str(arg1, &mut record.target);
            user_str(rd(regs, off!(regs_arg2)), &mut record.fstype);
            record.flags = rd(regs, off!(regs_arg3));
            record.ret = ret;
            record.mnt_ns = mnt_ns(task);
        });
    } else if nr == UMOUNT2 {
        emit::<Umount>(scopes, kind::UMOUNT, |record| {
            user_str(arg0, &mut record.target);
            record.flags = arg1;
            record.ret = ret;
            record.mnt_ns = mnt_ns(task);
        });
    } else {
        emit::<PivotRoot>(scopes, kind::PIVOT_ROOT, |record| {
            user_str(arg0, &mut record.new_root);
            user_str(arg1, &mut record.put_old);
            record.ret = ret;
            record.mnt_ns = mnt_ns(task);
        });
    }
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
