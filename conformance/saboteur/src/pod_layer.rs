//! Calls of the pod layer: `pod --root DIR VERB ...`, the manifests that they read, and the pods that they are about.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::base::Base;
use crate::call::Call;
use crate::inside;

/// `run`, `create`, `stop`, ...; `None` for a call that is not of the pod layer.
pub(crate) fn verb(call: &Call) -> Option<&str> {
    (call.verb() == "pod").then(|| call.id())
}

/// A call that reads a manifest.
pub(crate) fn makes(call: &Call) -> bool {
    matches!(verb(call), Some("run" | "create"))
}

/// The last word: the manifest, or the pod.
pub(crate) fn last(call: &Call) -> Result<&str> {
    call.arguments.last().map(String::as_str).context("a manifest or a pod is needed")
}

/// The manifest of a call that reads one.
pub(crate) fn manifest(call: &Call) -> Result<Value> {
    let path = last(call)?;
    let text = fs::read(path).with_context(|| format!("read {path}"))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {path}"))
}

/// Changes the manifest of a call that reads one, in place.
pub(crate) fn edit(call: &Call, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut document = manifest(call)?;
    change(&mut document);
    let path = last(call)?;
    fs::write(path, document.to_string()).with_context(|| format!("write {path}"))
}

/// The main containers of a manifest.
pub(crate) fn containers(manifest: &mut Value) -> &mut [Value] {
    manifest["spec"]["containers"].as_array_mut().map_or(&mut [], Vec::as_mut_slice)
}

/// Whether a container of a manifest comes from an OCI image layout, not from a directory.
pub(crate) fn has_layout(container: &Value) -> bool {
    container["image"].as_str().is_some_and(|image| image.starts_with("oci:"))
}

/// Puts a wrapper in front of the program of each main container that comes from a directory: this program, as
/// `/saboteur-wrapper MODE PROGRAM ARGS...`.
pub(crate) fn wrap(call: &Call, mode: &str) -> Result<()> {
    wrap_list(call, &[mode], "containers")
}

/// The same with arguments of the mode: `/saboteur-wrapper WORDS... PROGRAM ARGS...`.
pub(crate) fn wrap_with(call: &Call, words: &[&str]) -> Result<()> {
    wrap_list(call, words, "containers")
}

/// The same for init containers.
pub(crate) fn wrap_init(call: &Call, mode: &str) -> Result<()> {
    wrap_list(call, &[mode], "initContainers")
}

fn wrap_list(call: &Call, words: &[&str], list: &str) -> Result<()> {
    let mut document = manifest(call)?;
    let containers = document["spec"][list].as_array_mut().map_or(&mut [][..], Vec::as_mut_slice);
    for container in containers.iter_mut().filter(|container| !has_layout(container)) {
        put_wrapper(container)?;
        let mut command = vec![json!(format!("/{}", inside::WRAPPER))];
        command.extend(words.iter().map(|word| json!(word)));
        command.extend(container["command"].as_array().cloned().unwrap_or_default());
        container["command"] = Value::Array(command);
    }
    edit(call, |manifest| *manifest = document)
}

/// Puts the wrapper into the image of a container.
pub(crate) fn put_wrapper(container: &Value) -> Result<()> {
    let image = container["image"].as_str().context("an image is needed")?;
    let to = Path::new(image).join(inside::WRAPPER);
    if !to.exists() {
        fs::copy("/proc/self/exe", &to).with_context(|| format!("copy this program to {}", to.display()))?;
    }
    Ok(())
}

/// Takes a field out of what is asked of a pod.
pub(crate) fn drop_field(call: &Call, name: &str) -> Result<()> {
    edit(call, |manifest| {
        if let Some(spec) = manifest["spec"].as_object_mut() {
            spec.remove(name);
        }
    })
}

/// Takes the preStop hooks of the main containers out of the manifest.
pub(crate) fn forget_hook(call: &Call) -> Result<()> {
    edit(call, |manifest| {
        for container in containers(manifest) {
            if let Some(lifecycle) = container.get_mut("lifecycle").and_then(Value::as_object_mut) {
                lifecycle.remove("preStop");
            }
        }
    })
}

/// Whether the pod has an emptyDir volume.
pub(crate) fn has_empty_dir(call: &Call) -> Result<bool> {
    let manifest = manifest(call)?;
    let volumes = manifest["spec"]["volumes"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(volumes.iter().any(|volume| volume["emptyDir"].is_object()))
}

/// A call of another verb on the pods of the same root directory.
pub(crate) fn other(call: &Call, words: &[&str]) -> Call {
    let root = call.root().map(|root| root.display().to_string()).unwrap_or_default();
    let words = [["pod", "--root", &root].as_slice(), words].concat();
    Call::parse(words.into_iter().map(str::to_owned).collect())
}

/// What the good pod layer answers to a call, as JSON.
pub(crate) fn ask(call: &Call, base: &Base, words: &[&str]) -> Result<Value> {
    let output = base.ask(&other(call, words))?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("parse what {words:?} printed"))
}

/// Changes how containers have ended in the answer of `inspect`.
pub(crate) fn answer(call: &Call, base: &Base, change: impl Fn(&mut Value)) -> Result<u8> {
    base.answer(call, |document| {
        let containers = document["containers"].as_array_mut().map_or(&mut [][..], Vec::as_mut_slice);
        for container in containers {
            for state in ["state", "lastState"] {
                if let Some(end) = container.get_mut(state).and_then(|state| state.get_mut("terminated")) {
                    change(end);
                }
            }
        }
    })
}

/// Sends a signal to the processes of a pod's containers, the sandbox left out: to all, or to the main ones only.
pub(crate) fn signal(call: &Call, base: &Base, signal: Signal, only_main: bool) -> Result<()> {
    let tree = ask(call, base, &["tree", "--format", "json", last(call)?])?;
    for container in tree["containers"].as_array().map_or(&[][..], Vec::as_slice) {
        let processes = container["processes"].as_array().map_or(&[][..], Vec::as_slice);
        if container["name"] == "_sandbox" {
            continue;
        }
        for process in processes.iter().take(if only_main { 1 } else { usize::MAX }) {
            if let Some(pid) = process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()) {
                send(pid, signal)?;
            }
        }
    }
    Ok(())
}

/// Sends a signal to a process, which may have ended.
pub(crate) fn send(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("signal {pid}")),
    }
}

/// The grace period of a call of `stop`.
pub(crate) fn grace(call: &Call) -> Option<u64> {
    let at = call.arguments.iter().position(|argument| argument == "--time")?;
    call.arguments.get(at + 1)?.parse().ok()
}

/// The same call of `stop` with another grace period, or with none.
pub(crate) fn with_grace(call: &mut Call, seconds: Option<u64>) {
    if let Some(at) = call.arguments.iter().position(|argument| argument == "--time") {
        let words = seconds.map(|seconds| ["--time".to_owned(), seconds.to_string()]);
        call.arguments.splice(at..=at + 1, words.into_iter().flatten());
    }
}

/// Where a defect keeps what it has to know of a pod when it is stopped.
pub(crate) fn kept(pod: &str) -> PathBuf {
    std::env::temp_dir().join(format!("saboteur-{pod}"))
}

/// The name of the pod of a call that makes one, and the preStop hook of its first container.
pub(crate) fn hook(call: &Call) -> Result<Option<(String, Value)>> {
    let manifest = manifest(call)?;
    let hook = &manifest["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"];
    let name = manifest["metadata"]["name"].as_str().context("the pod has a name")?;
    Ok(hook.is_array().then(|| (name.to_owned(), hook.clone())))
}

/// Lets time pass.
pub(crate) fn idle(time: Duration) -> Result<()> {
    let timeout = PollTimeout::try_from(time.as_millis()).context("wait for so long")?;
    poll(&mut [], timeout).context("wait")?;
    Ok(())
}
