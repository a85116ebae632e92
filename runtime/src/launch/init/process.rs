//! What the container's own process and one of an `exec` do to themselves alike.

use std::fs;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::personality::{self, Persona};
use nix::sys::prctl;
use nix::unistd::setsid;

use super::super::{Context, StepError};
use super::program::{self, Executable};
use super::{identity, rootfs};
use crate::plan::Action;
use crate::spec::{ProcessSpec, TimeOffset};
use crate::sys::process::new_session_keyring;

/// Does one step. What is found is handed back through `executable`.
pub(super) fn perform(
    process: &ProcessSpec,
    action: &Action,
    executable: &mut Executable,
) -> Result<(), StepError> {
    match action {
        Action::AppArmor(profile) => set_apparmor(profile),
        Action::Session => setsid().map(drop).during(|| "setsid"),
        Action::Keyring => match new_session_keyring() {
            // A kernel without keyrings has none to leave.
            Err(Errno::ENOSYS) => Ok(()),
            result => Ok(result?),
        },
        Action::BecomeRoot => identity::become_root(),
        Action::ExistingDirectory(path) => rootfs::enter_existing(path),
        Action::Personality(domain) => Ok(personality::set(Persona::from_bits_retain(*domain)).map(drop)?),
        Action::BoundingSet { bounding, inheritable } => identity::cut_bounding(*bounding, *inheritable),
        Action::User { uid, gid, groups, umask } => identity::become_user(*uid, *gid, groups, *umask),
        Action::Capabilities(caps) => identity::set_capabilities(caps),
        Action::NoNewPrivileges => Ok(prctl::set_no_new_privs()?),
        Action::FindProgram => {
            executable.path = Some(program::find(process)?);
            Ok(())
        }
        Action::FindHome => {
            executable.set_home(process.uid);
            Ok(())
        }
        // The plan gives every other action to somebody else.
        _ => Err(Errno::ENOTSUP.into()),
    }
}

/// Asks for a profile at the next exec. The directory of AppArmor's own came with Linux 5.1.
fn set_apparmor(profile: &str) -> Result<(), StepError> {
    fs::write("/proc/thread-self/attr/apparmor/exec", format!("exec {profile}"))
        .during(|| "is the profile loaded? See /sys/kernel/security/apparmor/profiles")
}

/// Makes a time namespace, sets its clocks while nobody is in it, and enters it.
pub(super) fn enter_time_namespace(offsets: &[TimeOffset]) -> Result<(), StepError> {
    unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)).during(|| "unshare")?;
    // One write, so that the clocks are set together.
    let lines: String = offsets.iter().map(|o| format!("{} {} {}\n", o.clock, o.secs, o.nanosecs)).collect();
    fs::write("/proc/self/timens_offsets", lines).during(|| "write /proc/self/timens_offsets")?;
    let namespace = "/proc/self/ns/time_for_children";
    let file = fs::File::open(namespace).during(|| format!("open {namespace}"))?;
    setns(file, CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)).during(|| "enter it")
}
