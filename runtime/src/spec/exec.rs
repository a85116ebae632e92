//! The process of an `exec`: that of the container, or one of a file, with what the command line says on top.

use oci_spec::runtime as oci;
use serde_json::{Value, json};

use super::{ProcessSpec, SpecError, capabilities, config, process, unsupported};

/// What the command line says. Absent values leave the process as it is.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Program and arguments; none when empty.
    pub args: Vec<String>,
    /// Working directory.
    pub cwd: Option<String>,
    /// `NAME=value`, each in the place of an entry with the same name.
    pub env: Vec<String>,
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Supplementary groups to add.
    pub additional_gids: Vec<u32>,
    /// Capabilities to add, as `CAP_NAME`.
    pub capabilities: Vec<String>,
    /// Set `no_new_privs`; never takes it away.
    pub no_new_privileges: bool,
    /// AppArmor profile.
    pub apparmor_profile: Option<String>,
    /// With a terminal. One of the container's own process says nothing about another.
    pub has_terminal: bool,
}

/// Makes the process from the container's configuration, or from the text of a `process` object in `file`; with remarks for
/// the user.
///
/// # Errors
/// The field that is wrong, missing or unsupported, by its path in `config.json`.
pub fn process(
    document: &str,
    file: Option<&str>,
    overrides: &Overrides,
) -> Result<(ProcessSpec, Vec<String>), SpecError> {
    let syntax = |source| SpecError::Syntax { path: "process".to_owned(), source };
    let mut value: Value = match file {
        Some(text) => serde_json::from_str(text).map_err(syntax)?,
        None => {
            let mut config: Value = serde_json::from_str(document).map_err(syntax)?;
            let mut process = config["process"].take();
            // Who starts the exec has the window.
            if let Some(process) = process.as_object_mut() {
                process.remove("terminal");
                process.remove("consoleSize");
                process.remove("args");
            }
            process
        }
    };
    if !value.is_object() {
        return Err(SpecError::invalid("process", "is not an object"));
    }
    let unknown = capabilities::take_unknown(&mut value);
    apply(&mut value, overrides);
    let whole = json!({ "process": value });
    unsupported::check(&whole)?;
    let (process, mut warnings) = config::typed::<Document>(&whole.to_string())?;
    warnings.splice(0..0, unknown);
    Ok((process::read(&process.process)?, warnings))
}

#[derive(serde::Deserialize)]
struct Document {
    process: oci::Process,
}

fn apply(process: &mut Value, overrides: &Overrides) {
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            process[field] = value;
        }
    };
    set("args", (!overrides.args.is_empty()).then(|| json!(overrides.args)));
    set("cwd", overrides.cwd.as_ref().map(|cwd| json!(cwd)));
    set("apparmorProfile", overrides.apparmor_profile.as_ref().map(|name| json!(name)));
    set("noNewPrivileges", overrides.no_new_privileges.then_some(json!(true)));
    set("terminal", overrides.has_terminal.then_some(json!(true)));
    if !process["user"].is_object() {
        process["user"] = json!({"uid": 0, "gid": 0});
    }
    if let Some(uid) = overrides.uid {
        process["user"]["uid"] = json!(uid);
    }
    if let Some(gid) = overrides.gid {
        process["user"]["gid"] = json!(gid);
    }
    let groups = &mut process["user"]["additionalGids"];
    overrides.additional_gids.iter().for_each(|gid| add(groups, json!(gid)));
    for entry in &overrides.env {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        if let Some(env) = process["env"].as_array_mut() {
            env.retain(|old| old.as_str().and_then(|old| old.split_once('=')).is_none_or(|(n, _)| n != name));
        }
        add(&mut process["env"], json!(entry));
    }
    for name in &overrides.capabilities {
        if !process["capabilities"].is_object() {
            process["capabilities"] = json!({});
        }
        let sets = &mut process["capabilities"];
        for set in ["bounding", "effective", "permitted"] {
            add(&mut sets[set], json!(name));
        }
        // Without being inheritable none can be ambient.
        if sets["inheritable"].as_array().is_some_and(|set| set.contains(&json!(name))) {
            add(&mut sets["ambient"], json!(name));
        }
    }
}

/// Adds a member to a list, which may be missing yet.
fn add(list: &mut Value, member: Value) {
    if !list.is_array() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut()
        && !list.contains(&member)
    {
        list.push(member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"process": {"terminal": true, "consoleSize": {"height": 1, "width": 2},
        "user": {"uid": 7, "gid": 8, "additionalGids": [1]}, "args": ["serve"], "env": ["PATH=/bin", "A=1"],
        "cwd": "/srv", "noNewPrivileges": true, "capabilities": {"inheritable": ["CAP_KILL"]}}}"#;

    fn with(overrides: &Overrides) -> ProcessSpec {
        process(DOCUMENT, None, overrides).unwrap().0
    }

    fn texts(list: &[std::ffi::CString]) -> Vec<&str> {
        list.iter().map(|text| text.to_str().unwrap()).collect()
    }

    #[test]
    fn the_container_gives_what_the_command_line_does_not() {
        let process = with(&Overrides { args: vec!["ls".into()], ..Overrides::default() });
        assert_eq!(texts(&process.args), ["ls"]);
        assert_eq!(texts(&process.env), ["PATH=/bin", "A=1"]);
        assert_eq!((process.uid, process.gid, process.additional_gids), (7, 8, vec![1]));
        assert!(process.no_new_privileges && !process.has_terminal && process.console_size.is_none());
    }

    #[test]
    fn the_command_line_adds_and_replaces() {
        let process = with(&Overrides {
            args: vec!["ls".into()],
            cwd: Some("/tmp".into()),
            env: vec!["A=2".into(), "B=".into()],
            uid: Some(1),
            additional_gids: vec![1, 2],
            capabilities: vec!["CAP_KILL".into(), "CAP_CHOWN".into()],
            has_terminal: true,
            ..Overrides::default()
        });
        assert_eq!(texts(&process.env), ["PATH=/bin", "A=2", "B="]);
        assert_eq!((process.uid, process.gid, process.additional_gids), (1, 8, vec![1, 2]));
        assert_eq!(process.capabilities.permitted.0, 1 << 5 | 1);
        assert_eq!(process.capabilities.ambient.0, 1 << 5);
        assert!(process.has_terminal);
    }

    #[test]
    fn a_file_is_taken_whole() {
        let file = r#"{"args": ["x"], "cwd": "/", "user": {"uid": 3, "gid": 3}, "terminal": true, "new": 1}"#;
        let (process, warnings) = process(DOCUMENT, Some(file), &Overrides::default()).unwrap();
        assert_eq!((process.uid, process.env.len()), (3, 0));
        assert!(process.has_terminal && !process.no_new_privileges);
        assert_eq!(warnings, ["process.new: unknown property, ignored"]);
    }

    #[test]
    fn errors_name_the_field() {
        let refused = |file: Option<&str>, overrides: Overrides| {
            process(DOCUMENT, file, &overrides).unwrap_err().to_string()
        };
        let ls = || Overrides { args: vec!["ls".into()], ..Overrides::default() };
        for (text, message) in [
            (refused(None, Overrides::default()), "process.args: required"),
            (refused(None, Overrides { cwd: Some("x".into()), ..ls() }), "process.cwd: x is not an absolute"),
            (
                refused(None, Overrides { env: vec!["x".into()], ..ls() }),
                "process.env[2]: is not of the form",
            ),
            (refused(None, Overrides { capabilities: vec!["CAP_X".into()], ..ls() }), "process.capabilities"),
            (refused(Some("[]"), ls()), "process: is not an object"),
            (refused(Some(r#"{"selinuxLabel": "x"}"#), ls()), "process.selinuxLabel: not supported"),
        ] {
            assert!(text.starts_with(message), "{text}");
        }
    }
}
