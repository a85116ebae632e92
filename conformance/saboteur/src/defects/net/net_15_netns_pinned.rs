//! A file that keeps the network namespace is left mounted.

use std::fs;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::base::Base;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "net-15-netns-pinned",
    target: "NET-15",
    does: "a file that keeps the network namespace is left mounted",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    let (code, namespace) = super::pass_to_bridge(call, base)?;
    if let Some(from) = namespace {
        let to = call.root().context("the pod layer has a root")?.join("netns");
        fs::write(&to, "").with_context(|| format!("make {}", to.display()))?;
        let none: Option<&str> = None;
        mount(Some(from.as_str()), &to, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("mount {from} on {}", to.display()))?;
    }
    Ok(code)
}
