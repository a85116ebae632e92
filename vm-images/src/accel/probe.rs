//! A guest of a few instructions that tells working KVM from a /dev/kvm that only looks like it.
//!
//! One virtual processor starts in long mode, counts down a loop, touches CR3, EFER and the stack, executes one
//! BMI2 instruction, and writes to an I/O port. Hardware needs 10 to 20 ms. A module that interprets kernel-mode
//! guest code is far too slow for the loop, or does not know the VEX-coded instruction; either part alone would
//! let some such module pass.
#![expect(unsafe_code, reason = "guest memory is shared with the kernel; one ioctl has no safe wrapper")]

use std::os::fd::AsRawFd;
use std::os::unix::thread::JoinHandleExt;
use std::ptr::NonNull;
use std::sync::mpsc;
use std::time::Duration;

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SigSet, Signal};

/// What KVM did instead.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("{op}: {source}")]
    Kvm { op: &'static str, source: kvm_ioctls::Error },
    #[error("{op}: {source}")]
    System { op: &'static str, source: nix::errno::Errno },
    #[error("a guest of a few instructions did not finish within {} ms", DEADLINE.as_millis())]
    Slow,
    #[error("a guest of a few instructions ended in {0}")]
    Exit(String),
}

/// Some thirty times what hardware needs.
const DEADLINE: Duration = Duration::from_millis(500);

/// From the signal to the return of KVM_RUN; a thread that stays away longer is left alone.
const GRACE: Duration = Duration::from_secs(1);

const MEMORY_BYTES: usize = 2 << 20;

/// Guest addresses: three page tables, the code, the top of the stack.
const PML4: usize = 0x1000;
const PDPT: usize = 0x2000;
const PD: usize = 0x3000;
const CODE: usize = 0x4000;
const STACK_TOP: usize = 0x8000;

/// Where the guest writes when it is done, and what.
const PORT: u8 = 0x10;
const DONE: u8 = 0x42;

/// Ends KVM_RUN; blocked everywhere else in the probe's thread, so it needs no handler.
const KICK: Signal = Signal::SIGUSR1;

/// Runs the guest; `Ok` means that KVM executes guests.
pub(super) fn run(kvm: Kvm, has_bmi2: bool) -> Result<(), ProbeError> {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("kvm-probe".to_owned())
        .spawn(move || {
            // The receiver is gone only after it has given up on this thread.
            sender.send(Guest::new(kvm, has_bmi2).and_then(|mut guest| guest.execute())).ok();
        })
        .map_err(|error| ProbeError::System {
            op: "start a thread",
            source: nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0)),
        })?;
    if let Ok(result) = receiver.recv_timeout(DEADLINE) {
        return result;
    }
    // A thread that has just ended cannot be signalled, and need not be.
    pthread_kill(thread.as_pthread_t(), KICK).ok();
    receiver.recv_timeout(GRACE).unwrap_or(Err(ProbeError::Slow))
}

/// A machine with one processor. The fields drop in this order: the kernel lets go of the memory first.
struct Guest {
    vcpu: VcpuFd,
    _vm: VmFd,
    _memory: Memory,
}

impl Guest {
    fn new(kvm: Kvm, has_bmi2: bool) -> Result<Self, ProbeError> {
        let failed = |op| move |source| ProbeError::Kvm { op, source };
        let mut memory = Memory::new()?;
        memory.write(PML4, &page_entry(PDPT));
        memory.write(PDPT, &page_entry(PD));
        // One page of 2 MiB (bit 7) that maps address 0 to itself.
        memory.write(PD, &0x83_u64.to_le_bytes());
        memory.write(CODE, &code(has_bmi2));

        let vm = kvm.create_vm().map_err(failed("create a machine"))?;
        // Processors without unrestricted guests need a place for a task state segment.
        vm.set_tss_address(0xfffb_d000).map_err(failed("set the TSS address"))?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY_BYTES as u64,
            userspace_addr: memory.0.as_ptr() as u64,
        };
        // SAFETY: the region is the whole mapping, which outlives the machine: see the order of the fields.
        unsafe { vm.set_user_memory_region(region) }.map_err(failed("give the machine memory"))?;
        let vcpu = vm.create_vcpu(0).map_err(failed("create a processor"))?;
        let cpuid =
            kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(failed("read the supported CPUID"))?;
        vcpu.set_cpuid2(&cpuid).map_err(failed("set CPUID"))?;
        let sregs = vcpu.get_sregs().map_err(failed("read system registers"))?;
        vcpu.set_sregs(&long_mode(sregs)).map_err(failed("set system registers"))?;
        let regs = kvm_regs { rip: CODE as u64, rsp: STACK_TOP as u64, rflags: 2, ..kvm_regs::default() };
        vcpu.set_regs(&regs).map_err(failed("set registers"))?;
        Ok(Self { vcpu, _vm: vm, _memory: memory })
    }

    fn execute(&mut self) -> Result<(), ProbeError> {
        let system = |op| move |source| ProbeError::System { op, source };
        let mut mask = SigSet::empty();
        mask.add(KICK);
        mask.thread_block().map_err(system("block a signal"))?;
        let mask = SignalMask { n_bytes: 8, blocked: (!(1_u64 << (KICK as u32 - 1))).to_ne_bytes() };
        // SAFETY: the kernel reads the length and as many bytes after it, all inside `mask`.
        unsafe { set_signal_mask(self.vcpu.as_raw_fd(), &raw const mask) }
            .map_err(system("set the signal mask"))?;
        match self.vcpu.run() {
            Ok(VcpuExit::IoOut(port, [DONE])) if port == u16::from(PORT) => Ok(()),
            Ok(exit) => Err(ProbeError::Exit(format!("{exit:?}"))),
            Err(error) if error.errno() == nix::errno::Errno::EINTR as i32 => Err(ProbeError::Slow),
            Err(source) => Err(ProbeError::Kvm { op: "run", source }),
        }
    }
}

/// `struct kvm_signal_mask` with a set of 64 signals.
#[repr(C)]
struct SignalMask {
    n_bytes: u32,
    blocked: [u8; 8],
}

// The request names the size of the header alone.
nix::ioctl_write_ptr_bad!(set_signal_mask, nix::request_code_write!(0xae, 0x8b, 4), SignalMask);

/// Present and writable.
fn page_entry(address: usize) -> [u8; 8] {
    (address as u64 | 3).to_le_bytes()
}

fn code(has_bmi2: bool) -> Vec<u8> {
    let mut code = vec![0xb9]; // mov ecx, 20000000
    code.extend_from_slice(&20_000_000_u32.to_le_bytes());
    code.extend_from_slice(&[0xff, 0xc9]); // dec ecx
    code.extend_from_slice(&[0x75, 0xfc]); // jnz to the dec
    code.extend_from_slice(&[0x0f, 0x20, 0xd8]); // mov rax, cr3
    code.extend_from_slice(&[0x0f, 0x22, 0xd8]); // mov cr3, rax
    code.push(0xb9); // mov ecx, EFER
    code.extend_from_slice(&0xc000_0080_u32.to_le_bytes());
    code.extend_from_slice(&[0x0f, 0x32]); // rdmsr
    code.extend_from_slice(&[0x0f, 0x30]); // wrmsr
    code.extend_from_slice(&[0x50, 0x58]); // push rax; pop rax
    if has_bmi2 {
        code.extend_from_slice(&[0xc4, 0xe3, 0x7b, 0xf0, 0xc0, 0x07]); // rorx eax, eax, 7
    }
    code.extend_from_slice(&[0xb0, DONE]); // mov al, DONE
    code.extend_from_slice(&[0xe6, PORT]); // out PORT, al
    code.push(0xf4); // hlt
    code
}

/// 64-bit mode with flat segments (Intel SDM volume 3, 4.5 and 10.8.5).
fn long_mode(mut sregs: kvm_sregs) -> kvm_sregs {
    let flat = kvm_segment { base: 0, limit: u32::MAX, present: 1, s: 1, g: 1, ..kvm_segment::default() };
    sregs.cs = kvm_segment { selector: 8, type_: 11, l: 1, ..flat };
    let data = kvm_segment { selector: 16, type_: 3, db: 1, ..flat };
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.cr0 = 0x8005_0033; // PE MP ET NE WP AM PG
    sregs.cr3 = PML4 as u64;
    sregs.cr4 = 0x20; // PAE
    sregs.efer = 0x500; // LME LMA
    sregs
}

/// Memory of the guest; unmapped on drop.
struct Memory(NonNull<u8>);

impl Memory {
    fn new() -> Result<Self, ProbeError> {
        let Some(length) = std::num::NonZeroUsize::new(MEMORY_BYTES) else {
            return Err(ProbeError::System { op: "map memory", source: nix::errno::Errno::EINVAL });
        };
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE)
        }
        .map_err(|source| ProbeError::System { op: "map memory", source })?;
        Ok(Self(start.cast()))
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= MEMORY_BYTES, "the probe's layout exceeds its memory");
        // SAFETY: the assertion keeps the offset inside the mapping.
        let target = unsafe { self.0.as_ptr().add(at) };
        // SAFETY: source and target are of this length and apart, since the mapping is nobody else's; no guest runs yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and the machine that used it is gone: see the order in `Guest`.
        unsafe { munmap(self.0.cast(), MEMORY_BYTES) }.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_answer_comes_in_time_whatever_this_machine_is() {
        // Without a device there is nothing to probe; `choose` has said so before.
        let Ok(kvm) = Kvm::new() else { return };
        let begun = Instant::now();
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap();
        let has_hardware = super::super::Flags::parse(&cpuinfo).has_virtualization;
        let result = run(kvm, true);
        assert!(begun.elapsed() < DEADLINE + GRACE + DEADLINE, "{:?}", begun.elapsed());
        eprintln!("{result:?} after {:?}", begun.elapsed());
        assert!(has_hardware || result.is_err(), "no vmx, no svm, and yet {result:?}");
    }
}
