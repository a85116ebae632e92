//! Calls around a process's program and identity: vfork, refused exec, threads that end alone, host names.
#![allow(unsafe_code, reason = "raw vfork, execve, exit, setns, sethostname and sigaction")]

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::Res;

/// vfork(2); the child ends with this code at once.
#[cfg(target_arch = "x86_64")]
pub(crate) fn vfork_and_exit(code: u8) -> Res<Pid> {
    let pid: i64;
    // SAFETY: the child shares memory and stack with the parent, which waits for it: the child only sets registers of
    // its own, and makes one more call that does not return.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, {exit}",
            "mov edi, {code:e}",
            "syscall",
            "2:",
            exit = const libc::SYS_exit_group,
            code = in(reg) u32::from(code),
            inlateout("rax") libc::SYS_vfork => pid,
            out("rcx") _,
            out("r11") _,
            out("rdi") _,
        );
    }
    match i32::try_from(pid)? {
        error if error < 0 => Err(io::Error::from_raw_os_error(-error).into()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// execve(2) that must be refused.
pub(crate) fn refused_exec(path: &str) -> Res<Errno> {
    let path = CString::new(path)?;
    let nothing = [std::ptr::null::<libc::c_char>()];
    // SAFETY: the path is a C string; both arrays hold nothing but their end.
    unsafe { libc::execve(path.as_ptr(), nothing.as_ptr(), nothing.as_ptr()) };
    Ok(Errno::last())
}

/// execveat(2) from the working directory that must be refused.
pub(crate) fn refused_execveat(path: &str) -> Res<Errno> {
    let path = CString::new(path)?;
    let nothing = [std::ptr::null::<libc::c_char>()];
    // SAFETY: as in `refused_exec`.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            libc::AT_FDCWD,
            path.as_ptr(),
            nothing.as_ptr(),
            nothing.as_ptr(),
            0,
        )
    };
    Ok(Errno::last())
}

/// Ends the whole process without any cleaning up, whichever thread calls it.
pub(crate) fn end_process(code: i32) -> ! {
    // SAFETY: no preconditions.
    unsafe { libc::_exit(code) }
}

/// Ends the calling thread alone, at once.
pub(crate) fn end_thread(code: i32) -> ! {
    loop {
        // SAFETY: the callers are in a process that ends with its last thread and frees nothing of this one's.
        unsafe { libc::syscall(libc::SYS_exit, code) };
    }
}

/// Waits for signals until one of them ends the process; its parent's end at the latest, so that nothing stays behind
/// when a scenario fails.
pub(crate) fn wait_to_be_killed() -> Res<i32> {
    super::prctl(libc::PR_SET_PDEATHSIG, [libc::SIGKILL as u64, 0])?;
    loop {
        nix::unistd::pause();
    }
}

/// setns(2) of any number.
pub(crate) fn setns(fd: i32, nstype: i32) -> Result<(), Errno> {
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::setns(fd, nstype) }).map(drop)
}

/// setns(2) by the 32-bit entry; where the kernel has none, SIGSEGV.
#[cfg(target_arch = "x86_64")]
pub(crate) fn setns_compat(fd: i32, nstype: i32) -> Result<(), Errno> {
    /// `asm/unistd_32.h`
    const SETNS: i32 = 346;
    let ret: i32;
    // SAFETY: plain numbers. rbx, which the compiler keeps for itself, is as before; the entry may clear r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) u64::from(fd.cast_unsigned()) => _,
            inlateout("eax") SETNS => ret,
            in("ecx") nstype,
            lateout("r8") _,
            lateout("r9") _,
            lateout("r10") _,
            lateout("r11") _,
        );
    }
    if ret == 0 { Ok(()) } else { Err(Errno::from_raw(-ret)) }
}

/// sethostname(2) or setdomainname(2) with the first bytes of a text.
pub(crate) fn set_name(text: &str, len: usize, domain: bool) -> Result<(), Errno> {
    let (start, len) = (text.as_ptr().cast(), len.min(text.len()));
    // SAFETY: the text is at least that long.
    let ret = unsafe { if domain { libc::setdomainname(start, len) } else { libc::sethostname(start, len) } };
    Errno::result(ret).map(drop)
}

extern "C" fn nothing(_signal: i32) {}

/// Installs a handler that does nothing, and lets it interrupt system calls.
pub(crate) fn handle_with_interruption(signal: i32) -> Res<()> {
    // SAFETY: zero is a value of every member.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the handler touches nothing, so it is async-signal-safe.
    match unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// kill(2) with any signal, also a realtime one.
pub(crate) fn send(pid: Pid, signal: i32) -> Res<()> {
    // SAFETY: plain numbers.
    match unsafe { libc::kill(pid.as_raw(), signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Sets what a signal does back to its default.
pub(crate) fn set_default(signal: i32) -> Res<()> {
    // SAFETY: no handler function is installed.
    match unsafe { libc::signal(signal, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(io::Error::last_os_error().into()),
        _ => Ok(()),
    }
}
