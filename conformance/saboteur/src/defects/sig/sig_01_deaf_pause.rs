//! The sandbox program has no handler for SIGTERM, which PID 1 then ignores.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-01-deaf-pause",
    target: "SIG-01",
    does: "pause has no handler for SIGTERM, which PID 1 then ignores",
    also_red: &[
        ("REAP-16", "the second sandbox program is ended by the signal that it has no handler for"),
        ("SIG-02", "it has no handler for SIGINT either"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "deaf")
}
