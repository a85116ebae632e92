//! Messages: to stderr for people, and to the `--log` file for engines.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use clap::ValueEnum;

use crate::state::time;

/// How lines of the log file look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `time="..." level=... msg="..."`
    #[default]
    Text,
    /// One object per line with `level`, `msg` and `time`.
    Json,
}

/// Writes what is wrong with the command line to the log file that it names: an engine that finds none has nothing to tell.
pub(super) fn usage_error(error: &clap::Error, args: impl Iterator<Item = OsString>) {
    let args: Vec<OsString> = args.skip(1).collect();
    let value = |flag: &str| {
        args.iter().enumerate().find_map(|(index, arg)| match arg.to_str() {
            Some(arg) if arg == flag => args.get(index + 1).cloned(),
            Some(arg) => arg.strip_prefix(flag)?.strip_prefix('=').map(OsString::from),
            None => None,
        })
    };
    let Some(path) = value("--log") else { return };
    let is_json = value("--log-format").is_some_and(|format| format == "json");
    let format = if is_json { LogFormat::Json } else { LogFormat::Text };
    // Standard error has it already.
    let Ok(log) = Log::open(Some(Path::new(&path)), format, false) else { return };
    let text = error.to_string();
    log.line("error", text.lines().next().unwrap_or_default().trim_start_matches("error: "));
}

/// Where messages go.
#[derive(Debug, Default)]
pub struct Log {
    file: Option<File>,
    format: LogFormat,
    is_debug: bool,
}

impl Log {
    /// Opens the log.
    ///
    /// # Errors
    /// Why the file cannot be written.
    pub fn open(path: Option<&Path>, format: LogFormat, is_debug: bool) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .with_context(|| format!("open the log file {}", path.display()))
        };
        Ok(Self { file: path.map(open).transpose()?, format, is_debug })
    }

    /// The command failed.
    pub fn error(&self, error: &anyhow::Error) {
        let mut text = String::new();
        for cause in error.chain() {
            let separator = if text.is_empty() { "" } else { ": " };
            // Writing to a string cannot fail.
            if write!(text, "{separator}{cause}").is_err() {}
        }
        self.line("error", &text);
        self.on_stderr(&text);
    }

    /// Something is not as asked.
    pub fn warning(&self, text: &str) {
        self.line("warning", text);
        self.on_stderr(&format!("warning: {text}"));
    }

    /// Several things are not as asked.
    pub fn warn_each(&self, warnings: Vec<String>) {
        warnings.iter().for_each(|text| self.warning(text));
    }

    /// What is going to be done.
    pub fn debug(&self, text: &str) {
        if self.is_debug {
            self.line("debug", text);
            if self.file.is_none() {
                self.on_stderr(text);
            }
        }
    }

    fn on_stderr(&self, text: &str) {
        // When stderr is closed there is nobody to tell.
        if writeln!(std::io::stderr(), "podrt: {text}").is_err() {}
    }

    fn line(&self, level: &str, text: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let now = time::rfc3339(SystemTime::now());
        let line = match self.format {
            LogFormat::Text => format!("time=\"{now}\" level={level} msg={text:?}\n"),
            LogFormat::Json => {
                format!("{}\n", serde_json::json!({"level": level, "msg": text, "time": now}))
            }
        };
        // The message is on stderr too; a full disk must not change the outcome.
        if file.write_all(line.as_bytes()).is_err() {}
    }
}
