//! A create that has to be refused crashes, and leaves nothing.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, raise};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

const A_CRASH: &str = "a crash is no refusal";

pub(super) const DEFECT: Defect = Defect {
    name: "ns-11-crashes",
    target: "NS-11",
    does: "a create that has to be refused crashes, and leaves nothing",
    also_red: &[
        ("NS-12", A_CRASH),
        ("NS-13", A_CRASH),
        ("NS-14", A_CRASH),
        ("NS-37", A_CRASH),
        ("PID-12", A_CRASH),
        ("SEC-11", A_CRASH),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let code = base.pass(call)?;
    if call.verb() == "create" && code != 0 {
        raise(Signal::SIGABRT).context("crash")?;
    }
    Ok(code)
}
