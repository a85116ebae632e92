//! `create` is tried again for ever where a PID namespace cannot be joined.

use anyhow::Result;
use nix::poll::{PollTimeout, poll};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "pid-12-retries",
    target: "PID-12",
    does: "create is tried again until it succeeds",
    also_red: &[],
    act,
};

/// Between two attempts, milliseconds.
const AGAIN_MS: u16 = 200;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let is_tried_again = call.verb() == "create" && bundle::joins(&bundle::config(call)?, "pid");
    loop {
        let code = base.pass(call)?;
        if code == 0 || !is_tried_again {
            return Ok(code);
        }
        poll(&mut [], PollTimeout::from(AGAIN_MS))?;
    }
}
