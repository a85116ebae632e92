//! Rewriting a bundle before the good runtime reads it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::base::Base;
use crate::call::Call;
use crate::inside;

/// The sandbox program in its root file system.
const PAUSE_PATH: &str = "/pause";

/// Changes the configuration of the bundle of a `create` call, in place. One call writes all of it: when the saboteur is killed, the old
/// one or the new one is there.
pub(crate) fn edit(call: &Call, change: impl FnOnce(&mut Value)) -> Result<()> {
    let path = call.bundle().join("config.json");
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let mut config = serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?;
    change(&mut config);
    let mut changed = serde_json::to_vec(&config)?;
    // JSON ends with any number of spaces: they cover what is left of a longer one.
    changed.resize(changed.len().max(text.len()), b' ');
    let failed = || format!("write {}", path.display());
    let mut file = OpenOptions::new().write(true).open(&path).with_context(failed)?;
    file.write_all(&changed).with_context(failed)
}

/// The configuration of the bundle of a `create` call.
pub(crate) fn config(call: &Call) -> Result<Value> {
    let path = call.bundle().join("config.json");
    let text = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

/// Whether the bundle runs the sandbox program.
pub(crate) fn is_sandbox(config: &Value) -> bool {
    config["process"]["args"][0] == PAUSE_PATH
}

/// Whether a namespace of this type is listed with a path.
pub(crate) fn joins(config: &Value, kind: &str) -> bool {
    path_of(config, kind).is_some()
}

/// The path that a namespace of this type is listed with.
pub(crate) fn path_of<'c>(config: &'c Value, kind: &str) -> Option<&'c str> {
    namespaces(config).iter().find(|namespace| namespace["type"] == kind)?["path"].as_str()
}

/// The namespaces of a configuration.
pub(crate) fn namespaces(config: &Value) -> &[Value] {
    config["linux"]["namespaces"].as_array().map_or(&[], Vec::as_slice)
}

/// The namespaces of a configuration, to be changed.
pub(crate) fn namespaces_mut(config: &mut Value) -> &mut Vec<Value> {
    let namespaces = &mut config["linux"]["namespaces"];
    if !namespaces.is_array() {
        *namespaces = Value::Array(Vec::new());
    }
    match namespaces {
        Value::Array(list) => list,
        _ => unreachable!("it was made an array above"),
    }
}

/// Replaces the sandbox program by a broken one, wherever a bundle of a `create` call runs it, then passes the call on.
pub(crate) fn with_pause(call: &Call, base: &Base, mode: &str) -> Result<u8> {
    if call.verb() == "create" && runs_pause(&config(call)?) {
        break_pause(call, mode)?;
    }
    base.pass(call)
}

/// Gives a listed namespace of this type a path, or takes the one away that it has.
pub(crate) fn set_path(config: &mut Value, kind: &str, path: Option<&str>) {
    for namespace in namespaces_mut(config).iter_mut().filter(|namespace| namespace["type"] == kind) {
        *namespace = match path {
            Some(path) => serde_json::json!({ "type": kind, "path": path }),
            None => serde_json::json!({ "type": kind }),
        };
    }
}

/// Where a path of the container is on the node: below what is bound there, or, in the file systems of the kernel, the same.
pub(crate) fn on_node(config: &Value, path: &Path) -> PathBuf {
    let bound = config["mounts"].as_array().into_iter().flatten().find_map(|mount| {
        let rest = path.strip_prefix(mount["destination"].as_str()?).ok()?;
        (mount["type"] == "bind").then(|| Path::new(mount["source"].as_str().unwrap_or_default()).join(rest))
    });
    bound.unwrap_or_else(|| path.to_owned())
}

/// Has the container of a `create` call join a fresh network namespace, by path in place of what is listed. It lives as long as this
/// process, which waits for the good runtime, and then in the container.
pub(crate) fn join_fresh_network(call: &Call) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a fresh network namespace")?;
    let path = format!("/proc/{}/ns/net", std::process::id());
    edit(call, |config| set_path(config, "network", Some(&path)))
}

/// The mount of a configuration on this place, to be changed.
pub(crate) fn mount_mut<'c>(config: &'c mut Value, place: &str) -> Option<&'c mut Value> {
    config["mounts"].as_array_mut()?.iter_mut().find(|mount| mount["destination"] == place)
}

/// Replaces the sandbox program by a broken one: this program, as `/pause MODE`.
fn break_pause(call: &Call, mode: &str) -> Result<()> {
    put_self(call, inside::PAUSE)?;
    let mode = mode.to_owned();
    edit(call, |config| {
        if let Value::Array(args) = &mut config["process"]["args"]
            && let Some(at) = args.iter().position(|argument| argument == PAUSE_PATH)
        {
            args.truncate(at + 1);
            args.push(Value::from(mode));
        }
    })
}

/// Whether the sandbox program runs, by itself or behind another one.
fn runs_pause(config: &Value) -> bool {
    config["process"]["args"]
        .as_array()
        .is_some_and(|args| args.iter().any(|argument| argument == PAUSE_PATH))
}

/// Puts a wrapper in front of the container's program: this program, as `/saboteur-wrapper MODE ARGS...`.
pub(crate) fn wrap(call: &Call, mode: &str) -> Result<()> {
    put_self(call, inside::WRAPPER)?;
    let mode = mode.to_owned();
    edit(call, |config| {
        let mut args = vec![Value::from(format!("/{}", inside::WRAPPER)), Value::from(mode)];
        args.extend(config["process"]["args"].as_array().cloned().unwrap_or_default());
        config["process"]["args"] = Value::Array(args);
    })
}

/// Gives the wrapper of a configuration an argument, before the container's own program.
pub(crate) fn wrapper_argument(config: &mut Value, argument: &str) {
    if let Value::Array(args) = &mut config["process"]["args"] {
        args.insert(2, Value::from(argument));
    }
}

/// Grants a container's program one more capability.
pub(crate) fn grant(config: &mut Value, capability: &str) {
    for set in ["bounding", "effective", "permitted"] {
        if let Value::Array(set) = &mut config["process"]["capabilities"][set] {
            set.push(Value::from(capability));
        }
    }
}

/// Puts an init in the place of the container's program, under the same path, which it starts under another one. A container of
/// another program stays as it is.
pub(crate) fn disguise(call: &Call) -> Result<()> {
    let root = call.bundle().join("rootfs");
    let (program, real) = (root.join(inside::DISGUISE), root.join(inside::disguise::REAL));
    if !program.exists() {
        return Ok(());
    }
    fs::rename(&program, &real).with_context(|| format!("rename {}", program.display()))?;
    put_self(call, inside::DISGUISE)
}

/// Copies this program into the bundle's root file system, in place of what has that name there. What an earlier call for the bundle
/// has put there stays, so that nothing is missing when this one is killed.
pub(crate) fn put_self(call: &Call, name: &str) -> Result<()> {
    let to = call.bundle().join("rootfs").join(name);
    let own = fs::read("/proc/self/exe").context("read this program")?;
    if fs::read(&to).is_ok_and(|there| there == own) {
        return Ok(());
    }
    remove_if_there(&to)?;
    fs::copy("/proc/self/exe", &to).with_context(|| format!("copy this program to {}", to.display()))?;
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use serde_json::json;

    use super::*;

    fn create(bundle: &Path) -> Call {
        let bundle = bundle.display().to_string();
        Call::parse(["create", "--bundle", &bundle, "x-1"].map(str::to_owned).to_vec())
    }

    /// A bundle with an empty root file system: the directory, the call, the root.
    fn empty() -> (tempfile::TempDir, Call, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        fs::create_dir(&root).unwrap();
        let call = create(dir.path());
        (dir, call, root)
    }

    #[test]
    fn nothing_of_a_longer_configuration_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let call = create(dir.path());
        let long = json!({ "hostname": "a".repeat(1000), "process": { "args": ["/witness"] } });
        fs::write(dir.path().join("config.json"), long.to_string()).unwrap();
        edit(&call, |config| config["hostname"] = "b".into()).unwrap();
        let short = json!({ "hostname": "b", "process": { "args": ["/witness"] } });
        assert_eq!(config(&call).unwrap(), short);
        edit(&call, |config| config["hostname"] = "c".repeat(2000).into()).unwrap();
        assert_eq!(config(&call).unwrap()["hostname"], "c".repeat(2000));
    }

    #[test]
    fn the_wrapper_of_an_earlier_call_stays_and_another_file_does_not() {
        let (_dir, call, root) = empty();
        let file = root.join(inside::PAUSE);
        fs::write(&file, "the good one").unwrap();
        put_self(&call, inside::PAUSE).unwrap();
        let first = fs::metadata(&file).unwrap();
        assert!(first.len() > 1000);
        put_self(&call, inside::PAUSE).unwrap();
        let second = fs::metadata(&file).unwrap();
        assert_eq!(
            (first.ino(), first.ctime(), first.ctime_nsec()),
            (second.ino(), second.ctime(), second.ctime_nsec())
        );
    }

    #[test]
    fn a_bundle_without_the_witness_is_not_disguised() {
        let (_dir, call, root) = empty();
        disguise(&call).unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
        fs::write(root.join(inside::DISGUISE), "the good one").unwrap();
        disguise(&call).unwrap();
        assert_eq!(fs::read(root.join(inside::disguise::REAL)).unwrap(), b"the good one");
        assert!(root.join(inside::DISGUISE).exists());
    }
}
