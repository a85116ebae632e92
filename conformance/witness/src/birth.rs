//! The birth report: what the process was given, read without keeping or changing anything.
//!
//! Sources are getters of the process itself and `/proc/self` (proc(5)). Where `/proc` is missing or belongs to
//! another pid namespace the parts that need it are absent.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use nix::dir::Dir;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;
use nix::sys::utsname::uname;
use nix::unistd;
use podproof_witness::{Birth, CapSets, NsId, OpenFd};

use crate::sys;

/// What stands for a text that could not be read.
const UNREADABLE: &str = "?";

/// Takes the report.
pub(crate) fn report() -> Birth {
    let proc_self = own_proc_directory();
    let fds = open_descriptors(proc_self);
    let status = text(&format!("{proc_self}/status"));
    Birth {
        pid: unistd::getpid().as_raw().unsigned_abs(),
        ppid: unistd::getppid().as_raw().unsigned_abs(),
        ns: namespaces(proc_self),
        fds,
        caps: status.as_deref().and_then(capabilities),
        uid: unistd::getuid().as_raw(),
        gid: unistd::getgid().as_raw(),
        groups: unistd::getgroups().map_or_else(
            |_no_groups| Vec::new(),
            |groups| groups.into_iter().map(unistd::Gid::as_raw).collect(),
        ),
        status,
        mountinfo: text(&format!("{proc_self}/mountinfo")),
        cgroup: text(&format!("{proc_self}/cgroup")),
        limits: text(&format!("{proc_self}/limits")),
        hostname: uname().map_or_else(
            |_unreadable| UNREADABLE.to_owned(),
            |name| name.nodename().to_string_lossy().into_owned(),
        ),
        cwd: unistd::getcwd()
            .map_or_else(|_unreadable| UNREADABLE.to_owned(), |path| path.to_string_lossy().into_owned()),
        net_cookie: net_cookie(),
    }
}

/// A zombie leader has no descriptors and no namespaces left: other threads look at themselves.
fn own_proc_directory() -> &'static str {
    if unistd::gettid() == unistd::getpid() { "/proc/self" } else { "/proc/thread-self" }
}

fn text(path: &str) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn open_descriptors(proc_self: &str) -> Option<Vec<OpenFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut listing = Dir::open(format!("{proc_self}/fd").as_str(), flags, Mode::empty()).ok()?;
    let own = listing.as_raw_fd();
    let mut numbers = Vec::new();
    for entry in listing.iter() {
        if let Ok(fd) = entry.ok()?.file_name().to_string_lossy().parse::<i32>()
            && fd != own
        {
            numbers.push(fd);
        }
    }
    numbers.sort_unstable();
    let target = |fd: i32| {
        readlinkat(&listing, fd.to_string().as_str())
            .map_or_else(|_unreadable| UNREADABLE.to_owned(), |target| target.to_string_lossy().into_owned())
    };
    Some(numbers.into_iter().map(|fd| OpenFd { fd, target: target(fd) }).collect())
}

fn namespaces(proc_self: &str) -> BTreeMap<String, NsId> {
    let Ok(entries) = fs::read_dir(format!("{proc_self}/ns")) else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            // Follows the link, to the namespace itself.
            let ns = fs::metadata(entry.path()).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), NsId { dev: ns.dev(), ino: ns.ino() }))
        })
        .collect()
}

fn capabilities(status: &str) -> Option<CapSets> {
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    Some(CapSets {
        inheritable: set("CapInh:")?,
        permitted: set("CapPrm:")?,
        effective: set("CapEff:")?,
        bounding: set("CapBnd:")?,
        ambient: set("CapAmb:")?,
    })
}

fn net_cookie() -> Option<u64> {
    let probe = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).ok()?;
    sys::net_cookie(&probe).ok()
}
