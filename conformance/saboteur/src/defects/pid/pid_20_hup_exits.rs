//! The sandbox program exits on SIGHUP.

use anyhow::{Context, Result};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-20-hup-exits",
    target: "PID-20",
    does: "the sandbox program exits on SIGHUP",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::makes(call)
        && let Some(at) = call.arguments.iter().position(|argument| argument == "--pause")
    {
        // As `/pause` in the sandbox this program is a broken one.
        let own = std::env::current_exe().context("find this program")?;
        if let Some(pause) = call.arguments.get_mut(at + 1) {
            *pause = own.display().to_string();
        }
    }
    base.pass(call)
}
