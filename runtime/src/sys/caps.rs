//! Capability sets of the calling thread (capabilities(7), capset(2), prctl(2)).
#![expect(unsafe_code, reason = "nix has no wrappers for capset and the capability prctls")]

use nix::errno::Errno;

use super::check;
use crate::spec::CapSet;

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits each.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets that capset(2) handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadCaps {
    /// Checked by the kernel.
    pub effective: CapSet,
    /// May become effective.
    pub permitted: CapSet,
    /// Kept over an exec by programs that ask for it.
    pub inheritable: CapSet,
}

/// Reads the sets of the calling thread.
///
/// # Errors
/// The errno of capget(2).
pub fn thread_caps() -> Result<ThreadCaps, Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut words = [Words::default(); 2];
    // SAFETY: version 3 makes the kernel write two records, which `words` has.
    let ret = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, words.as_mut_ptr()) };
    check(ret)?;
    let join = |low: u32, high: u32| CapSet(u64::from(high) << 32 | u64::from(low));
    Ok(ThreadCaps {
        effective: join(words[0].effective, words[1].effective),
        permitted: join(words[0].permitted, words[1].permitted),
        inheritable: join(words[0].inheritable, words[1].inheritable),
    })
}

/// Sets all three at once.
///
/// # Errors
/// `EPERM` when a set holds more than the thread may give itself.
pub fn set_thread_caps(caps: ThreadCaps) -> Result<(), Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "takes the low word; the high one is shifted down")]
    let word = |set: CapSet, shift: u32| (set.0 >> shift) as u32;
    let words = [0, 32].map(|shift| Words {
        effective: word(caps.effective, shift),
        permitted: word(caps.permitted, shift),
        inheritable: word(caps.inheritable, shift),
    });
    let mut header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: version 3 makes the kernel read two records, which `words` has.
    let ret = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) };
    check(ret).map(drop)
}

fn prctl(option: libc::c_int, arg2: libc::c_ulong, arg3: libc::c_ulong) -> Result<libc::c_int, Errno> {
    // SAFETY: the options used in this module take numbers, not pointers.
    let ret = unsafe { libc::prctl(option, arg2, arg3, 0, 0) };
    check(ret.into()).map(|_| ret)
}

/// True when the capability is in the bounding set; `None` when the kernel does not know its number.
#[must_use]
pub fn is_bounding(number: u8) -> Option<bool> {
    prctl(libc::PR_CAPBSET_READ, number.into(), 0).ok().map(|value| value == 1)
}

/// Takes one capability out of the bounding set.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`, else `EINVAL` when the kernel does not know the number.
pub fn drop_bounding(number: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, number.into(), 0).map(drop)
}

/// Empties the ambient set.
///
/// # Errors
/// The errno of prctl(2).
pub fn clear_ambient() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0).map(drop)
}

/// Adds one capability to the ambient set.
///
/// # Errors
/// `EPERM` unless it is both permitted and inheritable.
pub fn raise_ambient(number: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, number.into()).map(drop)
}
