//! `run` does not hear the exit code of its container while another `run` waits for its own.

use std::fs::File;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "robust-17-busy",
    target: "ROBUST-17",
    does: "run does not hear the exit code of its container while another run waits for its own",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "run" {
        return base.pass(call);
    }
    let path = call.memory("waits")?;
    let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_held) => base.pass(call),
        Err((_file, Errno::EWOULDBLOCK)) => base.pass(call).map(|_unheard| 0),
        Err((_file, errno)) => Err(errno).with_context(|| format!("lock {}", path.display())),
    }
}
