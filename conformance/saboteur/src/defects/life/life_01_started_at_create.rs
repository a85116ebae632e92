//! `create` starts the program as well.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "life-01-started-at-create",
    target: "LIFE-01",
    does: "create starts the program as well",
    also_red: &[
        ("LIFE-02", "the program's exec comes before start"),
        ("NS-11", "the program of its control, which is never started, runs"),
        ("REAP-16", "its warning comes while create runs, and is taken for what create says"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => match base.pass(call)? {
            0 => base.pass(&call.other(&["start", call.id()])),
            refused => Ok(refused),
        },
        // It runs already.
        "start" => Ok(0),
        _ => base.pass(call),
    }
}
