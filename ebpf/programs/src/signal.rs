//! Signals: sent (with the result) and taken. A `SIGCHLD` that tells of an end marks the start of a zombie.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use podproof_abi::{SignalDeliver, SignalGenerate, Zombie, kind, table};

use crate::count::refused;
use crate::emit::emit;
use crate::kernel::{
    Task, cgroup_id, current, is_init, keeps_counters, level, number_at, numbers, off, probe, rd, task_id,
    writes_events,
};
use crate::maps::{CONTROL, ZOMBIES};
use crate::scope::{self, Scopes};

const SIGCHLD: u32 = 17;
const SI_USER: i32 = 0;
const SI_KERNEL: i32 = 0x80;
/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV`: small numbers in place of a pointer.
const SEND_SIG_PRIV: u64 = 1;

/// `signal_generate(sig, info, task, group, result)`
#[btf_tracepoint(function = "signal_generate")]
pub(crate) fn signal_generate(ctx: BtfTracePointContext) -> u32 {
    let target: usize = ctx.arg(2);
    let sender = current();
    if keeps_counters() && ctx.arg::<u32>(0) == SIGCHLD {
        note_zombie(target, sender, ctx.arg(1));
    }
    if !writes_events() {
        return 0;
    }
    let of_target = scope::of_task(target);
    let of_sender = scope::of_current();
    let Some(scopes) = Scopes::of(of_target, of_sender) else { return 0 };
    let Some(level) = level(target) else {
        scopes.lose();
        return 0;
    };
    let signal: u32 = ctx.arg(0);
    let info: u64 = ctx.arg(1);
    let group: u32 = ctx.arg(3);
    let result: u32 = ctx.arg(4);
    emit::<SignalGenerate>(scopes, kind::SIGNAL_GENERATE, |record| {
        record.target = task_id(target);
        record.level = level;
        record.signal = signal;
        record.group = group & 1;
        record.result = result;
        numbers(target, (&raw mut record.nr).cast(), None);
        record.target_pid_ns = number_at(target, level).1;
        if info > SEND_SIG_PRIV {
            let info = info as usize;
            record.code = probe(info + off!(siginfo_code) as usize).unwrap_or(0);
            if signal == SIGCHLD {
                record.chld_pid = probe(info + off!(siginfo_chld_pid) as usize).unwrap_or(0);
            }
        } else {
            record.code = if info == SEND_SIG_PRIV { SI_KERNEL } else { SI_USER };
        }
        if signal == SIGCHLD {
            let leader: usize = rd(sender, off!(task_group_leader));
            record.sender_leader_start_ns = rd(leader, off!(task_start));
            let (nr, pid_ns) = number_at(leader, level);
            record.sender_nr_at_target = nr;
            record.sender_pid_ns_at_target = pid_ns;
        }
    });
    0
}

/// Remembers since when the sender is a zombie, while there is a hook that will end it. A dying process also tells the new
/// parents of zombies that it hands on ([`handed_on`]); it is no zombie itself at that moment.
#[inline(always)]
fn note_zombie(parent: Task, sender: Task, info: u64) {
    let has_release = CONTROL.get(0).is_some_and(|control| control.has_release != 0);
    if !has_release || info <= SEND_SIG_PRIV {
        return;
    }
    let code: i32 = probe(info as usize + off!(siginfo_code) as usize).unwrap_or(0);
    let leader: usize = rd(sender, off!(task_group_leader));
    if !(1..=3).contains(&code) || rd::<u32>(leader, off!(task_exit_state)) == 0 {
        return;
    }
    let own_cgroup = cgroup_id(leader);
    let (parent_tgid, parent_init) = as_parent(parent, own_cgroup);
    let zombie = Zombie {
        // SAFETY: the helper has no preconditions.
        since_ns: unsafe { bpf_ktime_get_boot_ns() },
        start_ns: rd(leader, off!(task_start)),
        cgroup_id: own_cgroup,
        parent_tgid,
        parent_init,
    };
    if let Err(error) = ZOMBIES.insert(rd::<u32>(leader, off!(task_tgid)), zombie, 0) {
        refused(table::ZOMBIES, error);
    }
}

/// A zombie, by its leader, has another parent from here on; it is as old as it was.
#[inline(always)]
pub(crate) fn handed_on(leader: Task) {
    let Some(zombie) = ZOMBIES.get_ptr_mut(rd::<u32>(leader, off!(task_tgid))) else { return };
    // SAFETY: a map's value.
    let start_ns = unsafe { (*zombie).start_ns };
    if start_ns != rd::<u64>(leader, off!(task_start)) {
        return;
    }
    let (parent_tgid, parent_init) = as_parent(rd(leader, off!(task_real_parent)), cgroup_id(leader));
    // SAFETY: a map's value; whoever changes a parent holds the kernel's lock of all tasks.
    unsafe { (*zombie).parent_tgid = parent_tgid };
    // SAFETY: as above.
    unsafe { (*zombie).parent_init = parent_init };
}

/// What a thread is as the parent of a zombie in this cgroup: [`Zombie::parent_tgid`] and [`Zombie::parent_init`].
#[inline(always)]
fn as_parent(thread: Task, zombies_cgroup: u64) -> (u32, u32) {
    let leader: usize = rd(thread, off!(task_group_leader));
    let init = match (is_init(leader), cgroup_id(leader) == zombies_cgroup) {
        (false, _) => 0,
        (true, true) => 1,
        (true, false) => 2,
    };
    (rd(leader, off!(task_tgid)), init)
}

/// `signal_deliver(sig, info, ka)`: `current` takes it.
#[btf_tracepoint(function = "signal_deliver")]
pub(crate) fn signal_deliver(ctx: BtfTracePointContext) -> u32 {
    let Some(scopes) = Scopes::of(scope::of_current(), 0) else { return 0 };
    let signal: u32 = ctx.arg(0);
    let info: u64 = ctx.arg(1);
    let action: usize = ctx.arg(2);
    emit::<SignalDeliver>(scopes, kind::SIGNAL_DELIVER, |record| {
        record.signal = signal;
        record.code = probe(info as usize + off!(siginfo_code) as usize).unwrap_or(0);
        let handler: u64 = rd(action, off!(sigaction_handler));
        record.action = if handler > 1 { 2 } else { handler as u32 };
    });
    0
}
