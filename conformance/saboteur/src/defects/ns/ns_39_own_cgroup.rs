//! exec forgets the cgroup namespace of the container.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::inside;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-39-own-cgroup",
    target: "NS-39",
    does: "exec forgets the cgroup namespace of the container: the process has another one",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => bundle::put_self(call, inside::WRAPPER)?,
        "exec" => call.wrap_executed("new-cgroup"),
        _ => {}
    }
    base.pass(call)
}
