//! The vocabulary of plans.

use std::fmt;
use std::path::PathBuf;

use crate::cgroup::CgroupPath;
use crate::seccomp::Instruction;
use crate::spec::{
    CapSet, CapabilitySpec, CgroupSetting, ConsoleSize, DeviceRule, DeviceSpec, HookSpec, IdMap, IdMapping,
    IoPriority, MountSpec, NamespaceSpec, NsKind, Propagation, Rlimit, Scheduler, TimeOffset,
};

/// Which process does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The command `podrt create` itself.
    Runtime,
    /// A process in between, which joins namespaces and clones.
    Joiner,
    /// The container's process, before it executes the program.
    Init,
    /// The same process once `podrt start` has let it go on.
    Released,
}

/// How a step is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// It is not, and the plan says why where it makes the step.
    Nothing,
    /// A descriptor is closed; nothing else was touched.
    Close,
    /// The container's directory below the state root is removed.
    RemoveStateDirectory,
    /// Every process in the cgroup is killed, and it is removed, with all below it.
    RemoveCgroup,
    /// The `poststop` hooks are run, once everything but the state directory is gone.
    RunPoststop,
    /// The process is killed and reaped.
    KillProcess,
    /// The file is removed.
    RemovePidFile,
    /// Goes away with the process, its mount namespace included.
    WithProcess,
    /// Goes away with the cgroup.
    WithCgroup,
    /// Goes away with the state directory.
    WithStateDirectory,
}

/// A source opened in the runtime's mount namespace, for init.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeSlot {
    /// The root file system.
    Rootfs,
    /// `mounts[i]`.
    Mount(usize),
}

/// A system call filter, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeccompFilter {
    /// Program.
    pub program: Vec<Instruction>,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// A listener is told.
    pub has_listener: bool,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the container's directory, lock it, write status `creating` into it.
    StateDirectory,
    /// Open a namespace file and check its kind.
    OpenNamespace(NamespaceSpec),
    /// Make a detached copy of a directory's or file's mount.
    OpenTree {
        /// For which mount.
        slot: TreeSlot,
        /// Field that names the source.
        field: String,
        /// On the host.
        source: PathBuf,
        /// With the mounts below.
        is_recursive: bool,
    },
    /// Give the files of an opened mount other owners, by way of a user namespace that is made for it.
    IdMapTree {
        /// Position in `mounts`.
        index: usize,
        /// Ids.
        map: IdMap,
    },
    /// Make the container's cgroup, and the ones above it that are missing.
    Cgroup(CgroupPath),
    /// Switch controllers on in every cgroup above the container's.
    Controllers {
        /// The container's cgroup.
        cgroup: CgroupPath,
        /// Controllers.
        names: Vec<String>,
    },
    /// Write one file of the container's cgroup.
    CgroupSetting(CgroupSetting),
    /// Let the rules decide about devices in the container's cgroup.
    DeviceFilter(Vec<DeviceRule>),
    /// Make the socket that `start` connects to, and the lock that init holds until its exec.
    Barrier,
    /// Enter a namespace.
    Join(NsKind),
    /// Make the container's process, in its cgroup.
    Clone {
        /// Namespaces that are made with it.
        new: Vec<NsKind>,
    },
    /// Write the id maps of the new user namespace.
    IdMaps {
        /// User ids.
        uid: Vec<IdMapping>,
        /// Group ids.
        gid: Vec<IdMapping>,
    },
    /// Write `oom_score_adj`.
    OomScore(i32),
    /// Set the AppArmor profile that the next exec goes into.
    AppArmor(String),
    /// Leave the caller's session.
    Session,
    /// Leave the caller's session keyring.
    Keyring,
    /// Make the time namespace, set its clocks, enter it.
    TimeNamespace(Vec<TimeOffset>),
    /// Enter several namespaces of the container's process at once.
    JoinProcess(Vec<NsKind>),
    /// Set the execution domain.
    Personality(libc::c_int),
    /// Make a pseudoterminal, send its master away, make it the standard streams.
    Terminal {
        /// Bind it to `/dev/console` too.
        is_console: bool,
        /// Size at first.
        size: Option<ConsoleSize>,
        /// Who owns it.
        uid: u32,
    },
    /// Become root of the user namespace.
    BecomeRoot,
    /// Make the cgroup namespace.
    CgroupNamespace,
    /// Bring the loopback interface up.
    LoopbackUp,
    /// Set the host name.
    Hostname(String),
    /// Set the NIS domain name.
    Domainname(String),
    /// Write a kernel parameter.
    Sysctl {
        /// Name, with dots or slashes.
        name: String,
        /// Text.
        value: String,
    },
    /// Cut the propagation to the host, and mount the root file system over the root.
    AttachRootfs {
        /// What it will be in the end; decides whether mounts of the host may still come in.
        propagation: Option<Propagation>,
    },
    /// Make one mount.
    Mount(MountSpec),
    /// Make or bind a device node.
    Device {
        /// Node.
        device: DeviceSpec,
        /// Bind the node's own instead of making one.
        is_bound: bool,
    },
    /// Make a symbolic link, unless something is there.
    Link {
        /// In the container.
        path: PathBuf,
        /// Text of the link.
        target: PathBuf,
    },
    /// Make a path read-only, if it exists.
    ReadonlyPath(PathBuf),
    /// Hide a path, if it exists.
    MaskedPath(PathBuf),
    /// Run a hook, and wait for its end.
    Hook(HookSpec),
    /// Make the root file system the root, and detach the old one.
    PivotRoot,
    /// Set the propagation of the root mount.
    RootPropagation(Propagation),
    /// Make the root mount read-only.
    ReadonlyRoot,
    /// Enter the working directory, making it if it is missing.
    WorkingDirectory(PathBuf),
    /// Enter the working directory, which must exist.
    ExistingDirectory(PathBuf),
    /// Set the inheritable set, then cut the bounding set.
    BoundingSet {
        /// What stays in the bounding set.
        bounding: CapSet,
        /// Set before, because nothing outside the bounding set can be added later.
        inheritable: CapSet,
    },
    /// Set umask, groups, group and user.
    User {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// Supplementary groups.
        groups: Vec<u32>,
        /// File mode creation mask.
        umask: u32,
    },
    /// Set the capability sets.
    Capabilities(CapabilitySpec),
    /// Set `no_new_privs`.
    NoNewPrivileges,
    /// Filter the system calls. Then, when privileges were kept for that, set the capability sets.
    Seccomp {
        /// Filter.
        filter: SeccompFilter,
        /// Capabilities, if they are not set yet.
        then: Option<CapabilitySpec>,
    },
    /// Set `HOME` from the container's passwd(5), as the user of the container.
    FindHome,
    /// Find the program, as the user of the container.
    FindProgram,
    /// Set the I/O priority.
    IoPriority(IoPriority),
    /// Set the scheduling policy.
    Scheduler(Scheduler),
    /// Set one resource limit.
    Rlimit(Rlimit),
    /// Write the pid file.
    PidFile(PathBuf),
    /// Write status `created` with the process.
    Commit,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// And back.
    pub undo: Undo,
}

impl Step {
    pub(super) fn runtime(action: Action, undo: Undo) -> Self {
        Self { actor: Actor::Runtime, action, undo }
    }
}

impl fmt::Display for Action {
    /// The step as the first words of an error: an operation and its object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateDirectory => f.write_str("make the state directory"),
            Self::OpenNamespace(ns) => {
                let path = ns.path.as_deref().unwrap_or_else(|| "".as_ref());
                write!(f, "open linux.namespaces[{}].path {} as {}", ns.index, path.display(), ns.kind)
            }
            Self::OpenTree { field, source, is_recursive, .. } => {
                let word = if *is_recursive { ", with mounts below" } else { "" };
                write!(f, "open {field} {}{word}", source.display())
            }
            Self::IdMapTree { index, map } => {
                let word = if map.is_recursive { ", and of those below" } else { "" };
                write!(
                    f,
                    "map {} uid and {} gid ranges of mounts[{index}]{word}",
                    map.uid.len(),
                    map.gid.len()
                )
            }
            Self::Cgroup(path) => write!(f, "make cgroup {path}"),
            Self::Controllers { cgroup, names } => {
                write!(f, "switch on controllers {} above cgroup {cgroup}", names.join(" "))
            }
            Self::CgroupSetting(s) => write!(f, "{}: write {:?} to {}", s.field, s.value, s.file),
            Self::DeviceFilter(rules) => {
                write!(f, "linux.resources.devices: filter devices by {} rules", rules.len())
            }
            Self::Barrier => f.write_str("make the start barrier"),
            Self::Join(kind) => write!(f, "join the {kind} namespace"),
            Self::Clone { new } => {
                f.write_str("clone the process into its cgroup")?;
                let separators = std::iter::once(", with new ").chain(std::iter::repeat(" "));
                new.iter().zip(separators).try_for_each(|(kind, separator)| write!(f, "{separator}{kind}"))
            }
            Self::IdMaps { uid, gid } => write!(f, "map {} uid and {} gid ranges", uid.len(), gid.len()),
            Self::OomScore(score) => write!(f, "set process.oomScoreAdj {score}"),
            Self::AppArmor(profile) => write!(f, "set process.apparmorProfile {profile:?}"),
            Self::Session => f.write_str("start a session"),
            Self::Keyring => f.write_str("leave the session keyring"),
            Self::TimeNamespace(offsets) => {
                f.write_str("make the time namespace with")?;
                offsets.iter().try_for_each(|o| write!(f, " {} {} s {} ns", o.clock, o.secs, o.nanosecs))
            }
            Self::JoinProcess(kinds) => {
                f.write_str("join the container's")?;
                kinds.iter().try_for_each(|kind| write!(f, " {kind}"))
            }
            Self::Personality(domain) => write!(f, "set linux.personality.domain {domain:#x}"),
            Self::Terminal { is_console, uid, .. } => {
                let word = if *is_console { ", bound to /dev/console" } else { "" };
                write!(f, "make the terminal of user {uid}{word}")
            }
            Self::BecomeRoot => f.write_str("become root of the user namespace"),
            Self::CgroupNamespace => f.write_str("make the cgroup namespace"),
            Self::LoopbackUp => f.write_str("bring lo up"),
            Self::Hostname(name) => write!(f, "set hostname {name:?}"),
            Self::Domainname(name) => write!(f, "set domainname {name:?}"),
            Self::Sysctl { name, value } => write!(f, "set linux.sysctl.{name} to {value:?}"),
            Self::AttachRootfs { .. } => f.write_str("attach the root file system"),
            Self::Mount(mount) => write_mount(f, mount),
            Self::Device { device, is_bound } => {
                let verb = if *is_bound { "bind" } else { "make" };
                let (path, d) = (device.path.display(), device);
                write!(f, "{verb} device {path} {:?} {}:{} mode {:o}", d.kind, d.major, d.minor, d.mode)
            }
            Self::Link { path, target } => write!(f, "link {} to {}", path.display(), target.display()),
            Self::ReadonlyPath(path) => write!(f, "make {} read-only", path.display()),
            Self::MaskedPath(path) => write!(f, "mask {}", path.display()),
            Self::Hook(hook) => write!(f, "run {hook}"),
            Self::PivotRoot => f.write_str("pivot the root"),
            Self::RootPropagation(p) => write!(f, "make the root {:?}", p.mode),
            Self::ReadonlyRoot => f.write_str("make the root read-only"),
            Self::WorkingDirectory(path) | Self::ExistingDirectory(path) => {
                write!(f, "enter process.cwd {}", path.display())
            }
            Self::BoundingSet { bounding, .. } => write!(f, "cut the bounding set to {:#x}", bounding.0),
            Self::User { uid, gid, groups, umask } => {
                write!(f, "become user {uid}, group {gid}, groups {groups:?}, umask {umask:03o}")
            }
            Self::Capabilities(caps) => write!(
                f,
                "set capabilities: permitted {:#x} effective {:#x} inheritable {:#x} ambient {:#x}",
                caps.permitted.0, caps.effective.0, caps.inheritable.0, caps.ambient.0
            ),
            Self::NoNewPrivileges => f.write_str("set no_new_privs"),
            Self::Seccomp { filter, then } => {
                write!(f, "load linux.seccomp, {} instructions", filter.program.len())?;
                if filter.has_listener {
                    f.write_str(", and tell its listener")?;
                }
                then.iter().try_for_each(|caps| write!(f, ", then permitted {:#x}", caps.permitted.0))
            }
            Self::FindHome => f.write_str("set HOME from /etc/passwd"),
            Self::FindProgram => f.write_str("find process.args[0]"),
            Self::IoPriority(p) => write!(f, "set process.ioPriority class {} level {}", p.class, p.level),
            Self::Scheduler(s) => write!(
                f,
                "set process.scheduler policy {} nice {} priority {} flags {:#x}",
                s.policy, s.nice, s.priority, s.flags
            ),
            Self::Rlimit(limit) => write!(f, "set {} to {} {}", limit.name, limit.soft, limit.hard),
            Self::PidFile(path) => write!(f, "write the pid file {}", path.display()),
            Self::Commit => f.write_str("write status created"),
        }
    }
}

fn write_mount(f: &mut fmt::Formatter<'_>, mount: &MountSpec) -> fmt::Result {
    use crate::spec::MountKind;
    let target = mount.destination.display();
    match &mount.kind {
        MountKind::Filesystem { fstype, .. } => write!(f, "mounts[{}]: {fstype} on {target}", mount.index),
        MountKind::Bind { source, .. } => {
            write!(f, "mounts[{}]: {} on {target}", mount.index, source.display())
        }
        MountKind::Remount { parameters } => {
            let what = if parameters.is_some() { "file system" } else { "mount" };
            write!(f, "mounts[{}]: change the {what} on {target}", mount.index)
        }
        MountKind::Cgroup => write!(f, "mounts[{}]: cgroup on {target}", mount.index),
    }
}
