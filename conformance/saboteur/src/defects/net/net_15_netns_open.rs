//! A process of the runtime keeps a descriptor of the network namespace.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::holder;

pub(super) const DEFECT: Defect = Defect {
    name: "net-15-netns-open",
    target: "NET-15",
    does: "a process of the runtime keeps a descriptor of the network namespace",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let (code, namespace) = super::pass_to_bridge(call, base)?;
    if let Some(path) = namespace {
        holder::keep_open(&path)?;
    }
    Ok(code)
}
