//! `state` says running until the cgroup is empty.

use anyhow::Result;
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::cgroup;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-10-until-empty",
    target: "PID-10",
    does: "a container runs until its cgroup is empty",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "state" {
        return base.pass(call);
    }
    let is_populated =
        cgroup::of_container(call, base)?.is_some_and(|dir| !cgroup::processes(&dir).is_empty());
    base.answer(call, |state| {
        if is_populated && state["status"] == "stopped" {
            state["status"] = Value::from("running");
        }
    })
}
