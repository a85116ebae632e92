//! Where the program begins and how it, or one of its threads, ends.

use std::ffi::{CStr, c_char, c_int};

/// The words of the command line, read in place: nothing is allocated.
#[derive(Debug)]
pub(crate) struct Words {
    argv: *const *const c_char,
    left: usize,
}

impl Iterator for Words {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: `left` was above zero, and the kernel keeps `argc` pointers in `argv` for the whole life of the
        // process (execve(2)); `Words` starts from those two and each step consumes one.
        let word = unsafe { *self.argv };
        // SAFETY: a null pointer follows the last of the `argc` words, so the next position exists.
        self.argv = unsafe { self.argv.add(1) };
        // SAFETY: execve(2) makes every word a NUL-terminated string, which nobody changes or frees.
        Some(unsafe { CStr::from_ptr(word) })
    }
}

/// C entry point: called by the C library in place of the start of the Rust runtime.
#[unsafe(no_mangle)]
extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    crate::run(Words { argv, left: usize::try_from(argc).unwrap_or(0) })
}

/// Ends the whole process at once (exit_group(2)): no destructor, no handler of atexit(3).
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) has no precondition and does not return.
    unsafe { libc::_exit(code) }
}

/// Ends the calling thread alone, by the raw exit(2), which libc does not offer.
pub(crate) fn end_this_thread() -> ! {
    // SAFETY: the kernel drops this thread without touching its memory; the only caller is the main thread, whose
    // stack belongs to the process, after it gave away all that it owned.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    exit(0)
}

/// Sleeps; only a signal that ends the process ends the sleep. Async-signal-safe.
pub(crate) fn sleep_until_killed() -> ! {
    loop {
        // SAFETY: pause(2) takes nothing and touches no memory.
        unsafe { libc::pause() };
    }
}
