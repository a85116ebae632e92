//! Hostile runtimes: each does something that no check expects, to the suite itself rather than to its containers. They prove that
//! nothing a runtime does can hang, crash or deceive the judge; no check is aimed at.

use std::fs;
use std::io::{Write, stderr, stdout};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid, pause};
use serde_json::json;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::cgroup;

/// One hostile runtime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hostile {
    /// Name, and name of the link that chooses it.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) does: &'static str,
    /// Checks that it fulfils all the same, of those that the tests try on it.
    pub(crate) fulfils: &'static [&'static str],
    /// Plays the runtime for one call; the exit code.
    pub(crate) act: fn(&Call, &Base) -> Result<u8>,
}

/// All of them.
pub(crate) const ALL: [Hostile; 11] = [
    Hostile { name: "hostile-hangs", does: "create never ends", fulfils: &[], act: hangs },
    Hostile { name: "hostile-crashes", does: "create ends by SIGSEGV", fulfils: &[], act: crashes },
    Hostile {
        name: "hostile-floods",
        does: "create prints without end on both streams",
        fulfils: &[],
        act: floods,
    },
    Hostile {
        name: "hostile-fork-bombs",
        does: "create makes processes that make processes",
        fulfils: &[],
        act: fork_bombs,
    },
    Hostile {
        name: "hostile-does-nothing",
        does: "every call succeeds and does nothing",
        fulfils: &[],
        act: does_nothing,
    },
    Hostile {
        name: "hostile-kills-group",
        does: "create kills the process group of its caller",
        fulfils: &[],
        act: kills_group,
    },
    Hostile {
        name: "hostile-kills-caller",
        does: "create kills its caller",
        fulfils: &[],
        act: kills_caller,
    },
    Hostile {
        name: "hostile-freezes",
        does: "create leaves the cgroups frozen, that of the pod too",
        fulfils: &["NS-11"],
        act: freezes,
    },
    Hostile {
        name: "hostile-lies",
        does: "every call succeeds, and state and pid file name the node's init",
        fulfils: &[],
        act: lies,
    },
    Hostile {
        name: "hostile-prints-garbage",
        does: "containers are real, and state is no JSON",
        fulfils: &["PID-01", "NS-02"],
        act: prints_garbage,
    },
    Hostile {
        name: "hostile-deletes-itself",
        does: "create removes the runtime's own program",
        fulfils: &[],
        act: deletes_itself,
    },
];

/// The good runtime answers, but for `create`.
fn at_create(call: &Call, base: &Base, attack: impl FnOnce() -> Result<u8>) -> Result<u8> {
    if matches!(call.verb(), "create" | "run") { attack() } else { base.pass(call) }
}

fn hangs(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        loop {
            pause();
        }
    })
}

fn crashes(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        kill(Pid::this(), Signal::SIGSEGV)?;
        Ok(1)
    })
}

fn floods(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        let block = [b'!'; 1 << 16];
        loop {
            stdout().write_all(&block).context("flood standard output")?;
            stderr().write_all(&block).context("flood standard error")?;
        }
    })
}

fn fork_bombs(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        let program = std::env::args().next().context("find this program")?;
        loop {
            // Each of them does the same. What is refused is tried again.
            let child = Command::new(&program).args(&call.arguments).stdin(Stdio::null()).spawn();
            drop(child);
        }
    })
}

fn does_nothing(_call: &Call, _base: &Base) -> Result<u8> {
    Ok(0)
}

fn kills_group(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        kill(Pid::from_raw(0), Signal::SIGKILL)?;
        Ok(0)
    })
}

fn kills_caller(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        let code = base.pass(call)?;
        kill(getppid(), Signal::SIGKILL)?;
        Ok(code)
    })
}

fn freezes(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        let dir = cgroup::dir(&bundle::config(call)?)?;
        let code = base.pass(call)?;
        for dir in dir.ancestors().take(2) {
            cgroup::write(dir, "cgroup.freeze", "1")?;
        }
        Ok(code)
    })
}

fn lies(call: &Call, _base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => {
            if let Some(file) = call.pid_file() {
                fs::write(file, "1").with_context(|| format!("write {}", file.display()))?;
            }
        }
        "state" => {
            let state = json!({ "ociVersion": "1.0.2", "id": call.id(), "status": "running", "pid": 1, "bundle": "/" });
            println!("{state}");
        }
        _ => {}
    }
    Ok(0)
}

fn prints_garbage(call: &Call, base: &Base) -> Result<u8> {
    if call.verb() == "state" {
        println!("{}", "[".repeat(1 << 20));
        return Ok(0);
    }
    base.pass(call)
}

fn deletes_itself(call: &Call, base: &Base) -> Result<u8> {
    at_create(call, base, || {
        let program = std::env::args().next().context("find this program")?;
        let code = base.pass(call)?;
        match fs::remove_file(&program) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {program}"))
            }
            _ => Ok(code),
        }
    })
}
