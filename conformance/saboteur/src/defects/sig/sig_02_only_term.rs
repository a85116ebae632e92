//! The sandbox program handles SIGTERM only; PID 1 ignores SIGINT then.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sig-02-only-term",
    target: "SIG-02",
    does: "pause handles SIGTERM only; PID 1 ignores SIGINT then",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "only-term")
}
