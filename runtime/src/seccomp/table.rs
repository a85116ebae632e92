//! Numbers of system calls by name.

use std::str::FromStr;

use super::Arch;

/// What the numbers of x32 have in common (`__X32_SYSCALL_BIT`).
pub const X32_BIT: u32 = 0x4000_0000;

/// The calls that x32 has with numbers of its own, from 512 on, in their order.
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// The calls behind `socketcall`, from 1 on (`SYS_*` of `linux/net.h`).
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// The calls behind `ipc` (`linux/ipc.h`).
const IPC: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The number of a call, if the architecture has it.
#[must_use]
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    let native = || u32::try_from(syscalls::x86_64::Sysno::from_str(name).ok()?.id()).ok();
    match arch {
        Arch::X86_64 => native(),
        Arch::X86 => u32::try_from(syscalls::x86::Sysno::from_str(name).ok()?.id()).ok(),
        Arch::X32 => match X32_OWN.iter().position(|own| *own == name) {
            Some(index) => u32::try_from(512 + index).ok().map(|number| X32_BIT | number),
            None => native().map(|number| X32_BIT | number),
        },
    }
}

/// The call that x86 also has this one behind, and the first argument that chooses it there, of the bits of a mask.
#[must_use]
pub fn multiplexer(name: &str) -> Option<(u32, u64, u64)> {
    let socketcall = || {
        let index = SOCKETCALL.iter().position(|call| *call == name)?;
        Some((number(Arch::X86, "socketcall")?, u64::try_from(index).ok()? + 1, u64::from(u32::MAX)))
    };
    let ipc = || {
        let (_, call) = IPC.iter().find(|(call, _)| *call == name)?;
        // The upper half is a version.
        Some((number(Arch::X86, "ipc")?, u64::from(*call), 0xffff))
    };
    socketcall().or_else(ipc)
}

/// True when some architecture of Linux has a call of this name; a profile for many machines names calls of each.
#[must_use]
pub fn is_known(name: &str) -> bool {
    use syscalls::*;
    number(Arch::X86_64, name).is_some()
        || number(Arch::X86, name).is_some()
        || multiplexer(name).is_some()
        || aarch64::Sysno::from_str(name).is_ok()
        || arm::Sysno::from_str(name).is_ok()
        || loongarch64::Sysno::from_str(name).is_ok()
        || mips64::Sysno::from_str(name).is_ok()
        || powerpc64::Sysno::from_str(name).is_ok()
        || riscv64::Sysno::from_str(name).is_ok()
        || s390x::Sysno::from_str(name).is_ok()
        // The indirect call of 32-bit MIPS (syscall(2)), which the crate does not have.
        || name == "syscall"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_architecture_has_its_numbers() {
        for (name, numbers) in [
            ("read", [Some(0), Some(X32_BIT), Some(3)]),
            ("execve", [Some(59), Some(X32_BIT | 520), Some(11)]),
            ("pwritev2", [Some(328), Some(X32_BIT | 547), Some(379)]),
            ("process_vm_readv", [Some(310), Some(X32_BIT | 539), Some(347)]),
            ("clone3", [Some(435), Some(X32_BIT | 435), Some(435)]),
            ("socketcall", [None, None, Some(102)]),
            ("nonesuch", [None, None, None]),
        ] {
            assert_eq!(
                [Arch::X86_64, Arch::X32, Arch::X86].map(|arch| number(arch, name)),
                numbers,
                "{name}"
            );
        }
    }

    #[test]
    fn calls_behind_others_are_found() {
        assert_eq!(multiplexer("sendmmsg"), Some((102, 20, 0xffff_ffff)));
        assert_eq!(multiplexer("shmctl"), Some((117, 24, 0xffff)));
        assert_eq!(multiplexer("read"), None);
        assert!(is_known("syscall"));
        assert!(is_known("recv") && is_known("s390_pci_mmio_read") && is_known("arm_fadvise64_64"));
        assert!(!is_known("opne"));
    }
}
