//! Every exit code is reported as 0.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-08-reports-zero",
    target: "REAP-08",
    does: "every exit code is reported as 0",
    also_red: &[
        ("REAP-09", "death by signal is reported as 0 too"),
        ("CG-03", "a memory kill is reported as 0 too"),
        ("CG-23", "the container that was killed is found by its exit code"),
        ("SIG-06", "its exit code is reported as 0 too"),
        ("SIG-15", "their exit codes are reported as 0 too"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match pod_layer::verb(call) {
        Some("inspect") => pod_layer::answer(call, base, |end| end["exitCode"] = 0.into()),
        _ => base.pass(call),
    }
}
