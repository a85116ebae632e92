//! The sandbox program exits with an error where it is not PID 1.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-16-refuses",
    target: "REAP-16",
    does: "pause exits with an error where it is not PID 1",
    also_red: &[
        ("REAP-17", "it ends at once"),
        ("NS-28", "a sandbox in the node's PID namespace is not PID 1"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "refuses")
}
