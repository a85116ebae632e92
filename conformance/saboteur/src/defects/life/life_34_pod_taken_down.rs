//! The delete of a container that crashed ends the others of its pod.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod;

pub(super) const DEFECT: Defect = Defect {
    name: "life-34-pod-taken-down",
    target: "LIFE-34",
    does: "the delete of a container that crashed ends the others of its pod",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => {
            let joins = bundle::joins(&bundle::config(call)?, "network");
            let code = base.pass(call)?;
            if code == 0 && joins {
                pod::remember(call, "joined")?;
            }
            Ok(code)
        }
        "kill" => {
            // Its end is wanted.
            pod::forget(call, "joined")?;
            base.pass(call)
        }
        "delete" => {
            let is_forced = call.arguments.iter().any(|argument| argument == "--force");
            let code = base.pass(call)?;
            if pod::forget(call, "joined")? && !is_forced {
                for sibling in pod::names(call, "joined")? {
                    base.ask(&call.other(&["kill", &sibling, "KILL"]))?;
                }
            }
            Ok(code)
        }
        _ => base.pass(call),
    }
}
