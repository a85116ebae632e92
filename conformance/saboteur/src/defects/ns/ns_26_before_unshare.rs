//! The host name of a sandbox is set before its UTS namespace is made, which copies it.

use anyhow::{Context, Result};
use nix::unistd::sethostname;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-26-before-unshare",
    target: "NS-26",
    does: "the host name is set before the UTS namespace is made, which copies it",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let config = bundle::config(call)?;
        if bundle::is_sandbox(&config)
            && let Some(name) = config["hostname"].as_str()
        {
            sethostname(name).context("sethostname(2)")?;
            bundle::edit(call, |config| {
                config.as_object_mut().and_then(|config| config.remove("hostname"));
            })?;
        }
    }
    base.pass(call)
}
