//! OCI bundles: one minimal valid configuration, from which a check states its difference.
//!
//! The root file system holds the witness and empty mount points only.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use podproof_witness::{SOCKET_DIR, WITNESS_PATH};
use serde_json::{Value, json};

/// The capabilities of every container that runs a witness, unless a check states others.
pub(crate) const CAPABILITIES: [&str; 5] =
    ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_ADMIN", "CAP_IPC_OWNER", "CAP_NET_BIND_SERVICE"];

/// Where a container gets one of its namespaces from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NsSource {
    /// A new one.
    New,
    /// The one behind this path.
    Path(String),
    /// The caller's: not listed.
    Inherited,
}

/// What a container is made from.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Short name of the container within its pod: `a`, `b`, `pause`.
    pub name: String,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Namespaces by their OCI type name.
    pub namespaces: Vec<(&'static str, NsSource)>,
    /// Changes to the finished configuration.
    changes: Vec<(String, Value)>,
}

impl Bundle {
    /// A container that runs the witness with new namespaces: pid, mount, ipc, uts, network and cgroup.
    #[must_use]
    pub fn witness(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            args: vec![WITNESS_PATH.to_owned(), "serve".to_owned(), "--name".to_owned(), name.to_owned()],
            namespaces: ["pid", "mount", "ipc", "uts", "network", "cgroup"]
                .into_iter()
                .map(|kind| (kind, NsSource::New))
                .collect(),
            changes: Vec::new(),
        }
    }

    /// Runs this instead.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// Takes one namespace from elsewhere.
    #[must_use]
    pub fn namespace(mut self, kind: &'static str, source: NsSource) -> Self {
        self.namespaces.retain(|(listed, _)| *listed != kind);
        if source != NsSource::Inherited {
            self.namespaces.push((kind, source));
        }
        self
    }

    /// Sets a value of the configuration, by JSON pointer (`/process/user/uid`). Missing objects are made.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        self.changes.push((pointer.to_owned(), value.into()));
        self
    }

    /// The configuration as `config.json` (runtime-spec config.md).
    #[must_use]
    pub fn config(&self, cgroups_path: &str, socket_dir: &Path) -> Value {
        let namespaces: Vec<Value> = self
            .namespaces
            .iter()
            .map(|(kind, source)| match source {
                NsSource::Path(path) => json!({ "type": kind, "path": path }),
                NsSource::New | NsSource::Inherited => json!({ "type": kind }),
            })
            .collect();
        let caps = json!(CAPABILITIES);
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": { "uid": 0, "gid": 0 },
                "args": self.args,
                "env": ["PATH=/"],
                "cwd": "/",
                "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
                "noNewPrivileges": true
            },
            "root": { "path": "rootfs", "readonly": false },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                  "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
                { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                  "options": ["nosuid", "noexec", "nodev"] },
                { "destination": SOCKET_DIR, "type": "bind", "source": socket_dir,
                  "options": ["bind", "rw"] }
            ],
            "linux": {
                "cgroupsPath": cgroups_path,
                "namespaces": namespaces
            }
        });
        // A container without its own UTS namespace may not set a name: runtimes refuse it.
        if self.namespaces.iter().any(|(kind, source)| *kind == "uts" && *source == NsSource::New) {
            set(&mut config, "/hostname", json!(self.name));
        }
        for (pointer, value) in &self.changes {
            set(&mut config, pointer, value.clone());
        }
        config
    }

    /// Writes the bundle: `config.json` and `rootfs`, with a hard link to the program that it runs.
    ///
    /// # Errors
    /// When a file cannot be made; the error names it.
    pub fn write(&self, dir: &Path, config: &Value, programs: &[(&Path, &str)]) -> io::Result<PathBuf> {
        let root = write_rootfs(dir, programs)?;
        let path = dir.join("config.json");
        fs::write(&path, serde_json::to_vec_pretty(config)?).map_err(named(&path))?;
        Ok(root)
    }
}

/// Writes `rootfs` into a directory: mount points, and hard links to these programs.
///
/// # Errors
/// When a file cannot be made; the error names it.
pub fn write_rootfs(dir: &Path, programs: &[(&Path, &str)]) -> io::Result<PathBuf> {
    let root = dir.join("rootfs");
    for name in ["proc", "dev", "sys", "tmp", "run", "podproof", "etc"] {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(named(&path))?;
    }
    let tmp = root.join("tmp");
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).map_err(named(&tmp))?;
    for (program, name) in programs {
        let path = root.join(name.trim_start_matches('/'));
        fs::hard_link(program, &path).map_err(named(&path))?;
    }
    let tab = root.join("etc/mtab");
    symlink("/proc/self/mounts", &tab).map_err(named(&tab))?;
    Ok(root)
}

/// Adds the path to an error.
fn named(path: &Path) -> impl Fn(io::Error) -> io::Error + use<> {
    let path = path.to_owned();
    move |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Sets the value at a JSON pointer, making the objects on the way; a last segment `-` appends to an array.
pub(crate) fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for segment in pointer.trim_start_matches('/').split('/') {
        if let Value::Array(list) = place {
            let index = segment.parse().unwrap_or(list.len());
            if index >= list.len() {
                list.resize(index + 1, Value::Null);
            }
            place = &mut list[index];
        } else {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[segment];
        }
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_reaches_its_place() {
        let config = Bundle::witness("a")
            .namespace("network", NsSource::Path("/proc/1/ns/net".to_owned()))
            .namespace("ipc", NsSource::Inherited)
            .with("/linux/resources/memory/limit", 1024)
            .with("/mounts/-", json!({ "destination": "/x" }))
            .config("/cell/a", Path::new("/cell/socket"));
        assert_eq!(config["linux"]["resources"]["memory"]["limit"], 1024);
        assert_eq!(config["mounts"].as_array().unwrap().last().unwrap()["destination"], "/x");
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.contains(&json!({ "type": "network", "path": "/proc/1/ns/net" })));
        assert!(!namespaces.iter().any(|namespace| namespace["type"] == "ipc"));
        assert_eq!(config["hostname"], "a");
    }
}
