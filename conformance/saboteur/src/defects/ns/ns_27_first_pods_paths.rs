//! The sandbox of a second pod is given the paths of the first one's namespaces.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::base::Base;
use crate::bundle;
use crate::call::Call;
use crate::defects::Defect;

pub(super) const DEFECT: Defect = Defect {
    name: "ns-27-first-pods-paths",
    target: "NS-27",
    does: "the sandbox of a second pod is given the paths of the first one's namespaces",
    also_red: &[("NS-28", "the second and the third pod get what the first one has from the node")],
    act,
};

fn act(call: &mut Call, base: &Base) -> Result<u8> {
    if call.verb() != "create" || !bundle::is_sandbox(&bundle::config(call)?) {
        return base.pass(call);
    }
    let root = call.root().context("--root is needed to remember the first sandbox")?;
    let first = root.with_extension("first-sandbox");
    let Some(pid) =
        fs::read_to_string(&first).ok().filter(|pid| Path::new("/proc").join(pid.trim()).exists())
    else {
        let code = base.pass(call)?;
        if let Some(pid_file) = call.pid_file().filter(|pid_file| pid_file.exists()) {
            fs::copy(pid_file, &first).with_context(|| format!("write {}", first.display()))?;
        }
        return Ok(code);
    };
    bundle::edit(call, |config| {
        for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
            bundle::set_path(config, kind, Some(&format!("/proc/{}/ns/{file}", pid.trim())));
        }
        // It belongs to the first pod by now.
        config.as_object_mut().and_then(|config| config.remove("hostname"));
    })?;
    base.pass(call)
}
