//! A joining container mounts a tmpfs of its own on /dev/shm.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-23-own-shm",
    target: "NS-23",
    does: "a joining container mounts a tmpfs of its own on /dev/shm",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            if let Some(mount) = bundle::mount_mut(config, "/dev/shm") {
                *mount = serde_json::json!({ "destination": "/dev/shm", "type": "tmpfs", "source": "shm" });
            }
        })?;
    }
    base.pass(call)
}
