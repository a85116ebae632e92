//! CAP_KILL is granted to every container, also to those of users.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-21-kill-for-all",
    target: "PID-21",
    does: "CAP_KILL is granted to every container, also to those of users",
    also_red: &[("SEC-01", "CAP_KILL is added to the sets of both")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && !bundle::is_sandbox(&bundle::config(call)?) {
        bundle::edit(call, |config| {
            // Ambient as well: an exec by a user keeps no others.
            for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
                let set = &mut config["process"]["capabilities"][set];
                match set {
                    Value::Array(set) if set.iter().any(|known| known == "CAP_KILL") => {}
                    Value::Array(set) => set.push(Value::from("CAP_KILL")),
                    _ => *set = Value::from(vec!["CAP_KILL"]),
                }
            }
        })?;
    }
    base.pass(call)
}
