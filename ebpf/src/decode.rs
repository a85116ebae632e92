//! From the bytes of a record to events.

use bytemuck::Pod;
use podproof_abi as abi;
use podproof_abi::{Header, NsInodes, kind};

use crate::event::{
    Creds, Event, EventKind, NsSet, OomConstraint, ReapSource, Reaper, RootMount, SignalAction, SignalResult,
    TaskRef, TaskView, WaitCall,
};
use crate::history::{History, numbers, task_ref};

const CLONE_THREAD: u64 = 0x1_0000;
const SIGCHLD: u32 = 17;
const WNOHANG: u32 = 1;
const WUNTRACED_OR_CONTINUED: u32 = 2 | 8;
const WNOWAIT: u32 = 0x0100_0000;

/// A record that the reader cannot understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The header of a record, if it is one of this version and length.
pub(crate) fn header(bytes: &[u8]) -> Result<Header, Malformed> {
    let head = bytes.get(..size_of::<Header>()).ok_or(Malformed)?;
    let header: Header = bytemuck::try_pod_read_unaligned(head).map_err(|_error| Malformed)?;
    // The ring rounds entries up to 8 bytes; every record is a multiple of that.
    if header.abi != abi::ABI_VERSION || header.len as usize != bytes.len() {
        return Err(Malformed);
    }
    Ok(header)
}

fn record<T: Pod>(bytes: &[u8]) -> Result<T, Malformed> {
    bytemuck::try_pod_read_unaligned(bytes).map_err(|_error| Malformed)
}

/// The cookie of a fence record.
pub(crate) fn fence_cookie(bytes: &[u8]) -> Result<u64, Malformed> {
    Ok(record::<abi::Fence>(bytes)?.cookie)
}

/// Decodes one record for one of its scopes. A record can say two things (the end of a task, and that it had another
/// parent than at its birth), or nothing (a wait that returned a stopped child).
pub(crate) fn events(
    bytes: &[u8],
    scope: u32,
    history: &mut History,
    next_seq: &mut u64,
    out: &mut Vec<Event>,
) -> Result<(), Malformed> {
    let header = header(bytes)?;
    let mut push =
        |hook: &'static str, kind: EventKind| push_event(&header, scope, next_seq, out, hook, kind);
    match header.kind {
        kind::NEW_TASK => {
            let r: abi::NewTask = record(bytes)?;
            if r.flags & CLONE_THREAD == 0 {
                history.born(&r.child);
            }
            let child = task_view(&r.child);
            // A thread that is no leader has -1.
            let exit_signal = r.child.exit_signal.max(0);
            push("tp_btf/task_newtask", EventKind::NewTask { child, flags: r.flags, exit_signal });
        }
        kind::EXEC => {
            let r: abi::Exec = record(bytes)?;
            let hook = "tp_btf/sched_process_exec";
            if let Some((process, from)) = history.executed(&r.task) {
                push(hook, EventKind::Reparent { task: process, from, to: task_ref(r.task.parent) });
            }
            push(hook, exec(&r));
        }
        kind::EXIT => {
            let r: abi::Exit = record(bytes)?;
            let hook = "tp_btf/sched_process_exit";
            let task = task_view(&r.task);
            if r.task.task.tid == r.task.task.tgid {
                history.leader_ended(&r.task, r.tracer.tgid);
            }
            if r.group_dead != 0
                && let Some((process, from)) = history.group_ended(&r.task)
            {
                push(hook, EventKind::Reparent { task: process, from, to: task.parent });
            }
            let oom = (r.has_oom != 0).then_some(r.oom != 0);
            let tracer = (r.tracer.tgid != 0).then(|| task_ref(r.tracer));
            push(
                hook,
                EventKind::Exit { task, status: r.status, group_dead: r.group_dead != 0, oom, tracer },
            );
        }
        kind::FREE => {
            let r: abi::Free = record(bytes)?;
            let task = task_ref(r.task);
            history.freed(task);
            push("tp_btf/sched_process_free", EventKind::Free { task });
        }
        kind::SIGNAL_GENERATE => {
            let r: abi::SignalGenerate = record(bytes)?;
            let hook = "tp_btf/signal_generate";
            push(hook, signal_generate(&r)?);
            if let Some((task, parent)) = zombie_start(&r, &header, history) {
                history.zombie(task, header.boot_ns);
                push(hook, EventKind::ZombieStart { task, parent, si_code: r.code });
            }
        }
        kind::SIGNAL_DELIVER => {
            let r: abi::SignalDeliver = record(bytes)?;
            let action = match r.action {
                0 => SignalAction::Default,
                1 => SignalAction::Ignore,
                _ => SignalAction::Handler,
            };
            let kind = EventKind::SignalDeliver { signal: r.signal, si_code: r.code, action };
            push("tp_btf/signal_deliver", kind);
        }
        kind::OOM => {
            let r: abi::Oom = record(bytes)?;
            push("tp_btf/mark_victim", oom(&r));
        }
        kind::WAIT => {
            let r: abi::Wait = record(bytes)?;
            let hook = "tp_btf/sys_exit";
            if let Some((task, ns_pids)) = reap_by_wait(&r, &header, history) {
                let zombie_ns = history.reaped(task, header.boot_ns);
                let (by, reaper) = (ReapSource::Wait, Reaper::Parent);
                push(hook, EventKind::Reap { task, ns_pids, by, reaper, zombie_ns });
            }
            push(hook, wait(&r));
        }
        kind::RELEASE => {
            let r: abi::Release = record(bytes)?;
            let task = task_ref(r.task);
            history.released(task);
            let zombie_ns = history.reaped(task, header.boot_ns);
            let (reaper, hook) = match r.role {
                abi::reaper::PARENT => (Reaper::Parent, "fentry/release_task"),
                abi::reaper::TRACER => (Reaper::Tracer, "fentry/release_task"),
                abi::reaper::AUTO => (Reaper::Auto, "fentry/release_task"),
                abi::reaper::AUTO_BY_THREAD => (Reaper::Auto, "fexit/do_notify_parent"),
                _ => return Err(Malformed),
            };
            let (ns_pids, by) = (numbers(&r.nr, r.level), ReapSource::ReleaseTask);
            push(hook, EventKind::Reap { task, ns_pids, by, reaper, zombie_ns });
        }
        kind::CGROUP_FREEZE
        | kind::CGROUP_FROZEN
        | kind::CGROUP_POPULATED
        | kind::CGROUP_MKDIR
        | kind::CGROUP_RMDIR
        | kind::CGROUP_ATTACH => {
            let (hook, kind) = cgroup(header.kind, bytes)?;
            push(hook, kind);
        }
        _ => {
            let kind = syscall(header.kind, bytes)?;
            push("tp_btf/sys_exit", kind);
        }
    }
    Ok(())
}

fn exec(r: &abi::Exec) -> EventKind {
    let [cap_inheritable, cap_permitted, cap_effective, cap_bounding, cap_ambient] = r.caps;
    EventKind::Exec {
        task: task_view(&r.task),
        filename: c_string(&r.filename),
        old_tid: r.old_tid,
        creds: Creds {
            uid: r.euid,
            gid: r.egid,
            cap_inheritable,
            cap_permitted,
            cap_effective,
            cap_bounding,
            cap_ambient,
            no_new_privs: r.no_new_privs != 0,
            seccomp_mode: r.seccomp_mode,
        },
        root: (r.has_root != 0).then_some(RootMount {
            mount_id: r.root_mount_id,
            // The kernel's own dev_t has 20 bits of minor number.
            dev_major: r.root_dev >> 20,
            dev_minor: r.root_dev & 0xf_ffff,
            is_mount_root: r.root_is_mount_root != 0,
        }),
    }
}

fn signal_generate(r: &abi::SignalGenerate) -> Result<EventKind, Malformed> {
    let result = match r.result {
        0 => SignalResult::Delivered,
        1 => SignalResult::Ignored,
        2 => SignalResult::AlreadyPending,
        3 => SignalResult::OverflowFail,
        4 => SignalResult::LoseInfo,
        _ => return Err(Malformed),
    };
    Ok(EventKind::SignalGenerate {
        signal: r.signal,
        si_code: r.code,
        target: task_ref(r.target),
        target_ns_pids: numbers(&r.nr, r.level),
        group: r.group != 0,
        result,
    })
}

/// A `SIGCHLD` of the kernel for a child that ended. The child is the sender's process; or, when a dying parent hands
/// its zombies on, one that ended earlier. Returns it, and who was told.
fn zombie_start(r: &abi::SignalGenerate, header: &Header, history: &History) -> Option<(TaskRef, TaskRef)> {
    if r.signal != SIGCHLD || !(1..=3).contains(&r.code) {
        return None;
    }
    let is_sender = r.sender_pid_ns_at_target == r.target_pid_ns && r.sender_nr_at_target == r.chld_pid;
    let task = if is_sender {
        TaskRef { tid: header.tgid, tgid: header.tgid, start_ns: r.sender_leader_start_ns }
    } else {
        history.by_number(r.target_pid_ns, r.chld_pid)?.task
    };
    Some((task, task_ref(r.target)))
}

/// A wait that took a child, unless the exact release is known already. A tracer that is not the parent takes only
/// the status: the zombie stays for the parent.
fn reap_by_wait(r: &abi::Wait, header: &Header, history: &History) -> Option<(TaskRef, Vec<u32>)> {
    if r.ret < 0 || r.nr == 0 || r.options & WNOWAIT != 0 {
        return None;
    }
    let ended = history.by_number(r.pid_ns, r.nr);
    let ends_a_zombie = match (r.has_status != 0, r.is_waitid != 0) {
        (true, true) => (1..=3).contains(&r.status),
        (true, false) => r.status & 0xff != 0x7f && r.status != 0xffff,
        // waitid without WNOHANG has taken somebody; with it nothing tells whether, but that there was one to take.
        (false, true) if r.options & WNOHANG != 0 => ended.is_some_and(|ended| history.is_zombie(ended.task)),
        (false, _) => r.options & WUNTRACED_OR_CONTINUED == 0 || ended.is_some(),
    };
    if !ends_a_zombie {
        return None;
    }
    match ended {
        Some(ended) if history.is_released(ended.task.tgid) => None,
        Some(ended) if ended.tracer_tgid == header.tgid && ended.parent_tgid != header.tgid => None,
        Some(ended) => Some((ended.task, ended.ns_pids.clone())),
        // A child whose end was not seen; in the initial namespace its number is enough.
        None if r.level == 0 && history.is_released(r.nr) => None,
        None if r.level == 0 => Some((TaskRef { tid: r.nr, tgid: r.nr, start_ns: 0 }, vec![r.nr])),
        None => None,
    }
}

fn wait(r: &abi::Wait) -> EventKind {
    EventKind::Wait {
        call: if r.is_waitid != 0 { WaitCall::Waitid } else { WaitCall::Wait4 },
        options: r.options,
        ret: r.ret,
        child: (r.nr != 0).then_some(r.nr),
        status: (r.has_status != 0).then_some(r.status),
    }
}

fn oom(r: &abi::Oom) -> EventKind {
    let constraint = match r.constraint {
        _ if r.has_constraint == 0 => None,
        0 => Some(OomConstraint::Global),
        1 => Some(OomConstraint::Cpuset),
        2 => Some(OomConstraint::MemoryPolicy),
        3 => Some(OomConstraint::Memcg),
        _ => None,
    };
    EventKind::OomVictim {
        task: task_ref(r.task),
        cgroup_id: r.cgroup_id,
        constraint,
        limit_cgroup_id: (r.limit_cgroup_id != 0).then_some(r.limit_cgroup_id),
    }
}

/// Where records of this scope were lost: noticed at the next one that found room.
pub(crate) fn gap(header: &Header, scope: u32, lost: u64, next_seq: &mut u64, out: &mut Vec<Event>) {
    push_event(header, scope, next_seq, out, "ring", EventKind::Gap { lost });
}

fn push_event(
    header: &Header,
    scope: u32,
    next_seq: &mut u64,
    out: &mut Vec<Event>,
    hook: &'static str,
    kind: EventKind,
) {
    let seq = *next_seq;
    *next_seq += 1;
    out.push(Event {
        seq,
        time_ns: header.boot_ns,
        cpu: header.cpu,
        scope,
        current: TaskRef { tid: header.tid, tgid: header.tgid, start_ns: header.start_ns },
        comm: c_string(&header.comm),
        source: hook.into(),
        kind,
    });
}

fn cgroup(kind: u16, bytes: &[u8]) -> Result<(&'static str, EventKind), Malformed> {
    if kind == kind::CGROUP_ATTACH {
        let r: abi::Attach = record(bytes)?;
        let kind = EventKind::CgroupAttach {
            id: r.id,
            hierarchy: r.hierarchy,
            path: c_string(&r.path),
            task: task_ref(r.task),
            threadgroup: r.threadgroup != 0,
        };
        return Ok(("tp_btf/cgroup_attach_task", kind));
    }
    let r: abi::Cgroup = record(bytes)?;
    let (id, hierarchy, path, value) = (r.id, r.hierarchy, c_string(&r.path), r.value != 0);
    Ok(match kind {
        kind::CGROUP_MKDIR => ("tp_btf/cgroup_mkdir", EventKind::CgroupMkdir { id, hierarchy, path }),
        kind::CGROUP_RMDIR => ("tp_btf/cgroup_rmdir", EventKind::CgroupRmdir { id, hierarchy, path }),
        kind::CGROUP_FREEZE => {
            let hook = if value { "tp_btf/cgroup_freeze" } else { "tp_btf/cgroup_unfreeze" };
            (hook, EventKind::CgroupFreeze { id, hierarchy, path, freeze: value })
        }
        kind::CGROUP_FROZEN => {
            ("tp_btf/cgroup_notify_frozen", EventKind::CgroupFrozen { id, hierarchy, path, frozen: value })
        }
        kind::CGROUP_POPULATED => (
            "tp_btf/cgroup_notify_populated",
            EventKind::CgroupPopulated { id, hierarchy, path, populated: value },
        ),
        _ => return Err(Malformed),
    })
}

fn syscall(kind: u16, bytes: &[u8]) -> Result<EventKind, Malformed> {
    Ok(match kind {
        kind::CLONE_FAILED => {
            let r: abi::CloneFailed = record(bytes)?;
            EventKind::CloneFailed { flags: r.flags, errno: r.errno.cast_signed() }
        }
        kind::EXEC_FAILED => {
            let r: abi::ExecFailed = record(bytes)?;
            EventKind::ExecFailed { filename: c_string(&r.filename), errno: r.errno.cast_signed() }
        }
        kind::CGROUP_WRITE => {
            let r: abi::CgroupWrite = record(bytes)?;
            let value = c_string(&r.value);
            EventKind::CgroupWrite {
                cgroup_id: r.id,
                file: c_string(&r.file),
                value: value.strip_suffix('\n').unwrap_or(&value).into(),
                ret: r.ret,
            }
        }
        kind::MOVE_MOUNT => {
            let r: abi::MoveMount = record(bytes)?;
            let (from, target) = (c_string(&r.from), c_string(&r.target));
            EventKind::MoveMount { from, target, flags: r.flags, ret: r.ret, mnt_ns: inode(r.mnt_ns) }
        }
        kind::CHROOT
        | kind::FSOPEN
        | kind::OPEN_TREE
        | kind::MOUNT_SETATTR
        | kind::HOSTNAME
        | kind::DOMAINNAME => path(kind, &record(bytes)?),
        kind::SETNS | kind::UNSHARE => {
            let r: abi::NsSwitch = record(bytes)?;
            let before = if r.has_before != 0 { ns_set(&r.before) } else { NsSet::default() };
            let after = ns_set(&r.after);
            if kind == kind::SETNS {
                EventKind::Setns { fd: r.fd, nstype: r.flags as u32, ret: r.ret, before, after }
            } else {
                EventKind::Unshare { flags: r.flags, ret: r.ret, before, after }
            }
        }
        kind::MOUNT => {
            let r: abi::Mount = record(bytes)?;
            EventKind::Mount {
                from: c_string(&r.from),
                target: c_string(&r.target),
                fstype: c_string(&r.fstype),
                flags: r.flags,
                ret: r.ret,
                mnt_ns: inode(r.mnt_ns),
            }
        }
        kind::UMOUNT => {
            let r: abi::Umount = record(bytes)?;
            let target = c_string(&r.target);
            EventKind::Umount { target, flags: r.flags, ret: r.ret, mnt_ns: inode(r.mnt_ns) }
        }
        kind::PIVOT_ROOT => {
            let r: abi::PivotRoot = record(bytes)?;
            let (new_root, put_old) = (c_string(&r.new_root), c_string(&r.put_old));
            EventKind::PivotRoot { new_root, put_old, ret: r.ret, mnt_ns: inode(r.mnt_ns) }
        }
        kind::SHMGET => {
            let r: abi::Shm = record(bytes)?;
            EventKind::Shmget { key: r.id, size: r.size, flags: r.flags, ret: r.ret, ipc_ns: inode(r.ipc_ns) }
        }
        kind::SHMAT => {
            let r: abi::Shm = record(bytes)?;
            EventKind::Shmat { id: r.id, ret: r.ret, ipc_ns: inode(r.ipc_ns) }
        }
        _ => return Err(Malformed),
    })
}

/// The calls with one string.
fn path(kind: u16, r: &abi::Path) -> EventKind {
    let (path, flags, ret, ns) = (c_string(&r.path), r.flags, r.ret, inode(r.ns));
    match kind {
        kind::CHROOT => EventKind::Chroot { path, ret, mnt_ns: ns },
        kind::FSOPEN => EventKind::Fsopen { fstype: path, ret },
        kind::OPEN_TREE => EventKind::OpenTree { path, flags, ret },
        kind::MOUNT_SETATTR => {
            EventKind::MountSetattr { path, set: r.set, clear: r.clear, flags, ret, mnt_ns: ns }
        }
        _ => EventKind::Hostname { name: path, domain: kind == kind::DOMAINNAME, ret, uts_ns: ns },
    }
}

fn task_view(view: &abi::TaskView) -> TaskView {
    TaskView {
        task: task_ref(view.task),
        ns_pids: numbers(&view.nr, view.level),
        ns: ns_set(&view.ns),
        cgroup_id: view.cgroup_id,
        parent: task_ref(view.parent),
        parent_pid_ns: inode(view.parent_pid_ns),
    }
}

fn ns_set(ns: &NsInodes) -> NsSet {
    NsSet {
        mnt: inode(ns.mnt),
        uts: inode(ns.uts),
        ipc: inode(ns.ipc),
        net: inode(ns.net),
        pid: inode(ns.pid),
        pid_for_children: inode(ns.pid_for_children),
        cgroup: inode(ns.cgroup),
        user: inode(ns.user),
        time: inode(ns.time),
        time_for_children: inode(ns.time_for_children),
    }
}

fn inode(inum: u32) -> Option<u32> {
    (inum != 0).then_some(inum)
}

/// The bytes up to the first zero.
fn c_string(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
