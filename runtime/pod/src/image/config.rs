//! How an image's program is started by default (image-spec, "Image Configuration").

use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use super::error::ImageError;

/// The defaults of an image; empty for a root file system without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The program with its first arguments. With [`ImageConfig::cmd`] after it, it is the command line.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the whole command line where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute.
    pub working_dir: Option<PathBuf>,
    /// `user`, `uid`, `user:group` or `uid:gid`, for [`crate::image::resolve_user`].
    pub user: Option<String>,
    /// Name of a signal (`SIGQUIT`, `SIGRTMIN+3`) or its number.
    pub stop_signal: Option<String>,
}

impl ImageConfig {
    /// Takes what concerns the program from a configuration.
    ///
    /// # Errors
    /// A value that a program cannot be started with.
    pub(super) fn parse(image: &Path, document: &ImageConfiguration) -> Result<Self, ImageError> {
        let Some(config) = document.config() else { return Ok(Self::default()) };
        let invalid = |field, reason: String| ImageError::Config { image: image.to_owned(), field, reason };
        let list = |field, values: &Option<Vec<String>>| {
            let values = values.clone().unwrap_or_default();
            match values.iter().find(|value| value.contains('\0')) {
                Some(value) => Err(invalid(field, format!("{value:?} contains a NUL"))),
                None => Ok(values),
            }
        };
        let text = |field, value: &Option<String>| match value.as_deref() {
            None | Some("") => Ok(None),
            Some(value) if value.contains('\0') => Err(invalid(field, format!("{value:?} contains a NUL"))),
            Some(value) => Ok(Some(value.to_owned())),
        };
        let variable = |variable: &String| match variable.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(invalid("Env", format!("{variable:?} is not of the form NAME=VALUE"))),
        };
        Ok(Self {
            entrypoint: list("Entrypoint", config.entrypoint())?,
            cmd: list("Cmd", config.cmd())?,
            env: list("Env", config.env())?.iter().map(variable).collect::<Result<_, _>>()?,
            // Docker makes it absolute when it builds an image; others leave it as it was written.
            working_dir: text("WorkingDir", config.working_dir())?.map(|path| Path::new("/").join(path)),
            user: text("User", config.user())?,
            stop_signal: text("StopSignal", config.stop_signal())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(config: &str) -> Result<ImageConfig, ImageError> {
        let document = format!(
            r#"{{"architecture": "amd64", "os": "linux", "rootfs": {{"type": "layers", "diff_ids": []}} {config}}}"#
        );
        ImageConfig::parse(Path::new("/image"), &serde_json::from_str(&document).unwrap())
    }

    #[test]
    fn defaults_are_taken_as_they_are() {
        assert_eq!(parsed("").unwrap(), ImageConfig::default());
        let config = parsed(
            r#", "config": {"Entrypoint": ["/bin/sh", "-c"], "Cmd": null, "Env": ["PATH=/bin", "A=b=c", "E="], "WorkingDir":
            "srv", "User": "", "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": []}}"#,
        );
        let config = config.unwrap();
        assert_eq!((config.entrypoint.len(), config.cmd.len(), config.user), (2, 0, None));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(config.env, [pair("PATH", "/bin"), pair("A", "b=c"), pair("E", "")]);
        assert_eq!(config.working_dir.as_deref(), Some(Path::new("/srv")));
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
    }

    #[test]
    fn what_no_program_can_have_is_named() {
        for (config, wanted) in [
            (r#"{"Env": ["A"]}"#, r#"Env of its configuration: "A" is not of the form NAME=VALUE"#),
            (r#"{"Env": ["=b"]}"#, "NAME=VALUE"),
            (r#"{"Cmd": ["a\u0000b"]}"#, r#"Cmd of its configuration: "a\0b" contains a NUL"#),
            (r#"{"WorkingDir": "/\u0000"}"#, "WorkingDir"),
        ] {
            let error = parsed(&format!(r#", "config": {config}"#)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
