//! The sandbox program: holds a pod's namespaces open and reaps what is orphaned in them.
//!
//! It blocks every signal, then takes them one at a time with rt_sigtimedwait(2), so no work is done in a handler
//! and none is lost. SIGTERM and SIGINT end it with status 0. SIGCHLD makes it reap until nothing is left: signals merge,
//! so one may stand for many children. Every other signal is taken and dropped. It sleeps in the kernel in between.
//!
//! As PID 1 of a pid namespace it adopts every orphan there. Anywhere else it becomes a subreaper
//! (prctl(2) `PR_SET_CHILD_SUBREAPER`) and says so on stderr.
//!
//! No standard library, no C library, no allocation: a few KiB, one private page of stack. That takes
//! `--profile pause` (see `build.rs`); in any other profile the same code is an ordinary program.
#![cfg_attr(freestanding, no_std, no_main)]
#![expect(unsafe_code, reason = "system calls and the entry point are written in assembly")]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("pause has an entry point and system calls for x86_64 Linux only");

use core::arch::asm;

const SYS_WRITE: usize = 1;
const SYS_RT_SIGACTION: usize = 13;
const SYS_RT_SIGPROCMASK: usize = 14;
const SYS_GETPID: usize = 39;
const SYS_WAIT4: usize = 61;
const SYS_RT_SIGTIMEDWAIT: usize = 128;
const SYS_PRCTL: usize = 157;
const SYS_EXIT_GROUP: usize = 231;

const SIG_BLOCK: usize = 0;
const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;
const WNOHANG: usize = 1;
/// Also children that were cloned with another exit signal.
const WALL: usize = 0x4000_0000;
const PR_SET_CHILD_SUBREAPER: usize = 36;
/// Bytes of the kernel's signal set.
const SIGSET_BYTES: usize = 8;

/// The kernel's `struct sigaction`: handler, flags, restorer, mask. The default action, and no signal for a child
/// that stops or continues (`SA_NOCLDSTOP`): there is nothing to reap then.
static NO_STOPS: [usize; 4] = [0, 1, 0, 0];
static ALL_SIGNALS: u64 = u64::MAX;
static WARNING: &[u8] = b"pause: not PID 1 of a pid namespace; reaping as a subreaper instead\n";

/// The entry point. The kernel aligns the stack to 16 bytes; a call leaves it as the ABI wants it at a function's start.
#[cfg(freestanding)]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    core::arch::naked_asm!("xor ebp, ebp", "call {pause}", "ud2", pause = sym pause)
}

#[cfg(not(freestanding))]
fn main() {
    pause()
}

extern "C" fn pause() -> ! {
    let all = (&raw const ALL_SIGNALS).addr();
    // Before anything else: a SIGTERM that comes now must be found pending, not kill.
    syscall(SYS_RT_SIGPROCMASK, [SIG_BLOCK, all, 0, SIGSET_BYTES]);
    syscall(SYS_RT_SIGACTION, [SIGCHLD.unsigned_abs(), (&raw const NO_STOPS).addr(), 0, SIGSET_BYTES]);
    if syscall(SYS_GETPID, [0; 4]) != 1 {
        syscall(SYS_PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0]);
        syscall(SYS_WRITE, [2, WARNING.as_ptr().addr(), WARNING.len(), 0]);
    }
    // Children that died before the mask was set have left no signal.
    reap();
    loop {
        // No siginfo and no timeout. An error is EINTR: the process was stopped and continued.
        match syscall(SYS_RT_SIGTIMEDWAIT, [all, 0, 0, SIGSET_BYTES]) {
            SIGTERM | SIGINT => exit(),
            SIGCHLD => reap(),
            _ => {}
        }
    }
}

/// Waits for children until none is dead: 0 means that the rest live, an error that there are none.
fn reap() {
    while syscall(SYS_WAIT4, [usize::MAX, 0, WNOHANG | WALL, 0]) > 0 {}
}

fn exit() -> ! {
    loop {
        syscall(SYS_EXIT_GROUP, [0; 4]);
    }
}

/// A system call of up to four arguments; returns what the kernel returns, errors as negative numbers.
fn syscall(number: usize, args: [usize; 4]) -> isize {
    let ret: isize;
    // SAFETY: the callers above pass addresses of statics of the right size, or null where the kernel takes null; the kernel
    // changes rax, rcx and r11 only, and writes to no memory of ours.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number.cast_signed() => ret,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    ret
}

/// Never reached: nothing above can panic.
#[cfg(freestanding)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit()
}
