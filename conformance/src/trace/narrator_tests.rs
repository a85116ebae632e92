//! What is said of each kind of event.

use std::collections::BTreeSet;

use podproof_ebpf::event::{
    Creds, EventKind, NsSet, OomConstraint, ReapSource, Reaper, RootMount, SignalAction, SignalResult,
    TaskRef, TaskView, WaitCall,
};

use super::Narrator;
use super::sample::{Story, born, exit, signal, task, view};
use crate::observe::trace::CLONE_THREAD;

const MOUNT_NS: u32 = 4_026_532_001;
const NET_NS: u32 = 4_026_532_002;
const PID_NS: u32 = 4_026_532_003;
const CLONE_POD: u64 = 0x2000_0000 | 0x4000_0000 | 0x0002_0000;

fn told(story: &Story) -> Vec<String> {
    let mut narrator = Narrator::new();
    story.events.iter().map(|event| narrator.tell(event).sentence()).collect()
}

/// What is said of one event by process 10, `sh`.
fn one(kind: EventKind) -> String {
    told(Story::default().add("sh", 10, kind)).remove(0)
}

fn root_creds() -> Creds {
    let all = (1 << 41) - 1;
    Creds {
        uid: 0,
        gid: 0,
        cap_inheritable: 0,
        cap_permitted: all,
        cap_effective: all,
        cap_bounding: all,
        cap_ambient: 0,
        no_new_privs: false,
        seccomp_mode: 0,
    }
}

fn exec(tgid: u32, filename: &str, creds: Creds) -> EventKind {
    let task = view(tgid, &[tgid]);
    EventKind::Exec { task, filename: filename.into(), old_tid: tgid, creds, root: None }
}

fn reap(tgid: u32, reaper: Reaper, zombie_ns: Option<u64>) -> EventKind {
    let by = ReapSource::ReleaseTask;
    EventKind::Reap { task: task(tgid), ns_pids: vec![tgid], by, reaper, zombie_ns }
}

fn mounted(from: &str, fstype: &str, flags: u64, ret: i64) -> EventKind {
    let (from, fstype) = (from.into(), fstype.into());
    EventKind::Mount { from, target: "/mnt".into(), fstype, flags, ret, mnt_ns: None }
}

fn written(file: &str, value: &str, ret: i64) -> EventKind {
    EventKind::CgroupWrite { cgroup_id: 7, file: file.into(), value: value.into(), ret }
}

/// Name of the kind, as its JSON has it.
fn kind_name(kind: &EventKind) -> String {
    serde_json::to_value(kind).unwrap()["event"].as_str().unwrap().to_owned()
}

fn attached(whom: u32, threadgroup: bool) -> EventKind {
    let path = "/pod/a".into();
    EventKind::CgroupAttach { id: 7, hierarchy: 0, path, task: task(whom), threadgroup }
}

/// An event of each kind, many in several forms, and what is said of it.
fn table() -> Vec<(EventKind, &'static str)> {
    let path = || "/pod/a".to_owned();
    let no_ns = NsSet::default();
    let in_mnt = NsSet { mnt: Some(MOUNT_NS), ..no_ns };
    vec![
        (born(11, &[11], 0), "sh 10 clones 11"),
        (born(11, &[11, 1], CLONE_POD), "sh 10 clones 11/1 into new mnt net pid namespaces"),
        (born(11, &[11], 0x0400_0000), "sh 10 clones 11 into a new uts namespace"),
        (born(11, &[11], 0x2_0000_0000), "sh 10 clones 11 into the cgroup with id 1"),
        (born(12, &[12], CLONE_THREAD), "sh 10 starts thread 12"),
        (
            EventKind::CloneFailed { flags: 0x2000_0000, errno: 11 },
            "sh 10 cannot clone into a new pid namespace: EAGAIN: Try again",
        ),
        (exec(10, "/bin/true", root_creds()), "sh 10 executes /bin/true"),
        (
            exec(
                10,
                "/pause",
                Creds { cap_effective: 7, no_new_privs: true, seccomp_mode: 2, ..root_creds() },
            ),
            "sh 10 executes /pause with 3 capabilities, no_new_privs, a seccomp filter",
        ),
        (
            exec(10, "/app", Creds { uid: 1000, cap_effective: 0, ..root_creds() }),
            "sh 10 executes /app as uid 1000",
        ),
        (
            exec(10, "/app", Creds { uid: 1000, cap_effective: 1, ..root_creds() }),
            "sh 10 executes /app as uid 1000, with 1 capability",
        ),
        (
            EventKind::ExecFailed { filename: "/app".into(), errno: 13 },
            "sh 10 cannot execute /app: EACCES: Permission denied",
        ),
        (exit(10, 3 << 8, true), "sh 10 ends with code 3"),
        (exit(10, 9, true), "sh 10 is killed by SIGKILL"),
        (exit(10, 0, false), "sh 10 main thread ends with code 0"),
        (
            EventKind::Exit {
                task: view(10, &[10]),
                status: 9,
                group_dead: true,
                oom: Some(true),
                tracer: Some(task(20)),
            },
            "sh 10 is killed by SIGKILL, chosen by the OOM killer, traced by 20",
        ),
        (
            EventKind::ZombieStart { task: task(11), parent: task(10), si_code: 1 },
            "11 is a zombie; its parent sh 10 is told",
        ),
        (reap(11, Reaper::Parent, Some(1_500_000)), "sh 10 reaps 11, a zombie for 1.50 ms"),
        (reap(11, Reaper::Unknown, None), "sh 10 reaps 11"),
        (reap(11, Reaper::Tracer, None), "sh 10 reaps 11 as its tracer"),
        (reap(10, Reaper::Auto, None), "kernel reaps sh 10, as its parent ignores SIGCHLD"),
        (
            EventKind::Wait { call: WaitCall::Wait4, options: 1, ret: 0, child: None, status: None },
            "sh 10 calls wait4 with WNOHANG: nothing yet",
        ),
        (
            EventKind::Wait { call: WaitCall::Wait4, options: 0, ret: 2, child: Some(2), status: Some(256) },
            "sh 10 calls wait4: its child 2 ends with code 1",
        ),
        (
            EventKind::Wait { call: WaitCall::Waitid, options: 4, ret: 0, child: Some(2), status: Some(2) },
            "sh 10 calls waitid with WEXITED: its child 2 was killed",
        ),
        (
            EventKind::Wait { call: WaitCall::Wait4, options: 0, ret: -10, child: None, status: None },
            "sh 10 calls wait4: ECHILD: No child processes",
        ),
        (EventKind::Free { task: task(11) }, "11 is freed by the kernel"),
        (
            EventKind::Reparent { task: task(11), from: task(10), to: task(1) },
            "11 has been adopted by 1 (was the child of sh 10)",
        ),
        (signal(15, 0, 11), "sh 10 sends SIGTERM to 11"),
        (signal(10, 0, 10), "sh 10 sends SIGUSR1 to itself"),
        (signal(9, 0x80, 11), "kernel sends SIGKILL to 11 as sh 10 runs"),
        (signal(11, 1, 10), "kernel sends SIGSEGV to sh 10"),
        (signal(17, 1, 9), "kernel sends SIGCHLD to 9 for a child that ended"),
        (
            EventKind::SignalGenerate {
                signal: 15,
                si_code: -6,
                target: TaskRef { tid: 12, ..task(11) },
                target_ns_pids: vec![12, 2],
                group: false,
                result: SignalResult::Ignored,
            },
            "sh 10 sends SIGTERM to thread 12 of 11, which ignores it",
        ),
        (
            EventKind::SignalDeliver { signal: 1, si_code: 0, action: SignalAction::Handler },
            "sh 10 takes SIGHUP by its handler",
        ),
        (
            EventKind::OomVictim {
                task: task(10),
                cgroup_id: 7,
                constraint: Some(OomConstraint::Memcg),
                limit_cgroup_id: Some(6),
            },
            "kernel is out of memory, chooses sh 10 in the cgroup with id 7 to die: limit of the cgroup with id 6",
        ),
        (EventKind::CgroupMkdir { id: 7, hierarchy: 0, path: path() }, "sh 10 makes cgroup /pod/a"),
        (
            EventKind::CgroupRmdir { id: 7, hierarchy: 4, path: path() },
            "sh 10 removes cgroup /pod/a (v1 hierarchy 4)",
        ),
        (attached(10, true), "sh 10 moves itself to cgroup /pod/a"),
        (attached(11, true), "sh 10 moves 11 to cgroup /pod/a"),
        (attached(10, false), "sh 10 moves its thread 10 to cgroup /pod/a"),
        (
            EventKind::CgroupFreeze { id: 7, hierarchy: 0, path: path(), freeze: true },
            "sh 10 freezes cgroup /pod/a",
        ),
        (
            EventKind::CgroupFreeze { id: 7, hierarchy: 0, path: path(), freeze: false },
            "sh 10 thaws cgroup /pod/a",
        ),
        (
            EventKind::CgroupFrozen { id: 7, hierarchy: 0, path: path(), frozen: true },
            "kernel tells that cgroup /pod/a stands still",
        ),
        (
            EventKind::CgroupPopulated { id: 7, hierarchy: 0, path: path(), populated: false },
            "kernel tells that cgroup /pod/a is empty",
        ),
        (written("memory.max", "max", 3), "sh 10 writes max to memory.max of the cgroup with id 7"),
        (
            written("cgroup.subtree_control", "+pids", -16),
            "sh 10 cannot set controllers +pids below the cgroup with id 7: EBUSY: Device or resource busy",
        ),
        (written("cgroup.kill", "1", 1), "sh 10 kills all in the cgroup with id 7"),
        (
            EventKind::Setns { fd: 3, nstype: 0x0002_0000, ret: 0, before: no_ns, after: in_mnt },
            "sh 10 joins the mnt namespace 4026532001",
        ),
        (
            EventKind::Setns { fd: 3, nstype: 0x0002_0000, ret: 0, before: in_mnt, after: in_mnt },
            "sh 10 joins the mnt namespace that it is in",
        ),
        (
            EventKind::Setns { fd: 3, nstype: 0x4000_0000, ret: -1, before: no_ns, after: no_ns },
            "sh 10 cannot join a net namespace: EPERM: Operation not permitted",
        ),
        (
            EventKind::Unshare { flags: 0x2002_0000, ret: 0, before: no_ns, after: no_ns },
            "sh 10 moves into new mnt pid namespaces (pid for its children)",
        ),
        (
            EventKind::Unshare { flags: 0x2000_0000, ret: -28, before: no_ns, after: no_ns },
            "sh 10 cannot move into a new pid namespace: ENOSPC: No space left on device",
        ),
        (
            EventKind::Unshare { flags: 0x200, ret: 0, before: no_ns, after: no_ns },
            "sh 10 stops sharing root and working directory",
        ),
        (mounted("proc", "proc", 0xe, 0), "sh 10 mounts proc on /mnt (nosuid,nodev,noexec)"),
        (mounted("/dev/sda1", "ext4", 0, 0), "sh 10 mounts ext4 /dev/sda1 on /mnt"),
        (mounted("/src", "", 0x5000, 0), "sh 10 bind-mounts /src with all below it on /mnt"),
        (
            mounted("/src", "", 0x1000, -2),
            "sh 10 cannot bind-mount /src on /mnt: ENOENT: No such file or directory",
        ),
        (mounted("", "", 0x1021, 0), "sh 10 remounts /mnt as ro"),
        (mounted("", "", 0x4_4000, 0), "sh 10 makes the mount at /mnt with all below it private"),
        (mounted("/src", "", 0x2000, 0), "sh 10 moves the mount at /src to /mnt"),
        (
            EventKind::Umount { target: "/mnt".into(), flags: 2, ret: 0, mnt_ns: None },
            "sh 10 unmounts /mnt lazily",
        ),
        (
            EventKind::PivotRoot { new_root: ".".into(), put_old: "old".into(), ret: 0, mnt_ns: None },
            "sh 10 pivots its root to ., the old one to old",
        ),
        (
            EventKind::Chroot { path: "/new".into(), ret: -20, mnt_ns: None },
            "sh 10 cannot change its root to /new: ENOTDIR: Not a directory",
        ),
        (EventKind::Fsopen { fstype: "tmpfs".into(), ret: 5 }, "sh 10 begins a tmpfs file system (fd 5)"),
        (
            EventKind::OpenTree { path: "/src".into(), flags: 0x8001, ret: 5 },
            "sh 10 copies the mount at /src with all below it (fd 5)",
        ),
        (
            EventKind::MoveMount {
                from: String::new(),
                target: "/mnt".into(),
                flags: 4,
                ret: 0,
                mnt_ns: None,
            },
            "sh 10 attaches a mount to /mnt",
        ),
        (
            EventKind::MoveMount {
                from: String::new(),
                target: String::new(),
                flags: 0x44,
                ret: 0,
                mnt_ns: None,
            },
            "sh 10 attaches a mount to an open directory",
        ),
        (
            EventKind::MountSetattr {
                path: String::new(),
                set: 0,
                clear: 0,
                flags: 0x9000,
                ret: 0,
                mnt_ns: None,
            },
            "sh 10 changes the propagation of an open mount and all below it",
        ),
        (
            EventKind::OpenTree { path: String::new(), flags: 0x9001, ret: -9 },
            "sh 10 cannot copy an open mount with all below it: EBADF: Bad file number",
        ),
        (
            EventKind::MountSetattr {
                path: "/mnt".into(),
                set: 0x3,
                clear: 0x8,
                flags: 0x8000,
                ret: 0,
                mnt_ns: None,
            },
            "sh 10 sets ro,nosuid and not noexec on the mount at /mnt and all below it",
        ),
        (
            EventKind::Hostname { name: "web".into(), domain: false, ret: 0, uts_ns: None },
            "sh 10 sets the host name to web",
        ),
        (
            EventKind::Shmget { key: 0x70, size: 4096, flags: 0, ret: 3, ipc_ns: Some(0xEFFF_FFFF) },
            "sh 10 gets shared memory with key 0x70, 4096 bytes, in the node's ipc namespace (4026531839): id 3",
        ),
        (
            EventKind::Shmat { id: 3, ret: -22, ipc_ns: None },
            "sh 10 cannot attach shared memory 3: EINVAL: Invalid argument",
        ),
        (EventKind::Gap { lost: 12 }, "12 records lost here"),
        (EventKind::Gap { lost: 1 }, "1 record lost here"),
        (EventKind::Gap { lost: u64::MAX }, "an unknown number of records lost here"),
    ]
}

#[test]
fn every_event_has_its_words() {
    for (kind, expected) in table() {
        assert_eq!(one(kind.clone()), expected, "{kind:?}");
    }
}

#[test]
fn the_table_has_every_kind_of_event() {
    // The variants of the enum, as its deserializer lists them when it meets an unknown one.
    let error = serde_json::from_str::<EventKind>(r#"{"event":"none such"}"#).unwrap_err().to_string();
    let kinds: BTreeSet<String> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(kinds.contains("gap") && kinds.contains("new_task"), "{error}");
    let told: BTreeSet<String> = table().iter().map(|(kind, _)| kind_name(kind)).collect();
    assert_eq!(kinds, told);
}

#[test]
fn a_joined_namespace_has_the_name_of_who_was_first_in_it() {
    let ns = NsSet { net: Some(NET_NS), ..NsSet::default() };
    let child = TaskView { ns, ..view(11, &[11, 1]) };
    let mut exec_pause = view(11, &[11, 1]);
    exec_pause.ns = ns;
    let mut story = Story::default();
    story
        .add("podrt", 10, EventKind::NewTask { child, flags: CLONE_POD, exit_signal: 17 })
        .add(
            "pause",
            11,
            EventKind::Exec {
                task: exec_pause,
                filename: "/pause".into(),
                old_tid: 11,
                creds: root_creds(),
                root: None,
            },
        )
        .add(
            "podrt",
            10,
            EventKind::Setns {
                fd: 3,
                nstype: 0,
                ret: 0,
                before: NsSet { net: Some(1), ..NsSet::default() },
                after: ns,
            },
        );
    assert_eq!(
        told(&story),
        [
            "podrt 10 clones 11/1 into new mnt net pid namespaces",
            // Who executes has its old name until it has done so.
            "podrt 11/1 executes /pause",
            "podrt 10 joins the net namespace of pause 11/1 (4026532002)",
        ]
    );
}

#[test]
fn a_pid_namespace_is_joined_by_birth() {
    let inside = NsSet { pid: Some(PID_NS), ..NsSet::default() };
    let outside = Some(4_026_531_836);
    let first = TaskView { ns: inside, parent_pid_ns: outside, ..view(11, &[11, 1]) };
    let second = TaskView { ns: inside, parent_pid_ns: outside, ..view(12, &[12, 7]) };
    let mut story = Story::default();
    story.add("sh", 10, EventKind::NewTask { child: first, flags: 0, exit_signal: 17 }).add(
        "sh",
        10,
        EventKind::NewTask { child: second, flags: 0, exit_signal: 17 },
    );
    assert_eq!(
        told(&story),
        [
            "sh 10 clones 11/1 as the first of its pid namespace",
            "sh 10 clones 12/7 into the pid namespace of sh 11/1 (4026532003)",
        ]
    );
}

#[test]
fn a_birth_in_another_cgroup_says_which() {
    let mut story = Story::default();
    let in_pod = TaskView { cgroup_id: 7, ..view(11, &[11]) };
    story
        .add("sh", 10, EventKind::CgroupMkdir { id: 7, hierarchy: 0, path: "/pod".into() })
        // The same number in a hierarchy of v1 is another cgroup.
        .add("sh", 10, EventKind::CgroupMkdir { id: 7, hierarchy: 2, path: "/other".into() })
        .add("sh", 10, EventKind::NewTask { child: in_pod, flags: 0x2_0000_0000, exit_signal: 17 })
        .add("sh", 11, born(12, &[12], 0));
    let told = told(&story);
    assert_eq!(told[2], "sh 10 clones 11 into cgroup /pod");
    assert_eq!(told[3], "sh 11 clones 12 into the cgroup with id 1, as a child of sh 10");
}

#[test]
fn a_birth_tells_of_its_namespaces_and_its_cgroup() {
    let child = TaskView { cgroup_id: 7, ..view(11, &[11, 1]) };
    let kind = EventKind::NewTask { child, flags: CLONE_POD | 0x2_0000_0000, exit_signal: 17 };
    let mut story = Story::default();
    story.add("sh", 10, EventKind::CgroupMkdir { id: 7, hierarchy: 0, path: "/pod".into() });
    story.add("sh", 10, kind);
    assert_eq!(told(&story)[1], "sh 10 clones 11/1 into new mnt net pid namespaces and into cgroup /pod");
}

#[test]
fn an_adoption_that_an_exec_shows_has_the_old_name() {
    let adopted = EventKind::Reparent { task: task(11), from: task(12), to: task(10) };
    let mut story = Story::default();
    story.add("sh", 10, born(11, &[11], 0)).add("app", 11, adopted);
    story.add("app", 11, exec(11, "/app", root_creds()));
    assert_eq!(
        told(&story)[1..],
        ["sh 11 has been adopted by sh 10 (was the child of 12)", "sh 11 executes /app"]
    );
}

#[test]
fn the_end_of_a_namespace_kills_who_is_left_in_it() {
    const SI_KERNEL: i32 = 0x80;
    let ignored = |mut kind: EventKind| {
        if let EventKind::SignalGenerate { result, .. } = &mut kind {
            *result = SignalResult::Ignored;
        }
        kind
    };
    let mut story = Story::default();
    story.add("app", 11, exit(11, 0, true)).add("sh", 10, exit(10, 0, true));
    story.add("sh", 10, ignored(signal(9, SI_KERNEL, 11))).add("sh", 10, signal(9, SI_KERNEL, 12));
    // A number that comes back has not ended.
    story.add("sh", 9, born(11, &[11], 0)).add("sh", 10, ignored(signal(9, SI_KERNEL, 11)));
    story.add("sh", 10, ignored(signal(17, 1, 9)));
    let told = told(&story);
    assert_eq!(told[2], "kernel sends SIGKILL to app 11, which has ended, as sh 10 ends");
    assert_eq!(told[3], "kernel sends SIGKILL to 12 as sh 10 ends");
    assert_eq!(told[5], "kernel sends SIGKILL to sh 11, which ignores it, as sh 10 ends");
    assert_eq!(told[6], "kernel sends SIGCHLD to sh 9, which ignores it, for a child that ended");
}

#[test]
fn what_a_namespace_leaves_is_reaped_by_the_kernel() {
    let leaves = |init: u32, ns_pids: &[u32]| {
        let mut ended = exit(init, 0, true);
        if let EventKind::Exit { task, .. } = &mut ended {
            task.ns_pids = ns_pids.to_vec();
        }
        let mut left = view(11, &[11, 2]);
        left.parent = task(init);
        let killed = EventKind::Exit { task: left, status: 9, group_dead: true, oom: None, tracer: None };
        let mut story = Story::default();
        story.add("sh", init, ended).add("app", 11, killed).add("app", 11, reap(11, Reaper::Auto, None));
        told(&story).remove(2)
    };
    assert_eq!(leaves(10, &[10, 1]), "kernel reaps app 11, as its pid namespace ends");
    assert_eq!(leaves(10, &[10, 3]), "kernel reaps app 11, as its parent ignores SIGCHLD");
}

#[test]
fn an_end_tells_of_the_program_that_was_not_there() {
    let failed = |filename: &str| EventKind::ExecFailed { filename: filename.into(), errno: 2 };
    let mut story = Story::default();
    story.add("sh", 11, failed("/sbin/app")).add("sh", 11, failed("/bin/app"));
    story.add("sh", 11, exit(11, 127 << 8, true));
    assert_eq!(
        told(&story)[2],
        "sh 11 ends with code 127; it could not execute /bin/app: ENOENT: No such file or directory"
    );
    let mut found = Story::default();
    found.add("sh", 11, failed("/sbin/app")).add("app", 11, exec(11, "/bin/app", root_creds()));
    found.add("app", 11, exit(11, 0, true));
    assert_eq!(told(&found)[2], "app 11 ends with code 0");
}

#[test]
fn details_have_inodes_and_the_root() {
    let mut task = view(10, &[10]);
    task.ns = NsSet { net: Some(NET_NS), uts: Some(4_026_531_838), ..NsSet::default() };
    let root = Some(RootMount { mount_id: 61, dev_major: 0, dev_minor: 45, is_mount_root: true });
    let kind = EventKind::Exec { task, filename: "/app".into(), old_tid: 12, creds: root_creds(), root };
    let mut story = Story::default();
    story.add("app", 10, kind);
    assert_eq!(told(&story), ["app 10 executes /app, by its thread 12"]);
    let line = Narrator::new().detailed().tell(&story.events[0]);
    assert_eq!(
        line.sentence(),
        "app 10 executes /app, by its thread 12 in net:4026532002, root: mount 61 (0:45)"
    );
}

#[test]
fn only_a_thread_joins_a_namespace() {
    let mut story = Story::default();
    story.add(
        "sh",
        10,
        EventKind::Unshare { flags: 0x0400_0000, ret: 0, before: NsSet::default(), after: NsSet::default() },
    );
    story.events[0].current.tid = 12;
    assert_eq!(told(&story), ["sh 10 moves into a new uts namespace, its thread 12 alone"]);
}

#[test]
fn a_name_cannot_write_to_the_terminal() {
    let mut story = Story::default();
    story.add("\x1b[2J", 10, EventKind::Free { task: task(10) });
    assert_eq!(told(&story), ["\\u{1b}[2J 10 is freed by the kernel"]);
}

#[test]
fn times_begin_with_the_first_event() {
    let mut story = Story::default();
    story.add("sh", 10, exit(10, 0, true)).add("sh", 9, reap(10, Reaper::Parent, None));
    let mut narrator = Narrator::new();
    let times: Vec<u128> = story.events.iter().map(|event| narrator.tell(event).time.as_micros()).collect();
    assert_eq!(times, [0, 1000]);
}
