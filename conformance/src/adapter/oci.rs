//! Any OCI runtime by its command line (runtime-spec runtime.md; the flags that runc has made the custom).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::launcher::{Invocation, Launcher, LauncherError, Ran};
use crate::observe::process::boot_ns;

/// Why a runtime cannot be judged at all.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// No such program.
    #[error("runtime {name}: not found in PATH and no file of that name; give the path of an OCI runtime")]
    Unknown {
        /// As given.
        name: String,
    },
    /// It is there but cannot be executed.
    #[error("runtime {}: not executable; chmod +x it, or give another path", path.display())]
    NotExecutable {
        /// Its path.
        path: PathBuf,
    },
    /// It does not answer like an OCI runtime.
    #[error("runtime {}: `--version` {what}; is it an OCI runtime?", path.display())]
    NoVersion {
        /// Its path.
        path: PathBuf,
        /// What came instead.
        what: String,
    },
    /// It could not be asked.
    #[error("runtime {}: cannot be run", path.display())]
    Launch {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: LauncherError,
    },
    /// Its output could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A runtime under test.
#[derive(Debug, Clone)]
pub struct OciRuntime {
    /// Name in reports: first word of its version line, or the file name.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// Its version.
    pub version: String,
    /// Version of the runtime specification that it declares, where it does.
    pub spec: Option<String>,
    /// Variables that it is called with: where its shared libraries are, when they are not the system's.
    pub env: BTreeMap<String, String>,
}

impl OciRuntime {
    /// Finds a runtime by name (in PATH) or path and asks it for its version.
    ///
    /// # Errors
    /// When it is not there, not executable, or does not answer `--version` in time.
    pub fn find(given: &str, scratch: &Path, timeout: Duration) -> Result<Self, SubjectError> {
        let path = locate(given)?;
        let libraries = path
            .parent()
            .and_then(Path::parent)
            .map(|usr| usr.join("lib/x86_64-linux-gnu"))
            .filter(|dir| dir.is_dir() && !dir.starts_with("/usr") && !dir.starts_with("/lib"));
        let env = libraries.map(|dir| ("LD_LIBRARY_PATH".to_owned(), dir.display().to_string()));
        let mut runtime = Self {
            name: path
                .file_name()
                .map_or_else(|| given.to_owned(), |name| name.to_string_lossy().into_owned()),
            path: path.clone(),
            version: String::new(),
            spec: None,
            env: env.into_iter().collect(),
        };
        let text = runtime.ask_version(scratch, timeout)?;
        let mut words = text.lines().next().unwrap_or_default().split_whitespace();
        let (first, last) = (words.next(), words.last());
        match (first, last) {
            (Some(name), Some(version)) => {
                runtime.name = name.trim_end_matches(':').to_owned();
                runtime.version = version.to_owned();
            }
            _ => {
                return Err(SubjectError::NoVersion { path, what: "printed no name and version".to_owned() });
            }
        }
        runtime.spec = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("spec:").map(|version| version.trim().to_owned()));
        Ok(runtime)
    }

    /// Whether it declares an older version of the runtime specification than this; false when it declares none.
    #[must_use]
    pub fn declares_before(&self, version: (u32, u32)) -> bool {
        let declared = self.spec.as_deref().and_then(|spec| {
            let mut numbers = spec.split(['.', '-', '+']).map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        declared.is_some_and(|declared: (u32, u32)| declared < version)
    }

    fn ask_version(&self, scratch: &Path, timeout: Duration) -> Result<String, SubjectError> {
        let path = self.path.clone();
        let launch = |source| SubjectError::Launch { path: path.clone(), source };
        let mut launcher = Launcher::start().map_err(launch)?;
        let invocation = self.invocation(&["--version"], &scratch.join("version"), &Caller::default());
        let (stdout, stderr) = (invocation.stdout.clone(), invocation.stderr.clone());
        let ran = launcher.run(invocation, timeout).map_err(launch)?;
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| SubjectError::Read { path: path.to_owned(), source })
        };
        match ran.status {
            Some(status) if status.success() => read(&stdout),
            Some(status) => {
                let said = last_line(&read(&stderr)?);
                let said = if said.is_empty() { said } else { format!(": {said}") };
                Err(SubjectError::NoVersion { path, what: format!("ended with {status}{said}") })
            }
            None => Err(SubjectError::NoVersion {
                path,
                what: format!("did not end within {:.0} s", timeout.as_secs_f64()),
            }),
        }
    }

    /// A call of the runtime, its output going to files with this prefix.
    #[must_use]
    pub fn invocation(&self, arguments: &[&str], output: &Path, caller: &Caller) -> Invocation {
        let argv = std::iter::once(self.path.display().to_string())
            .chain(arguments.iter().map(|argument| (*argument).to_owned()))
            .collect();
        Invocation {
            argv,
            env: self.env.clone(),
            stdout: output.with_extension("out"),
            stderr: output.with_extension("err"),
            leaked_fds: caller.leaked_fds,
            ambient_caps: caller.ambient_caps.clone(),
            ignored_signals: caller.ignored_signals.clone(),
            cgroup: caller.cgroup.clone(),
        }
    }
}

/// What the runtime inherits from its caller and must not pass on.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Open descriptors beyond 0, 1 and 2.
    pub leaked_fds: u32,
    /// Ambient capabilities.
    pub ambient_caps: Vec<u8>,
    /// Signals that it ignores.
    pub ignored_signals: Vec<i32>,
    /// Directory of the cgroup that it is called in; the cell's for callers by default.
    pub cgroup: Option<PathBuf>,
}

/// One call of a runtime and what came of it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The verb and its arguments, as a person would type them.
    pub line: String,
    /// Exit code; `None` when it was killed at its deadline or by a signal.
    pub code: Option<i32>,
    /// How it ended, in words.
    pub ended: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// `CLOCK_BOOTTIME` when it was started.
    pub started_ns: u64,
    /// `CLOCK_BOOTTIME` when it had ended.
    pub ended_ns: u64,
}

impl Call {
    /// Whether it returned 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Whether it ended by itself and told an error: a crash or a hang is no answer.
    #[must_use]
    pub fn refused(&self) -> bool {
        self.code.is_some_and(|code| code != 0)
    }

    /// The call, how it ended and its last words.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("`{}` {}", self.line, self.end())
    }

    /// How it ended and its last words.
    #[must_use]
    pub fn end(&self) -> String {
        let said = last_line(&self.stderr);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        format!("{}{said}", self.ended)
    }
}

/// Runs one call to its end.
///
/// # Errors
/// When the launcher fails; a runtime that fails is a result, not an error.
pub fn call(
    launcher: &mut Launcher,
    runtime: &OciRuntime,
    arguments: &[&str],
    output: &Path,
    caller: &Caller,
    timeout: Duration,
) -> Result<Call, LauncherError> {
    let invocation = runtime.invocation(arguments, output, caller);
    let outputs = (invocation.stdout.clone(), invocation.stderr.clone());
    let started_ns = boot_ns();
    let ran = launcher.run(invocation, timeout)?;
    Ok(ended_call(runtime, arguments, ran, &outputs, started_ns, timeout))
}

/// Runs several calls at once, each with its output at its own place.
///
/// # Errors
/// As [`call`].
pub fn call_all(
    launcher: &mut Launcher,
    runtime: &OciRuntime,
    calls: &[(Vec<String>, PathBuf)],
    caller: &Caller,
    timeout: Duration,
) -> Result<Vec<Call>, LauncherError> {
    let invocations: Vec<Invocation> = calls
        .iter()
        .map(|(arguments, output)| runtime.invocation(&words(arguments), output, caller))
        .collect();
    let outputs: Vec<_> = invocations.iter().map(|one| (one.stdout.clone(), one.stderr.clone())).collect();
    let started_ns = boot_ns();
    let ran = launcher.run_all(invocations, timeout)?;
    let ended = calls.iter().zip(ran).zip(&outputs).map(|(((arguments, _), ran), outputs)| {
        ended_call(runtime, &words(arguments), ran, outputs, started_ns, timeout)
    });
    Ok(ended.collect())
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn ended_call(
    runtime: &OciRuntime,
    arguments: &[&str],
    ran: Ran,
    (stdout, stderr): &(PathBuf, PathBuf),
    started_ns: u64,
    timeout: Duration,
) -> Call {
    let ended_ns = boot_ns();
    let read = |path: &Path| {
        fs::read(path).map_or_else(|_| String::new(), |text| String::from_utf8_lossy(&text).into_owned())
    };
    let ended = match ran.status {
        None => format!("did not end within {:.0} s and was killed", timeout.as_secs_f64()),
        Some(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => status.to_string(),
        },
    };
    Call {
        line: format!("{} {}", runtime.name, verb(arguments)),
        code: ran.status.and_then(|status| status.code()),
        ended,
        stdout: read(stdout),
        stderr: read(stderr),
        started_ns,
        ended_ns,
    }
}

/// The part of the arguments that starts at the verb.
fn verb(arguments: &[&str]) -> String {
    match arguments {
        ["--root", _, rest @ ..] => rest.join(" "),
        ["pod", "--root", _, rest @ ..] => format!("pod {}", rest.join(" ")),
        other => other.join(" "),
    }
}

/// `state` of a container (runtime-spec runtime.md#state).
#[derive(Debug, Clone, Deserialize)]
pub struct State {
    /// Its id.
    pub id: String,
    /// `creating`, `created`, `running` or `stopped`.
    pub status: String,
    /// Process id on the node; 0 or absent when stopped.
    #[serde(default)]
    pub pid: i32,
}

fn locate(given: &str) -> Result<PathBuf, SubjectError> {
    let is_program = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if given.contains('/') {
        let path =
            fs::canonicalize(given).map_err(|_missing| SubjectError::Unknown { name: given.to_owned() })?;
        // The name that it was called by may be its meaning (argv[0]), so a link stays a link.
        let named = std::path::absolute(given).unwrap_or_else(|_| path.clone());
        return if is_program(&path) { Ok(named) } else { Err(SubjectError::NotExecutable { path: named }) };
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|dir| dir.join(given))
        .find(|path| is_program(path))
        .ok_or_else(|| SubjectError::Unknown { name: given.to_owned() })
}

/// The last line that says something; of a logfmt line (runc's) only its message.
pub(crate) fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match line.split_once(" msg=\"") {
        Some((_, message)) => message.trim_end_matches('"').replace("\\\"", "\""),
        None => line.to_owned(),
    }
}
