//! The sandbox program drops a SIGCHLD that waits beside a SIGCONT.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "reap-04-forgets-at-cont",
    target: "REAP-04",
    does: "pause drops a SIGCHLD that waits beside a SIGCONT, as when it was stopped meanwhile",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    bundle::with_pause(call, base, "forgets-at-cont")
}
