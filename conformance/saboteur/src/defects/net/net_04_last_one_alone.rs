//! The third container that joins a sandbox gets a network namespace of its own.

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;
use crate::pod;

pub(super) const DEFECT: Defect = Defect {
    name: "net-04-last-one-alone",
    target: "NET-04",
    does: "the third container that joins a sandbox gets a network namespace of its own",
    also_red: &[],
    act,
};

/// Which of those that join is left alone.
const ALONE: usize = 2;

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && bundle::joins(&bundle::config(call)?, "network") {
        if pod::names(call, "joined")?.len() == ALONE {
            unshare(CloneFlags::CLONE_NEWNET).context("make a fresh network namespace")?;
            let path = format!("/proc/{}/ns/net", std::process::id());
            bundle::edit(call, |config| {
                for namespace in bundle::namespaces_mut(config) {
                    if namespace["type"] == "network" {
                        namespace["path"] = path.clone().into();
                    }
                }
            })?;
        }
        pod::remember(call, "joined")?;
    }
    base.pass(call)
}
