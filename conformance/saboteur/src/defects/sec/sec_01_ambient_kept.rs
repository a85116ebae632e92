//! The ambient set keeps what the caller holds.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "sec-01-ambient-kept",
    target: "SEC-01",
    does: "the ambient set keeps what the caller holds",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        let held = caller_ambient()?;
        bundle::edit(call, |config| {
            let capabilities = &mut config["process"]["capabilities"];
            let inheritable = capabilities["inheritable"].as_array().cloned().unwrap_or_default();
            // The kernel keeps an ambient capability as long as it is inheritable (capabilities(7)).
            let kept = inheritable.into_iter().filter(|name| held.contains(name));
            let mut ambient = capabilities["ambient"].as_array().cloned().unwrap_or_default();
            ambient.extend(kept);
            if !ambient.is_empty() {
                capabilities["ambient"] = Value::Array(ambient);
            }
        })?;
    }
    base.pass(call)
}

/// Names of the ambient capabilities that this process was called with, of those that the suite uses.
fn caller_ambient() -> Result<Vec<Value>> {
    const NAMES: [(u32, &str); 3] = [(0, "CAP_CHOWN"), (5, "CAP_KILL"), (10, "CAP_NET_BIND_SERVICE")];
    let status = std::fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let bits = status
        .lines()
        .find_map(|line| line.strip_prefix("CapAmb:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .context("find CapAmb in /proc/self/status")?;
    Ok(NAMES.iter().filter(|(number, _)| bits & (1 << number) != 0).map(|(_, name)| (*name).into()).collect())
}
