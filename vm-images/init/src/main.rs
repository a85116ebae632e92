//! `vm-init`: PID 1 of the guest. Prepares the machine as its configuration says, runs one command,
//! reports on the control port, and ends the machine.
//!
//! Order: modules (the ports need theirs) -> a tmpfs or a disk as root (container runtimes cannot pivot_root(2)
//! away from the initial ramfs) -> mounts -> cgroup controllers -> loopback -> ports -> hello -> go -> the service
//! manager as PID 1, if there is one -> the command.
//! What fails before hello is written to the console, the kernel's log on the host's side.

mod command;
mod control;
mod loopback;
mod machine;
mod manager;
mod modules;
mod mounts;
mod ports;
mod root;
mod step;
mod supervise;
mod uevents;

use std::process::ExitCode;

use nix::sys::stat::{Mode, umask};
use vm_init::{CONFIG_PATH, CONTROL_PORT, INIT_FAILED, InitConfig, Message, PROTOCOL, RecordKind};

use control::Control;
use step::{Failure, Step};

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("vm-init: runs as PID 1 of a virtual machine only");
        return ExitCode::from(2);
    }
    let status = run().unwrap_or_else(|failure| {
        eprintln!("vm-init: {failure}");
        INIT_FAILED
    });
    machine::end(status)
}

/// Does everything; gives the value for isa-debug-exit.
fn run() -> Result<u8, Failure> {
    umask(Mode::empty());
    let config = read_config()?;
    // Before the modules: devices announce themselves as soon as their driver is there.
    let uevents = uevents::Uevents::subscribe()?;
    modules::load(&config.modules)?;
    root::switch(config.root_device.as_deref(), &uevents)?;
    let mut degraded = mounts::mount_all(&config.mounts)?;
    let controllers = mounts::enable_controllers(&mut degraded);
    loopback::up(&mut degraded);
    machine::name_and_limits(&config.hostname, &mut degraded);
    ports::link(&config.ports, &uevents)?;

    let mut control = Control::open(CONTROL_PORT)?;
    control.send(RecordKind::Hello {
        protocol: PROTOCOL,
        kernel: read_trimmed("/proc/sys/kernel/osrelease")?,
        boot_id: read_trimmed("/proc/sys/kernel/random/boot_id")?,
        controllers,
        degraded,
    })?;
    let Message::Go { deadline_factor } = control.receive()? else {
        return Err(Failure::new("wait for go", CONTROL_PORT, "the host sent another message first"));
    };
    if let Some(program) = &config.service_manager {
        manager::hand_over(program)?;
    }
    supervise::run(&config, deadline_factor, control)
}

fn read_config() -> Result<InitConfig, Failure> {
    let text = std::fs::read(CONFIG_PATH).step("read", CONFIG_PATH)?;
    serde_json::from_slice(&text).step("parse", CONFIG_PATH)
}

fn read_trimmed(path: &str) -> Result<String, Failure> {
    Ok(std::fs::read_to_string(path).step("read", path)?.trim().to_owned())
}
