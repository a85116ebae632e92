//! A seccomp rule is applied with EPERM, whatever error it is configured with.

use anyhow::Result;

use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sec-07-other-errno",
    target: "SEC-07",
    does: "a rule is applied with EPERM, whatever error it is configured with",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let rules = config.pointer_mut("/linux/seccomp/syscalls").and_then(Value::as_array_mut);
            for rule in rules.into_iter().flatten() {
                if let Some(rule) = rule.as_object_mut() {
                    rule.remove("errnoRet");
                }
            }
        })?;
    }
    base.pass(call)
}
