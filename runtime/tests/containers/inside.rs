//! The programs that run in the containers.
#![expect(
    unsafe_code,
    reason = "waits for signals that the C library keeps for itself, ends one thread only"
)]

use std::io::{Read, Write};
use std::process::ExitCode;

/// Runs one of them.
pub(crate) fn main(args: &[String]) -> ExitCode {
    match args.first().map(String::as_str) {
        Some("hold") => hold(),
        Some("leader") => leader(),
        Some("signals") => signals(),
        Some("stat") => crate::mounts::stat(&args[1..]),
        Some("mounts") => crate::mounts::mounts(&args[1..]),
        Some("write") => crate::hostile::write(&args[1..]),
        Some("where") => crate::hostile::whereabouts(),
        Some("calls") => crate::seccomp::calls(&args[1..]),
        Some("descriptors") => descriptors(),
        Some("facts") => {
            say(&crate::facts::all().to_string());
            ExitCode::SUCCESS
        }
        Some("terminal") => {
            crate::facts::terminal(say);
            ExitCode::SUCCESS
        }
        Some("count") => {
            let n = args.get(1).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
            (0..n).for_each(|n| say(&n.to_string()));
            ExitCode::SUCCESS
        }
        Some("raise") => {
            let signal = args.get(1).and_then(|signal| signal.parse().ok()).unwrap_or(0);
            // SAFETY: sends a signal to this process only.
            unsafe { libc::raise(signal) };
            ExitCode::FAILURE
        }
        Some("devices") => devices(&args[1..]),
        Some("exit") => {
            args.get(1).and_then(|code| code.parse::<u8>().ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        _ => ExitCode::FAILURE,
    }
}

pub(crate) fn say(line: &str) {
    // Whoever asked may have gone; the exit code tells the rest.
    if writeln!(std::io::stdout(), "{line}").and_then(|()| std::io::stdout().flush()).is_err() {}
}

fn hold() -> ExitCode {
    say("ready");
    loop {
        std::thread::park();
    }
}

/// The main thread ends, another goes on.
fn leader() -> ExitCode {
    std::thread::spawn(|| {
        let is_zombie = || std::fs::read_to_string("/proc/self/stat").is_ok_and(|stat| stat.contains(") Z "));
        while !is_zombie() {
            std::thread::yield_now();
        }
        say("leader ended");
        loop {
            std::thread::park();
        }
    });
    // SAFETY: ends the calling thread; nothing that it owns is used by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    ExitCode::FAILURE
}

/// Names every signal that comes.
fn signals() -> ExitCode {
    let all = u64::MAX;
    // SAFETY: `all` is a mask of 8 bytes.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const all, 0, 8) };
    say("ready");
    loop {
        // SAFETY: `all` is a mask of 8 bytes; no siginfo and no timeout are asked for.
        let signal = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, 0, 0, 8) };
        if signal > 0 {
            say(&signal.to_string());
        }
    }
}

/// Names every open descriptor.
fn descriptors() -> ExitCode {
    // SAFETY: F_GETFD takes no pointer, and a closed descriptor is an error only.
    let open: Vec<String> = (0..256)
        .filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0)
        .map(|fd| fd.to_string())
        .collect();
    say(&open.join(" "));
    ExitCode::SUCCESS
}

/// Says for each argument how it went: `PATH` is opened to read, `b:MAJOR:MINOR` or `c:MAJOR:MINOR` made.
fn devices(args: &[String]) -> ExitCode {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    for arg in args {
        let parts: Vec<&str> = arg.split(':').collect();
        let result = match parts[..] {
            [kind, major, minor] => {
                let kind = if kind == "b" { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
                let (major, minor) = (major.parse().unwrap_or_default(), minor.parse().unwrap_or_default());
                let made = mknod("/dev/made", kind, Mode::S_IRUSR, makedev(major, minor));
                let _absent = std::fs::remove_file("/dev/made");
                made.map_err(std::io::Error::from)
            }
            _ => std::fs::File::open(arg).map(drop),
        };
        let word = result.err().and_then(|error| error.raw_os_error());
        say(&word.map_or("ok".to_owned(), |errno| nix::errno::Errno::from_raw(errno).to_string()));
    }
    ExitCode::SUCCESS
}

/// Holds a mount namespace until its input ends.
pub(crate) fn hold_mounts() -> ExitCode {
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).is_err() {
        return ExitCode::FAILURE;
    }
    say("ready");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).map_or(ExitCode::FAILURE, |_| ExitCode::SUCCESS)
}
