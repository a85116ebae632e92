//! A debug container joins the PID namespace of the sandbox, whatever it targets.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::debug::{self, Pids};
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-38-pids-of-the-sandbox",
    target: "NS-38",
    does: "a debug container joins the PID namespace of the sandbox, whatever it targets",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    debug::pass(call, base, Pids::OfSandbox)
}
