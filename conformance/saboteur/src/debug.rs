//! Debug containers, which podrt does not have: `ephemeralContainers` of a manifest, each with a container that it targets.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::{inside, pod_layer};

/// Whose PIDs a debug container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pids {
    /// Those of the container that it targets.
    OfTarget,
    /// Those of the sandbox.
    OfSandbox,
}

/// Passes a call on; a pod that comes of it gets its debug containers.
pub(crate) fn pass(call: &Call, base: &Base, pids: Pids) -> Result<u8> {
    if !pod_layer::makes(call) {
        return base.pass(call);
    }
    let manifest = pod_layer::manifest(call)?;
    let debuggers = manifest["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    for debugger in &debuggers {
        pod_layer::put_wrapper(debugger)?;
    }
    pod_layer::drop_field(call, "ephemeralContainers")?;
    let code = base.pass(call)?;
    if code == 0 && !debuggers.is_empty() {
        let name = manifest["metadata"]["name"].as_str().context("the pod has a name")?;
        let tree = pod_layer::ask(call, base, &["tree", "--format", "json", name])?;
        for debugger in &debuggers {
            start(&tree, debugger, pids)?;
        }
    }
    Ok(code)
}

fn start(tree: &Value, debugger: &Value, pids: Pids) -> Result<()> {
    let target = main_process(tree, &debugger["targetContainerName"])?;
    let pids_of = match pids {
        Pids::OfTarget => target.clone(),
        Pids::OfSandbox => main_process(tree, &Value::from("_sandbox"))?,
    };
    let program = debugger["command"].as_array().context("a debug container has a command")?;
    let status = Command::new("/proc/self/exe")
        .arg0(inside::WRAPPER)
        .args(["debug", &target, &pids_of])
        .args(program.iter().filter_map(Value::as_str))
        .stdin(Stdio::null())
        .status()
        .context("run the start of a debug container")?;
    ensure!(status.success(), "the start of a debug container: {status}");
    Ok(())
}

/// The number on the node of the first process of a container.
fn main_process(tree: &Value, name: &Value) -> Result<String> {
    let mut containers = tree["containers"].as_array().into_iter().flatten();
    let container = containers.find(|container| container["name"] == *name);
    let pid = container.and_then(|container| container["processes"][0]["pid"].as_i64());
    Ok(pid.with_context(|| format!("{name} has no process"))?.to_string())
}
