//! A seccomp rule is applied with EPERM, whatever error it is configured with.

use anyhow::Result;

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
            for rule in config["linux"]["seccomp"]["syscalls"].as_array_mut().into_iter().flatten() {
                if let Some(rule) = rule.as_object_mut() {
                    rule.remove("errnoRet");
                }
            }
        })?;
    }
    base.pass(call)
}
