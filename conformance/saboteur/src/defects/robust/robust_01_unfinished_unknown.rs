//! A forced delete takes a container whose `create` did not end for one that was never there.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "robust-01-unfinished-unknown",
    target: "ROBUST-01",
    does: "a forced delete takes a container whose create did not end for one that was never there",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let is_forced = call.arguments.iter().any(|argument| argument == "--force");
    match call.verb() {
        "delete" if is_forced => {
            let state = base.state(call)?;
            if state.is_none_or(|state| state["status"] == "creating") { Ok(0) } else { base.pass(call) }
        }
        // It goes by the same list.
        "gc" => Ok(0),
        // What is killed in the midst of it is the runtime itself.
        "create" => base.become_it(call),
        _ => base.pass(call),
    }
}
