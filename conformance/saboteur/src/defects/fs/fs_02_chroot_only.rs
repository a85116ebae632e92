//! The root is changed by chroot(2), below a root that stays.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "fs-02-chroot-only",
    target: "FS-02",
    does: "the root is changed by chroot(2), below a root that stays",
    also_red: &[],
    act,
};

/// What a break-out needs, and chroot(2) itself.
const NEEDED: &str = "CAP_SYS_CHROOT";
/// The root that stays, in the bundle, and where the configured one is in it.
const OUTER: &str = "outer";
const INNER: &str = "/inner";

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" && can_break_out(&bundle::config(call)?) {
        bundle::wrap(call, "chroot")?;
        let dir = call.bundle();
        let (outer, rootfs) = (dir.join(OUTER), dir.join("rootfs"));
        for place in ["proc", "dev", "inner", "podproof"] {
            let place = outer.join(place);
            fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
        }
        bundle::edit(call, |config| {
            config["root"]["path"] = json!(OUTER);
            let mounts = config["mounts"].as_array().cloned().unwrap_or_default();
            let mut all = mounts.clone();
            all.push(
                json!({ "destination": INNER, "type": "bind", "source": rootfs, "options": ["bind", "rw"] }),
            );
            for mut mount in mounts {
                let below = format!("{INNER}{}", mount["destination"].as_str().unwrap_or_default());
                mount["destination"] = Value::from(below);
                all.push(mount);
            }
            config["mounts"] = Value::Array(all);
            let program = format!("{INNER}{}", config["process"]["args"][0].as_str().unwrap_or_default());
            config["process"]["args"][0] = Value::from(program);
            bundle::wrapper_argument(config, INNER);
        })?;
    }
    base.pass(call)
}

fn can_break_out(config: &Value) -> bool {
    let effective = config["process"]["capabilities"]["effective"].as_array();
    effective.is_some_and(|set| set.iter().any(|capability| capability == NEEDED))
}
