//! Programs in front of a container's own, one mode each.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::sched::CloneFlags;

use super::{
    adopt, debug, hold, inherit, init, ipc, join, leak, pods, root, send, subreaper, unreaped, unshare, user,
};

/// Runs in place of the container's program, with the defect that the first argument names.
pub(crate) fn run(arguments: &[String]) -> Result<u8> {
    match arguments {
        [mode, program, rest @ ..] if mode == "fork" => {
            let status =
                Command::new(program).args(rest).status().with_context(|| format!("run {program}"))?;
            Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
        }
        [mode, path, program, rest @ ..] if mode == "join-pid" => {
            join::run(CloneFlags::CLONE_NEWPID, path, program, rest)
        }
        [mode, path, program, rest @ ..] if mode == "join-mnt" => {
            join::run(CloneFlags::CLONE_NEWNS, path, program, rest)
        }
        [mode, program, rest @ ..] if mode == "join-kept" => join::kept(program, rest),
        [mode, program, rest @ ..] if mode == "new-cgroup" => {
            unshare::run(CloneFlags::CLONE_NEWCGROUP, program, rest)
        }
        [mode, program, rest @ ..] if mode == "new-pid" => {
            unshare::run(CloneFlags::CLONE_NEWPID, program, rest)
        }
        [mode, program, rest @ ..] if mode == "leave-ipc" => {
            unshare::run(CloneFlags::CLONE_NEWIPC, program, rest)
        }
        [mode, program, rest @ ..] if mode == "leave-uts" => {
            unshare::run(CloneFlags::CLONE_NEWUTS, program, rest)
        }
        [mode, first, program, rest @ ..] if mode == "own-user" => user::run(first, program, rest),
        [mode, pid, first] if mode == "map-user" => user::map(pid, first),
        [mode, target, pids_of, rest @ ..] if mode == "debug" => debug::start(target, pids_of, rest),
        [mode, program, rest @ ..] if mode == "own-proc" => debug::run(program, rest),
        [mode, program, rest @ ..] if mode == "mount-mqueue-early" => ipc::mount_early(program, rest),
        [mode, path] if mode == "hold" => hold::run(path),
        [mode, path, program, rest @ ..] if mode == "chroot" => root::enter(path, program, rest),
        [mode, path, program, rest @ ..] if mode == "leave-root" => root::leave(path, program, rest),
        [mode, program, rest @ ..] if mode == "twice" => twice(program, rest),
        [mode, program, rest @ ..] if mode == "leak" => leak::run(program, rest),
        [mode, rest @ ..] if mode == "adopt" => adopt::run(rest),
        [mode, program, rest @ ..] if mode == "leave" => adopt::leave(program, rest),
        [mode, program, rest @ ..] if mode == "forgive" => pods::forgive(program, rest),
        [mode, program, rest @ ..] if mode == "forgive-all" => {
            pods::run(program, rest)?;
            Ok(0)
        }
        [mode, program, rest @ ..] if mode == "again" => pods::again(program, rest),
        [mode, program, rest @ ..] if mode == "own-ipc-again" => pods::own_ipc_again(program, rest),
        [mode, program, rest @ ..] if mode == "clear" => pods::clear(program, rest),
        [mode, program, rest @ ..] if mode == "put-back" => pods::put_back(program, rest),
        [mode, program, rest @ ..] if mode == "init" => init::run(program, rest),
        [mode, program, rest @ ..] if mode == "subreaper" => subreaper::become_program(program, rest),
        [mode, program, rest @ ..] if mode == "adopter" => subreaper::stay(program, rest),
        [mode, pid, signal] if mode == "send" => send::run(pid, signal),
        [mode, pid_file, runtime, rest @ ..] if mode == "unreaped" => unreaped::run(pid_file, runtime, rest),
        [mode, runtime, rest @ ..] if mode == "monitor" => unreaped::monitor(runtime, rest),
        [mode, rest @ ..] if mode == "subreaper-left" => subreaper::leave(rest),
        [mode, program, rest @ ..] if mode == "subreaper-outlives" => subreaper::outlive(program, rest),
        [mode, program, rest @ ..] if mode == "ignore-children" => inherit::ignore_children(program, rest),
        [mode, program, rest @ ..] if mode == "block-children" => inherit::block_children(program, rest),
        _ => bail!("unknown mode of the wrapper: {arguments:?}"),
    }
}

/// Runs the first step of the program by itself, and then becomes the program.
fn twice(program: &str, arguments: &[String]) -> Result<u8> {
    let first = &arguments[..arguments.len().min(2)];
    Command::new(program).args(first).status().with_context(|| format!("run {program}"))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("execute {program}"))
}
