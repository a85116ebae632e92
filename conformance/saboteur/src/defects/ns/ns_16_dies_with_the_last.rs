//! The sandbox is removed together with the last application container.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-16-dies-with-the-last",
    target: "NS-16",
    does: "the sandbox is removed together with the last application container",
    also_red: &[
        ("NS-18", "the sandbox is gone before the check removes it"),
        ("NS-24", "the sandbox is gone before the check removes it"),
    ],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    match call.verb() {
        "create" => {
            let config = bundle::config(call)?;
            let code = base.pass(call)?;
            if code == 0 && bundle::is_sandbox(&config) {
                pod::remember(call, "sandbox")?;
            } else if code == 0 && bundle::joins(&config, "network") {
                pod::remember(call, "applications")?;
            }
            Ok(code)
        }
        "delete" => {
            let code = base.pass(call)?;
            if code == 0 && pod::forget(call, "applications")? && pod::names(call, "applications")?.is_empty()
            {
                for sandbox in pod::names(call, "sandbox")? {
                    base.ask(&call.other(&["delete", "--force", &sandbox]))?;
                }
            }
            Ok(code)
        }
        _ => base.pass(call),
    }
}
