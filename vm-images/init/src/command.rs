//! The one command: its environment, its descriptors, its session.
#![expect(unsafe_code, reason = "setsid and the controlling terminal are set between fork and exec")]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::{pipe2, setsid};
use vm_init::{DEADLINE_FACTOR_ENV, InitConfig, Stream, WindowSize};

use crate::step::{Failure, Step};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// First virtio console; its other end is the host's terminal.
const CONSOLE: &str = "/dev/hvc0";

nix::ioctl_write_int_bad!(set_controlling_terminal, libc::TIOCSCTTY);
nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);

pub(crate) struct Started {
    pub(crate) child: Child,
    /// Ends of the pipes to read from, non-blocking; none with a console.
    pub(crate) outputs: Vec<(Stream, OwnedFd)>,
    /// The terminal, to change its size.
    pub(crate) console: Option<File>,
}

/// Why there is no command: execve(2) refused it, or PID 1 could not prepare it.
pub(crate) enum StartError {
    Refused { program: String, errno: i32 },
    Failed(Failure),
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

pub(crate) fn start(config: &InitConfig, deadline_factor: f64) -> Result<Started, StartError> {
    let Some((program, arguments)) = config.argv.split_first() else {
        return Err(Failure::new("start", "command", "the configuration names none").into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", "/root")
        .env(DEADLINE_FACTOR_ENV, format!("{deadline_factor:.3}"))
        .envs(config.env.iter().map(|(name, value)| (name, value)))
        .current_dir(if config.cwd.is_empty() { "/" } else { &config.cwd });

    let mut outputs = Vec::new();
    let mut console = None;
    match config.console {
        Some(size) => {
            let terminal = File::options().read(true).write(true).open(CONSOLE).step("open", CONSOLE)?;
            resize(&terminal, size)?;
            let again = || terminal.as_fd().try_clone_to_owned().step("duplicate", CONSOLE);
            command.stdin(again()?).stdout(again()?).stderr(again()?);
            console = Some(terminal);
        }
        None => {
            command.stdin(Stdio::null());
            for stream in [Stream::Stdout, Stream::Stderr] {
                let (read, write) = pipe2(OFlag::O_CLOEXEC).step("create", "pipe")?;
                nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                    .step("set non-blocking", "pipe")?;
                match stream {
                    Stream::Stdout => command.stdout(write),
                    Stream::Stderr => command.stderr(write),
                };
                outputs.push((stream, read));
            }
        }
    }
    let with_terminal = console.is_some();
    let prepare = move || {
        setsid()?;
        if with_terminal {
            // SAFETY: descriptor 0 is the console, and the session that was just made has no terminal.
            unsafe { set_controlling_terminal(0.as_raw_fd(), 0) }?;
        }
        Ok(())
    };
    // SAFETY: the closure only makes two system calls; it takes no lock and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    let child = command.spawn().map_err(|error| StartError::Refused {
        program: program.clone(),
        errno: error.raw_os_error().unwrap_or(0),
    })?;
    Ok(Started { child, outputs, console })
}

/// Tells the terminal its size; the kernel signals the foreground process group.
pub(crate) fn resize(terminal: &File, size: WindowSize) -> Result<(), Failure> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a whole winsize, which the kernel only reads.
    unsafe { set_window_size(terminal.as_raw_fd(), &raw const size) }.step("set size of", CONSOLE)?;
    Ok(())
}
