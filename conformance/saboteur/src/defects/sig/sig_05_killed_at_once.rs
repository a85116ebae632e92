//! SIGKILL is sent at once.

use anyhow::Result;

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod_layer;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-05-killed-at-once",
    target: "SIG-05",
    does: "SIGKILL is sent at once",
    also_red: &[
        ("SIG-12", "the program is killed before the hook runs"),
        ("SIG-04", "the program is killed before it is sent a stop signal"),
        ("SIG-06", "the program is killed before it is sent a stop signal"),
        ("SIG-07", "the program is killed before it is sent a stop signal"),
        ("SIG-08", "the programs are killed before they are sent a stop signal"),
        ("SIG-11", "the program is killed before the hook runs"),
        ("SIG-15", "the programs are killed before they are sent a stop signal"),
        ("SIG-16", "the programs are killed before they are sent a stop signal"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if pod_layer::verb(call) == Some("stop") {
        pod_layer::with_grace(call, Some(0));
    }
    base.pass(call)
}
