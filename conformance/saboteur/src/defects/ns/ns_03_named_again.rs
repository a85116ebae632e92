//! Joining a pod's UTS namespace sets the container's own name in it.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::uts;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-03-named-again",
    target: "NS-03",
    does: "a joining container has its own name set in the pod's UTS namespace",
    also_red: &[("NS-26", "b has set its own name before a reads it")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let config = if call.verb() == "create" { bundle::config(call)? } else { Value::Null };
    let code = base.pass(call)?;
    if let Some(path) = bundle::path_of(&config, "uts")
        && code == 0
    {
        uts::rename_in(path, call.id())?;
    }
    Ok(code)
}
