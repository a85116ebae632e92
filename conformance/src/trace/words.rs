//! Words for the kernel's numbers: flags, errors, signals, wait statuses.

use nix::errno::Errno;
use nix::sys::signal::Signal;
use podproof_ebpf::event::{NsKind, NsSet};

use super::line::{Ink, Text};

/// `CLONE_INTO_CGROUP` (clone(2)).
pub(super) const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// `CLONE_NEWPID`.
pub(super) const CLONE_NEWPID: u64 = 0x2000_0000;

/// The namespace bits of clone(2), in the order in which a reader expects them.
const CLONE_NEW: [(u64, NsKind); 8] = [
    (0x1000_0000, NsKind::User),
    (0x0002_0000, NsKind::Mnt),
    (0x0400_0000, NsKind::Uts),
    (0x0800_0000, NsKind::Ipc),
    (0x4000_0000, NsKind::Net),
    (CLONE_NEWPID, NsKind::Pid),
    (0x0200_0000, NsKind::Cgroup),
    (0x0000_0080, NsKind::Time),
];

/// What else unshare(2) can part from.
const UNSHARED: [(u64, &str); 3] = [
    (0x0000_0200, "root and working directory"),
    (0x0000_0400, "open files"),
    (0x0004_0000, "semaphore adjustments"),
];

const MS: [(u64, &str); 9] = [
    (0x1, "ro"),
    (0x2, "nosuid"),
    (0x4, "nodev"),
    (0x8, "noexec"),
    (0x10, "sync"),
    (0x100, "nosymfollow"),
    (0x400, "noatime"),
    (0x800, "nodiratime"),
    (0x20_0000, "relatime"),
];

const MOUNT_ATTR: [(u64, &str); 9] = [
    (0x1, "ro"),
    (0x2, "nosuid"),
    (0x4, "nodev"),
    (0x8, "noexec"),
    (0x10, "noatime"),
    (0x20, "strictatime"),
    (0x80, "nodiratime"),
    (0x10_0000, "idmapped"),
    (0x20_0000, "nosymfollow"),
];

/// The bits of `MOUNT_ATTR__ATIME`, which are cleared together to set one of them.
pub(super) const MOUNT_ATTR_ATIME: u64 = 0x70;

const MNT: [(u64, &str); 4] =
    [(0x1, "by force"), (0x2, "lazily"), (0x4, "if expired"), (0x8, "without following links")];

const WAIT: [(u64, &str); 8] = [
    (0x1, "WNOHANG"),
    (0x2, "WUNTRACED"),
    (0x4, "WEXITED"),
    (0x8, "WCONTINUED"),
    (0x100_0000, "WNOWAIT"),
    (0x2000_0000, "__WNOTHREAD"),
    (0x4000_0000, "__WALL"),
    (0x8000_0000, "__WCLONE"),
];

fn named<'n>(bits: u64, names: &'n [(u64, &'n str)]) -> Vec<&'n str> {
    names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}

/// Mount options.
pub(super) fn mount_options(flags: u64) -> Vec<&'static str> {
    named(flags, &MS)
}

/// Mount attributes of mount_setattr(2).
pub(super) fn mount_attributes(bits: u64) -> Vec<&'static str> {
    named(bits, &MOUNT_ATTR)
}

/// How umount2(2) was asked to.
pub(super) fn umount_ways(flags: u64) -> Vec<&'static str> {
    named(flags, &MNT)
}

/// Options of wait4(2) and waitid(2).
pub(super) fn wait_options(options: u32) -> Vec<&'static str> {
    named(u64::from(options), &WAIT)
}

/// What unshare(2) parts from besides namespaces.
pub(super) fn unshared(flags: u64) -> Vec<&'static str> {
    named(flags, &UNSHARED)
}

/// The namespaces that clone flags ask for.
pub(super) fn new_namespaces(flags: u64) -> Vec<NsKind> {
    CLONE_NEW.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, kind)| *kind).collect()
}

/// `new mnt uts namespaces`, with the article where there is one only.
pub(super) fn new_ones(kinds: &[NsKind]) -> Text {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.proc_name()).collect();
    let (article, plural) = if kinds.len() == 1 { ("a new ", "") } else { ("new ", "s") };
    Text::of(article).ink(Ink::Namespace, &names.join(" ")).say(&format!(" namespace{plural}"))
}

/// The kinds that differ, with the inodes that they have now.
pub(super) fn changes(before: &NsSet, after: &NsSet) -> Vec<(NsKind, u32)> {
    NsKind::ALL
        .into_iter()
        .filter(|kind| before.get(*kind) != after.get(*kind))
        .filter_map(|kind| Some((kind, after.get(kind)?)))
        .collect()
}

/// The kernel's name of a signal.
pub(super) fn signal(number: u32) -> String {
    let named = i32::try_from(number).ok().and_then(|number| Signal::try_from(number).ok());
    named.map_or_else(|| format!("real-time signal {number}"), |signal| signal.as_str().to_owned())
}

/// What became of a child for which the kernel sends SIGCHLD (`CLD_*`, sigaction(2)).
pub(super) fn change_of_child(signal: u32, si_code: i32) -> Option<&'static str> {
    let code = usize::try_from(si_code).ok().filter(|_| signal == Signal::SIGCHLD as u32)?;
    let changes = ["ended", "was killed", "dumped core", "was trapped", "stopped", "went on"];
    changes.get(code.checked_sub(1)?).copied()
}

/// `EPERM: Operation not permitted`
pub(super) fn errno(number: i32) -> String {
    match Errno::from_raw(number) {
        Errno::UnknownErrno => format!("error {number}"),
        known => known.to_string(),
    }
}

/// What a negative return value means; nothing for others.
pub(super) fn failure(ret: i64) -> Option<Text> {
    let number = i32::try_from(ret.checked_neg()?).ok().filter(|number| *number > 0)?;
    Some(Text::of(": ").ink(Ink::Bad, &errno(number)))
}

/// A wait status (wait(2)) as the predicate of a sentence.
pub(super) fn end(status: u32) -> Text {
    let core = if status & 0x80 != 0 { ", and dumps core" } else { "" };
    match (status & 0x7f, (status >> 8) & 0xff) {
        (0, 0) => Text::of("ends with code 0"),
        (0, code) => Text::of("ends with ").ink(Ink::Bad, &format!("code {code}")),
        (number, _) => Text::of("is killed by ").ink(Ink::Bad, &signal(number)).say(core),
    }
}

/// Milliseconds, with the digits that a reader can use.
pub(super) fn milliseconds(ns: u64) -> String {
    let ms = std::time::Duration::from_nanos(ns).as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.2} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_names() {
        assert_eq!(signal(15), "SIGTERM");
        assert_eq!(signal(40), "real-time signal 40");
        assert_eq!(errno(1), "EPERM: Operation not permitted");
        assert_eq!(errno(9999), "error 9999");
        assert_eq!(end(3 << 8).plain(), "ends with code 3");
        assert_eq!(end(0x80 | 11).plain(), "is killed by SIGSEGV, and dumps core");
        assert_eq!(failure(-2).map(|text| text.plain()), Some(": ENOENT: No such file or directory".into()));
        assert_eq!(failure(7), None);
        assert_eq!(mount_options(0x1 | 0x8), ["ro", "noexec"]);
        assert_eq!(wait_options(0x1 | 0x4000_0000), ["WNOHANG", "__WALL"]);
        assert_eq!(milliseconds(1_234_000), "1.23 ms");
    }

    #[test]
    fn namespaces_are_listed_once_with_their_proc_names() {
        assert_eq!(new_ones(&new_namespaces(0x2002_0000)).plain(), "new mnt pid namespaces");
        assert_eq!(new_ones(&new_namespaces(0x0400_0000)).plain(), "a new uts namespace");
    }
}
