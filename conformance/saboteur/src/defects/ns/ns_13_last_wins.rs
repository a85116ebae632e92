//! Of two entries of one type the last one is taken.

use anyhow::Result;

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-13-last-wins",
    target: "NS-13",
    does: "of two entries of one type the last one is taken",
    also_red: &[],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() == "create" {
        bundle::edit(call, |config| {
            let namespaces = bundle::namespaces_mut(config);
            let mut seen = Vec::new();
            namespaces.reverse();
            namespaces.retain(|namespace| {
                let kind = namespace["type"].clone();
                let is_first = !seen.contains(&kind);
                seen.push(kind);
                is_first
            });
            namespaces.reverse();
        })?;
    }
    base.pass(call)
}
