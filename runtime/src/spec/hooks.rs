//! `hooks`: programs that are run at six moments in the life of a container (config.md, POSIX-platform hooks).

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::num::NonZeroU64;

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use super::SpecError;
use super::mounts::absolute;

/// When a hook is run, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookKind {
    /// By `create`, before [`HookKind::CreateRuntime`], in the runtime's namespaces.
    Prestart,
    /// By `create`, once the mounts are made and before the root changes, in the runtime's namespaces.
    CreateRuntime,
    /// By `create`, next, in the container's namespaces; its path is the runtime's.
    CreateContainer,
    /// By `start`, before the program is executed, in the container's namespaces and root.
    StartContainer,
    /// By `start`, once the program is executed, in the runtime's namespaces.
    Poststart,
    /// By `delete`, once the container is destroyed, in the runtime's namespaces.
    Poststop,
}

impl HookKind {
    /// All kinds, in the order in which they are run.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// The name of the list in `hooks`.
    #[must_use]
    pub fn oci_name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookSpec {
    /// Kind, for messages.
    pub kind: HookKind,
    /// Position in its list, for messages.
    pub index: usize,
    /// Program, absolute.
    pub path: CString,
    /// Arguments, the program's name included.
    pub args: Vec<CString>,
    /// Environment, complete.
    pub env: Vec<CString>,
    /// Seconds until it is killed.
    pub timeout_s: Option<NonZeroU64>,
}

impl fmt::Display for HookSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hooks.{}[{}] {}", self.kind.oci_name(), self.index, self.path.to_string_lossy())
    }
}

/// The lists of hooks; each is run in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hooks(BTreeMap<HookKind, Vec<HookSpec>>);

impl Hooks {
    /// The hooks of a kind.
    #[must_use]
    pub fn of(&self, kind: HookKind) -> &[HookSpec] {
        self.0.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// These kinds alone.
    #[must_use]
    pub fn only(&self, kinds: &[HookKind]) -> Self {
        Self(self.0.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(k, l)| (*k, l.clone())).collect())
    }
}

/// Reads `hooks`.
///
/// # Errors
/// A path that is not absolute, a timeout of nothing, a NUL.
pub(super) fn read(hooks: Option<&oci::Hooks>) -> Result<Hooks, SpecError> {
    let Some(hooks) = hooks else { return Ok(Hooks::default()) };
    let mut lists = BTreeMap::new();
    for kind in HookKind::ALL {
        let list = match kind {
            HookKind::Prestart => hooks.prestart(),
            HookKind::CreateRuntime => hooks.create_runtime(),
            HookKind::CreateContainer => hooks.create_container(),
            HookKind::StartContainer => hooks.start_container(),
            HookKind::Poststart => hooks.poststart(),
            HookKind::Poststop => hooks.poststop(),
        };
        let read = |(index, hook)| read_one(kind, index, hook);
        let list: Vec<HookSpec> = list.iter().flatten().enumerate().map(read).collect::<Result<_, _>>()?;
        if !list.is_empty() {
            lists.insert(kind, list);
        }
    }
    Ok(Hooks(lists))
}

fn read_one(kind: HookKind, index: usize, hook: &oci::Hook) -> Result<HookSpec, SpecError> {
    let field = |name: &str| format!("hooks.{}[{index}].{name}", kind.oci_name());
    let text = |name: &str, text: &str| {
        CString::new(text).map_err(|_nul| SpecError::invalid(field(name), "has a NUL in it"))
    };
    let texts = |name: &str, list: &Option<Vec<String>>| {
        list.iter().flatten().map(|entry| text(name, entry)).collect::<Result<Vec<_>, _>>()
    };
    let path = absolute(&field("path"), hook.path())?;
    let path = text("path", &path.to_string_lossy())?;
    let mut args = texts("args", hook.args())?;
    if args.is_empty() {
        args.push(path.clone());
    }
    let timeout_s = match hook.timeout() {
        None => None,
        Some(seconds) => {
            let positive = u64::try_from(seconds).ok().and_then(NonZeroU64::new);
            let error =
                || SpecError::invalid(field("timeout"), format!("{seconds} is not above 0 (in seconds)"));
            Some(positive.ok_or_else(error)?)
        }
    };
    Ok(HookSpec { kind, index, path, args, env: texts("env", hook.env())?, timeout_s })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(json: &str) -> Result<Hooks, SpecError> {
        read(Some(&serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn lists_keep_their_order_and_the_environment_is_never_the_callers() {
        let read = hooks(
            r#"{"prestart": [{"path": "/a"}, {"path": "/b", "args": ["x", "y"], "env": ["E=1"], "timeout": 3}],
                "poststop": [{"path": "/c"}]}"#,
        )
        .unwrap();
        let list = read.of(HookKind::Prestart);
        assert_eq!(list[0].args, [c"/a".to_owned()]);
        assert!(list[0].env.is_empty());
        assert_eq!(list[1].args, [c"x".to_owned(), c"y".to_owned()]);
        assert_eq!(list[1].timeout_s.unwrap().get(), 3);
        assert_eq!(list[1].to_string(), "hooks.prestart[1] /b");
        assert!(read.of(HookKind::Poststart).is_empty());
        assert!(read.only(&[HookKind::Poststop]).of(HookKind::Prestart).is_empty());
    }

    #[test]
    fn the_state_file_gives_them_back() {
        let read = hooks(r#"{"poststop": [{"path": "/c", "env": ["A=\u00e4"], "timeout": 1}]}"#).unwrap();
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Hooks>(&text).unwrap(), read);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        for (json, text) in [
            (r#"{"poststart": [{"path": "x"}]}"#, "hooks.poststart[0].path: x is not an absolute path"),
            (r#"{"prestart": [{"path": "/x", "timeout": 0}]}"#, "hooks.prestart[0].timeout: 0 is not above"),
            (r#"{"prestart": [{"path": "/x", "timeout": -1}]}"#, "hooks.prestart[0].timeout: -1"),
            (r#"{"createRuntime": [{"path": "/x", "env": ["a\u0000"]}]}"#, "hooks.createRuntime[0].env: has"),
        ] {
            let message = hooks(json).unwrap_err().to_string();
            assert!(message.starts_with(text), "{message}");
        }
    }
}
