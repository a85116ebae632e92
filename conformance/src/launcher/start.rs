//! Starting one command, with what the suite wants it to inherit and must not pass on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

use super::pump::Pump;
use super::{Invocation, SOCKET_ENV};

/// Starts a command in a process group of its own; its process id, and its output on the way to its files.
pub(super) fn start(invocation: &Invocation) -> io::Result<(i32, [Pump; 2])> {
    let Some((program, arguments)) = invocation.argv.split_first() else {
        return Err(io::Error::from_raw_os_error(Errno::EINVAL as i32));
    };
    let create = |path: &Path| {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(path)
    };
    let (stdout, to_stdout) = io::pipe()?;
    let (stderr, to_stderr) = io::pipe()?;
    let pumps =
        [Pump::new(stdout, create(&invocation.stdout)?)?, Pump::new(stderr, create(&invocation.stderr)?)?];
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(&invocation.env)
        .env_remove(SOCKET_ENV)
        .stdin(Stdio::null())
        .stdout(to_stdout)
        .stderr(to_stderr)
        // Who kills the group of its caller does not kill the launcher.
        .process_group(0);
    let leaked = leak_fds(invocation.leaked_fds)?;
    let _ambient = AmbientGuard::raise(&invocation.ambient_caps)?;
    unblock_all(&mut command);
    ignore(&mut command, &invocation.ignored_signals)?;
    if let Some(cgroup) = &invocation.cgroup {
        enter(&mut command, File::options().write(true).open(cgroup.join("cgroup.procs"))?);
    }
    let child = command.spawn()?;
    drop(leaked);
    Ok((child.id().cast_signed(), pumps))
}

/// Lets the command begin in a cgroup, given by its `cgroup.procs`.
#[expect(unsafe_code, reason = "std runs nothing between fork and exec without it")]
fn enter(command: &mut Command, mut procs: File) {
    // SAFETY: between fork and exec only write(2) is called, on a descriptor that is open there as it is here.
    unsafe { command.pre_exec(move || procs.write_all(b"0")) };
}

/// Lets the command begin with no signal blocked, as a container engine does: the launcher waits for SIGCHLD, and has the
/// signals blocked that the suite takes; a runtime would pass both on to the programs of its containers.
#[expect(unsafe_code, reason = "std runs nothing between fork and exec without it")]
pub(crate) fn unblock_all(command: &mut Command) {
    let none = SigSet::empty();
    // SAFETY: between fork and exec only pthread_sigmask(3) is called, which is async-signal-safe, on a copied mask.
    unsafe { command.pre_exec(move || none.thread_set_mask().map_err(io::Error::from)) };
}

/// Lets the command begin with these signals ignored: that outlives an exec (signal(7)).
#[expect(unsafe_code, reason = "std runs nothing between fork and exec without it")]
fn ignore(command: &mut Command, signals: &[i32]) -> io::Result<()> {
    let signals: Vec<Signal> =
        signals.iter().map(|number| Signal::try_from(*number)).collect::<Result<_, _>>()?;
    let set = move || -> io::Result<()> {
        for ignored in &signals {
            // SAFETY: no handler is installed, so none can do what it must not.
            unsafe { signal(*ignored, SigHandler::SigIgn) }?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only signal(2) is called, which is async-signal-safe, for a list made before.
    unsafe { command.pre_exec(set) };
    Ok(())
}

/// Descriptors above 2 without close-on-exec.
fn leak_fds(count: u32) -> io::Result<Vec<OwnedFd>> {
    (0..count)
        .map(|_| {
            let flags = nix::fcntl::OFlag::O_RDONLY;
            nix::fcntl::open("/dev/null", flags, nix::sys::stat::Mode::empty()).map_err(io::Error::from)
        })
        .collect()
}

/// Ambient and inheritable capabilities of the launcher, taken back on drop.
struct AmbientGuard {
    raised: Vec<caps::Capability>,
}

impl AmbientGuard {
    fn raise(numbers: &[u8]) -> io::Result<Self> {
        let mut guard = Self { raised: Vec::new() };
        for number in numbers {
            let capability = caps::all()
                .into_iter()
                .find(|capability| capability.index() == *number)
                .ok_or_else(|| io::Error::from_raw_os_error(Errno::EINVAL as i32))?;
            for set in [caps::CapSet::Inheritable, caps::CapSet::Ambient] {
                caps::raise(None, set, capability)
                    .map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
            }
            guard.raised.push(capability);
        }
        Ok(guard)
    }
}

impl Drop for AmbientGuard {
    fn drop(&mut self) {
        for capability in &self.raised {
            for set in [caps::CapSet::Ambient, caps::CapSet::Inheritable] {
                if let Err(error) = caps::drop(None, set, *capability) {
                    tracing::warn!(%error, ?capability, "drop a capability of the launcher");
                }
            }
        }
    }
}
