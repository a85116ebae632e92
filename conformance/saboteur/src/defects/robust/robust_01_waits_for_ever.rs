//! A process of `create` waits on a fifo for a word from the runtime, however long.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "robust-01-waits-for-ever",
    target: "ROBUST-01",
    does: "a process of create waits on a fifo for a word from the runtime, however long",
    also_red: &[],
    act,
};

/// The verb by which this program calls itself to wait.
const WAIT: &str = "wait-for-a-word";

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        WAIT => {
            let mut word = [0];
            File::open(call.id()).and_then(|mut fifo| fifo.read(&mut word)).context("wait for a word")?;
            Ok(0)
        }
        "create" => create(call, base),
        _ => base.pass(call),
    }
}

fn create(call: &Call, base: &Base) -> Result<u8> {
    let root = call.root().context("--root is needed for the fifo")?;
    fs::create_dir_all(root).with_context(|| format!("make {}", root.display()))?;
    let fifo = root.with_extension(format!("fifo-{}", call.id()));
    mkfifo(&fifo, Mode::S_IRWXU).with_context(|| format!("make the fifo {}", fifo.display()))?;
    let mut waiter = waiter(&fifo)?;
    let code = base.pass(call)?;
    OpenOptions::new()
        .write(true)
        .open(&fifo)
        .and_then(|mut fifo| fifo.write_all(b"!"))
        .context("give the word")?;
    waiter.wait().context("wait for the process that waits")?;
    fs::remove_file(&fifo).with_context(|| format!("remove {}", fifo.display()))?;
    Ok(code)
}

fn waiter(fifo: &Path) -> Result<std::process::Child> {
    let program = std::env::args().next().context("find this program")?;
    Command::new(&program)
        .arg(WAIT)
        .arg(fifo)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program}"))
}
