//! BPF programs of type cgroup device (bpf(2), the kernel's `linux/bpf.h`): instructions, loading, attaching.
#![expect(
    unsafe_code,
    reason = "nix has no wrapper for bpf(2), and libraries for it bring loaders of object files"
)]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::check;

/// One instruction, `struct bpf_insn`. Registers are 0 to 10.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    opcode: u8,
    /// Destination in the low half, source in the high half.
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Insn {
    const fn new(opcode: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Self {
        Self { opcode, registers: source << 4 | destination, offset, immediate }
    }

    /// `destination = *(u32 *)(source + offset)`.
    #[must_use]
    pub const fn load_word(destination: u8, source: u8, offset: i16) -> Self {
        Self::new(0x61, destination, source, offset, 0)
    }

    /// `destination = source`, 32 bits.
    #[must_use]
    pub const fn move_reg(destination: u8, source: u8) -> Self {
        Self::new(0xbc, destination, source, 0, 0)
    }

    /// `register = value`, 32 bits.
    #[must_use]
    pub const fn set(register: u8, value: i32) -> Self {
        Self::new(0xb4, register, 0, 0, value)
    }

    /// `register &= mask`, 32 bits.
    #[must_use]
    pub const fn and(register: u8, mask: i32) -> Self {
        Self::new(0x54, register, 0, 0, mask)
    }

    /// `register >>= bits`, 32 bits.
    #[must_use]
    pub const fn shift_right(register: u8, bits: i32) -> Self {
        Self::new(0x74, register, 0, 0, bits)
    }

    /// Skips `n` instructions unless the register's low 32 bits are `value`.
    #[must_use]
    pub const fn jump_unless_equal(register: u8, value: i32, n: i16) -> Self {
        Self::new(0x56, register, 0, n, value)
    }

    /// Skips `n` instructions if one of the bits of `mask` is set in the register's low 32 bits.
    #[must_use]
    pub const fn jump_if_set(register: u8, mask: i32, n: i16) -> Self {
        Self::new(0x46, register, 0, n, mask)
    }

    /// Skips `n` instructions.
    #[must_use]
    pub const fn jump(n: i16) -> Self {
        Self::new(0x05, 0, 0, n, 0)
    }

    /// Returns register 0.
    #[must_use]
    pub const fn exit() -> Self {
        Self::new(0x95, 0, 0, 0, 0)
    }

    /// The instruction in memory.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [self.opcode, self.registers, 0, 0, 0, 0, 0, 0];
        bytes[2..4].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.immediate.to_ne_bytes());
        bytes
    }
}

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
/// Others may attach to the cgroup too, and below it.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The members of `union bpf_attr` for `BPF_PROG_LOAD` that are used; a shorter size means zeroes.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// The members of `union bpf_attr` for `BPF_PROG_ATTACH` that are used.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads a program of type cgroup device. It goes away with its last descriptor or attachment.
///
/// # Errors
/// The errno of bpf(2).
pub fn load_cgroup_device(program: &[Insn]) -> Result<OwnedFd, Errno> {
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_too_many| Errno::E2BIG)?,
        insns: program.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"podrt_devices\0\0\0",
    };
    // SAFETY: the pointers in `attr` are to memory that lives for the length of the call, with the lengths given.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<LoadAttr>()) };
    let fd = RawFd::try_from(check(ret)?).map_err(|_too_big| Errno::EBADF)?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns; the kernel opens it CLOEXEC.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program of type cgroup device to a cgroup, beside others that are there.
///
/// # Errors
/// The errno of bpf(2); `EPERM` when a cgroup above has one that allows no other.
pub fn attach_cgroup_device(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let attr = AttachAttr {
        target_fd: cgroup.as_raw_fd().unsigned_abs(),
        attach_bpf_fd: program.as_raw_fd().unsigned_abs(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` holds no pointers and lives for the length of the call.
    let ret =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, &raw const attr, size_of::<AttachAttr>()) };
    check(ret).map(drop)
}
