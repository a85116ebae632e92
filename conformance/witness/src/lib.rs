//! The protocol between the suite and the witness inside a container.
//!
//! The witness connects to the Unix seqpacket socket `/podproof/socket` (bound into the container from the
//! suite's cell) and sends one [`Hello`]. Then the suite sends [`Request`]s and the witness answers each with
//! one [`Reply`]; one message is one packet of JSON, at most [`MAX_PACKET`] bytes. When the suite closes the
//! connection the witness exits with [`EXIT_ABANDONED`].

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where the cell's socket directory is bound in every container.
pub const SOCKET_DIR: &str = "/podproof";
/// File name of the socket below [`SOCKET_DIR`].
pub const SOCKET_NAME: &str = "socket";
/// Path of the witness in every root file system of the suite.
pub const WITNESS_PATH: &str = "/witness";
/// Largest packet, bytes; below the default `net.core.wmem_default`.
pub const MAX_PACKET: usize = 192 * 1024;
/// Exit code of a witness whose suite is gone.
pub const EXIT_ABANDONED: i32 = 85;
/// Exit code of a witness that cannot reach its suite; standard error says why.
pub const EXIT_UNREACHABLE: i32 = 86;
/// Exit code of a command-line step (`mark`, `touch`) that failed; standard error says why.
pub const EXIT_STEP_FAILED: i32 = 87;
/// Exit code of a wrong command line.
pub const EXIT_USAGE: i32 = 64;

/// Identity of a namespace: device and inode of its nsfs file (namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NsId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// An open descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFd {
    /// Its number.
    pub fd: i32,
    /// Target of the link in `/proc/self/fd`, or `?` when it cannot be read.
    pub target: String,
}

/// The five capability sets (capabilities(7)), one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapSets {
    /// `CapInh`.
    pub inheritable: u64,
    /// `CapPrm`.
    pub permitted: u64,
    /// `CapEff`.
    pub effective: u64,
    /// `CapBnd`.
    pub bounding: u64,
    /// `CapAmb`.
    pub ambient: u64,
}

/// What the process was born with, read before it opened or changed anything.
/// A part that could not be read is absent, never zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    /// getpid(2).
    pub pid: u32,
    /// getppid(2).
    pub ppid: u32,
    /// `/proc/self/ns/*`, by file name.
    pub ns: BTreeMap<String, NsId>,
    /// Descriptors open at the first instruction, without the one that lists them.
    pub fds: Option<Vec<OpenFd>>,
    /// Capability sets, of `/proc/self/status` (`CapInh` ... `CapAmb`).
    pub caps: Option<CapSets>,
    /// Real uid, gid and the supplementary groups.
    pub uid: u32,
    /// getgid(2).
    pub gid: u32,
    /// getgroups(2).
    pub groups: Vec<u32>,
    /// `/proc/self/status`, whole.
    pub status: Option<String>,
    /// `/proc/self/mountinfo`, whole.
    pub mountinfo: Option<String>,
    /// `/proc/self/cgroup`, whole.
    pub cgroup: Option<String>,
    /// `/proc/self/limits`, whole.
    pub limits: Option<String>,
    /// Host name of uname(2).
    pub hostname: String,
    /// getcwd(3).
    pub cwd: String,
    /// `SO_NETNS_COOKIE` of a socket made for the purpose and closed again.
    pub net_cookie: Option<u64>,
}

/// First message of a witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// `--name` of its command line: which container this is.
    pub name: String,
    /// What it was born with.
    pub birth: Birth,
}

/// A process as `/proc` lists it, numbers in the namespace of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedProcess {
    /// Its number.
    pub pid: u32,
    /// Its parent's, 0 for one outside.
    pub ppid: u32,
    /// Its state letter (proc_pid_stat(5)).
    pub state: char,
    /// Its command name.
    pub comm: String,
}

/// A signal that a handler of the witness recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtSignal {
    /// 1..=64.
    pub signal: u32,
    /// `si_pid`, 0 for the kernel and for a sender outside of the pid namespace.
    pub sender: i32,
}

/// A numbered command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Comes back in the reply.
    pub id: u64,
    /// What to do.
    pub command: Command,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Of the request.
    pub id: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// Result of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; the shape of the value is documented at the command.
    Done(Value),
    /// A system call failed.
    Failed {
        /// Operation and object.
        op: String,
        /// Error number (errno(3)).
        errno: i32,
    },
}

/// What the witness can do. Unless a command says otherwise its value is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Answers. Value: `CLOCK_BOOTTIME` in ns.
    Ping,
    /// The birth report taken again. Value: [`Birth`].
    Report,
    /// Processes that `/proc` lists. Value: [[`ListedProcess`]].
    Processes,
    /// Forks `count` children that sleep until they are killed or the witness dies; with `sessions` each calls
    /// setsid(2). Value: `[pid]`, inner numbers.
    ForkSleepers {
        /// How many.
        count: u32,
        /// Each in its own session.
        sessions: bool,
    },
    /// Forks `count` children, each in its own session, that outlive the witness: they sleep until they are killed
    /// or `for_ms` is over, and only the end of the pid namespace takes them along. Value: `[pid]`, inner numbers.
    ForkStaying {
        /// How many.
        count: u32,
        /// They end by themselves, with code 0, after this long.
        for_ms: u64,
    },
    /// Forks a child in a new, nested pid namespace, which sleeps. Value: `pid`, number in the witness's namespace.
    ForkNested,
    /// A child in a new, nested pid namespace looks for processes of the witness's namespace by their numbers there,
    /// with signal 0. Value: `[errno]` of kill(2), 0 for one that was found.
    FindFromNested {
        /// Numbers above 1, in the witness's namespace.
        pids: Vec<i32>,
    },
    /// Makes the witness a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`).
    BecomeSubreaper,
    /// Calls reboot(2) to restart, which in a pid namespace of its own ends PID 1, so that no reply comes. Refused
    /// unless the witness is PID 1; the suite has to know that it is not that of the node.
    Reboot,
    /// Through an intermediate process that ends, makes `count` orphans that wait. Value: `[pid]`.
    /// They are then children of PID 1 of the namespace (or of a subreaper).
    MakeOrphans {
        /// How many.
        count: u32,
    },
    /// The same by a double fork, with setsid(2) before the second one, as daemons do. Value: `[pid]`.
    MakeDaemons {
        /// How many.
        count: u32,
    },
    /// Makes orphans that end at once, one after the other, while at most `at_most` of those before are unreaped; when
    /// `timeout_ms` is over without waiting any more. Ends early where a fork is refused. Value: `{"pids":[pid],"errno":e,
    /// "most_unreaped":n,"left":n,"gone_after_us":[n]}`, the last from the making to the release of each.
    StreamOrphans {
        /// How many.
        count: u32,
        /// Unreaped ones before the next is made.
        at_most: u32,
        /// For all of them, and again for the last ones.
        timeout_ms: u64,
    },
    /// Forks a child that exits with this code at once, and does not wait for it. Value: `pid`, inner number.
    ForkExiting {
        /// 0..=255.
        code: i32,
    },
    /// Waits for that child. Value: `{"status":wait status,"errno":0}`, without a status when the call failed.
    WaitChild {
        /// Its number.
        pid: i32,
    },
    /// Lets all waiting orphans exit with code 0, at the same moment.
    ReleaseOrphans,
    /// Counts processes in state Z, or X when they are just being released, that `/proc` lists. Value: number.
    CountZombies,
    /// Waits until at most `at_most` zombies are listed, or the time is over. Value: last count.
    WaitZombies {
        /// Satisfied at this number.
        at_most: u32,
        /// Give up after this long.
        timeout_ms: u64,
    },
    /// Waits until at least `at_least` zombies are listed, or the time is over. Value: last count.
    WaitZombiesReach {
        /// Satisfied at this number.
        at_least: u32,
        /// Give up after this long.
        timeout_ms: u64,
    },
    /// A forked child sends the signal by kill(2) and the witness reaps that child. Value: errno of kill(2), 0 for none.
    SignalFromChild {
        /// Receiver, inner number.
        pid: i32,
        /// 1..=64.
        signal: i32,
    },
    /// Installs, by raw rt_sigaction(2), a recording handler for every signal in 1..=64 that can be caught.
    /// Value: `[signal]` for which that worked.
    CatchAllSignals,
    /// Signals caught since the last call, in order. Waits until `at_least` were caught or the time is over.
    /// Value: [[`CaughtSignal`]].
    CaughtSignals {
        /// Satisfied at this number.
        at_least: u32,
        /// Give up after this long.
        timeout_ms: u64,
    },
    /// A worker thread takes over the connection, and the main thread alone ends (as by pthread_exit(3)).
    /// The reply comes from the worker after the main thread is a zombie or gone. Value: state letter of the leader.
    /// Sleepers made before it end too: for the kernel their parent is the thread that forked them (prctl(2)).
    EndMainThread,
    /// Touches that much fresh memory, and keeps it.
    Touch {
        /// Bytes.
        bytes: u64,
    },
    /// Forks a child that allocates and touches memory in steps of 1 MiB, with `oom_score_adj` 1000 where allowed.
    /// Value: `{"touched_bytes":n,"status":wait status}`.
    AllocateInChild {
        /// Bytes in all.
        bytes: u64,
    },
    /// Starts to note a heartbeat each `interval_ms` in a thread of its own.
    StartHeartbeat {
        /// Between two beats.
        interval_ms: u64,
    },
    /// Stops the heartbeat. Value: `{"beats":n,"longest_gap_ms":n}`.
    StopHeartbeat,
    /// Forks a child that spins on one CPU for `wall_ms`. Value: `{"cpu_ns":n,"wall_ns":n}` of that child.
    Spin {
        /// Wall time.
        wall_ms: u64,
    },
    /// Forks sleepers until fork fails or `at_most` exist; then ends and reaps them all.
    /// Value: `{"made":n,"errno":e}`, errno 0 when none failed.
    ForkUntilRefused {
        /// Safety bound.
        at_most: u32,
    },
    /// The same with threads (raw clone(2) with CLONE_THREAD or pthreads).
    ThreadsUntilRefused {
        /// Safety bound.
        at_most: u32,
    },
    /// Makes a System V segment with this key, `IPC_CREAT|IPC_EXCL`, mode 0600, and writes the text. Value: `{"shmid":n}`.
    ShmCreate {
        /// Key of shmget(2).
        key: i32,
        /// Marker, at most 64 bytes.
        text: String,
    },
    /// Attaches the segment with this key and reads the marker. Value: `{"errno":0,"text":"..."}`; a failed
    /// shmget is a value (errno, no text), not a failure.
    ShmRead {
        /// Key of shmget(2).
        key: i32,
    },
    /// Removes the segment with this key.
    ShmRemove {
        /// Key of shmget(2).
        key: i32,
    },
    /// Makes a System V semaphore set with this key, `IPC_CREAT|IPC_EXCL`, mode 0600, of one semaphore with value 0.
    SemCreate {
        /// Key of semget(2).
        key: i32,
    },
    /// Adds to the semaphore with this key, or takes from it as soon as that can be done. Value: errno, 0 for none;
    /// `EAGAIN` (11) when it could not be done in time.
    SemChange {
        /// Key of semget(2).
        key: i32,
        /// `sem_op` of semop(2).
        by: i16,
        /// Give up after this long.
        timeout_ms: u64,
    },
    /// Removes the semaphore set with this key.
    SemRemove {
        /// Key of semget(2).
        key: i32,
    },
    /// Makes a System V message queue with this key, `IPC_CREAT|IPC_EXCL`, mode 0600, and sends the text to it.
    MsgCreate {
        /// Key of msgget(2).
        key: i32,
        /// Message, at most 64 bytes.
        text: String,
    },
    /// Takes a message from the queue with this key, without waiting. Value: `{"errno":0,"text":"..."}`; a failed
    /// msgget or msgrcv is a value (errno, no text), not a failure.
    MsgReceive {
        /// Key of msgget(2).
        key: i32,
    },
    /// Removes the message queue with this key.
    MsgRemove {
        /// Key of msgget(2).
        key: i32,
    },
    /// Makes a POSIX message queue, `O_CREAT|O_EXCL`, mode 0600, and sends the text to it.
    MqCreate {
        /// Name of mq_open(3), with its slash.
        name: String,
        /// Message, at most 64 bytes.
        text: String,
    },
    /// Takes a message from a POSIX message queue, without waiting. Value: `{"errno":0,"text":"..."}`; a failed
    /// mq_open or mq_receive is a value (errno, no text), not a failure.
    MqReceive {
        /// Name of mq_open(3), with its slash.
        name: String,
    },
    /// Removes a POSIX message queue.
    MqRemove {
        /// Name of mq_unlink(3), with its slash.
        name: String,
    },
    /// Makes POSIX shared memory, `O_CREAT|O_EXCL`, mode 0600, and writes the text.
    PosixShmCreate {
        /// Name of shm_open(3), with its slash.
        name: String,
        /// Marker, at most 64 bytes.
        text: String,
    },
    /// Opens POSIX shared memory and reads the marker. Value: `{"errno":0,"text":"..."}`; a failed shm_open is a
    /// value (errno, no text), not a failure.
    PosixShmRead {
        /// Name of shm_open(3), with its slash.
        name: String,
    },
    /// Makes a named semaphore, `O_CREAT|O_EXCL`, mode 0600, with value 0.
    PosixSemCreate {
        /// Name of sem_open(3), with its slash.
        name: String,
    },
    /// Adds one to a named semaphore. Value: errno, 0 for none.
    PosixSemPost {
        /// Name of sem_open(3), with its slash.
        name: String,
    },
    /// Takes one from a named semaphore. Value: errno, 0 for none; `ETIMEDOUT` (110) when it stayed at 0.
    PosixSemWait {
        /// Name of sem_open(3), with its slash.
        name: String,
        /// Give up after this long.
        timeout_ms: u64,
    },
    /// Sets the host name of its UTS namespace.
    SetHostname {
        /// At most 64 bytes.
        name: String,
    },
    /// Makes the directory and mounts a tmpfs on it with one file `marker`.
    MountTmpfs {
        /// Absolute path.
        path: String,
    },
    /// Whether the path exists (lstat(2)). Value: bool.
    Exists {
        /// Absolute path.
        path: String,
    },
    /// Reads a file. Value: text.
    ReadFile {
        /// Absolute path.
        path: String,
    },
    /// Writes a file that is there, such as one of sysctl(5). Value: errno of open(2) or write(2), 0 for none.
    WriteFile {
        /// Absolute path.
        path: String,
        /// What to write.
        text: String,
    },
    /// Reads three clocks (clock_gettime(2)). Value: `{"realtime":n,"monotonic":n,"boottime":n}` in ns.
    Clocks,
    /// Entries of a directory. Value: `[name]`.
    ListDir {
        /// Absolute path.
        path: String,
    },
    /// Listens on 127.0.0.1 and, in a thread, answers one HTTP GET with the body, keeping the connection open until
    /// the client closes it. Value: port.
    HttpServe {
        /// 0: any free port.
        port: u16,
        /// Body of the answer.
        body: String,
    },
    /// Connects to 127.0.0.1, sends a GET, reads the answer and keeps the connection open.
    /// Value: `{"errno":0,"body":"...","local_port":n}`; a refused connect is a value.
    HttpGet {
        /// Port to connect to.
        port: u16,
    },
    /// Sends the text over the connection of the last `HttpGet` and reads it back: the server echoes what follows its
    /// answer. Value: the text that came back, as far as the connection gave it.
    HttpEcho {
        /// At most some hundred bytes.
        text: String,
    },
    /// Closes the connection of the last `HttpGet`.
    HttpClose,
    /// Calls sethostname(2), from the calling thread or from a new one. Value: errno, 0 for none.
    TrySetHostname {
        /// The name.
        name: String,
        /// From a new thread.
        thread: bool,
    },
    /// Tries to make a file (open(2) with `O_CREAT|O_EXCL`). Value: errno, 0 for none.
    TryWrite {
        /// Absolute path.
        path: String,
    },
    /// The classic way out of a chroot(2), in a forked child that stays where it comes to until the witness dies: makes
    /// the directory `jail`, keeps a descriptor of `/`, changes the root to the jail, goes back by fchdir(2) and up by many
    /// chdir(2) to `..`. Value: `{"pid":n,"errno":e,"dev":n,"ino":n,"found":bool}` of that child: its inner number, the first
    /// error, the directory that it reached, and whether `marker` (a relative path) is there.
    BreakOut {
        /// Absolute path.
        jail: String,
        /// Relative path.
        marker: String,
    },
    /// Ends the witness by a real fault: SIGSEGV from the kernel, which PID 1 cannot ignore. Without a reply.
    Fault,
    /// Ends the witness by exit_group with this code, without a reply.
    Exit {
        /// 0..=255.
        code: i32,
    },
}
