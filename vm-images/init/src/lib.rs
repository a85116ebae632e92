//! What the host and the guest's PID 1 say to each other: the configuration inside the image, the records
//! from guest to host, and the messages from host to guest.
//!
//! Records and messages are JSON objects, one a line, on the virtio-serial port [`CONTROL_PORT`]. Every
//! record has a sequence number that grows by one, so a lost record is visible; a last line without its
//! newline is torn and is dropped. The port [`RECORDS_PORT`] belongs to the command alone: its bytes are
//! not looked at here.
//!
//! ```text
//! guest                          host
//!   hello (kernel, boot id)  ->    measures the time to here
//!                            <-  go (deadline factor)
//!   start (pid)              ->
//!   out, beat ...            ->
//!                            <-  resize (only with a console)
//!   exit (code or signal)    ->    the machine then ends through isa-debug-exit
//! ```

use serde::{Deserialize, Serialize};

/// Version of this conversation. The host refuses a guest that speaks another one.
pub const PROTOCOL: u32 = 1;

/// Virtio-serial port of PID 1.
pub const CONTROL_PORT: &str = "podproof.control";

/// Virtio-serial port that the command may open and write lines to.
pub const RECORDS_PORT: &str = "podproof.records";

/// Directory in the guest with one link per named virtio-serial port.
pub const PORTS_DIR: &str = "/dev/virtio-ports";

/// Where the image holds the [`InitConfig`].
pub const CONFIG_PATH: &str = "/podproof/init.json";

/// Where the image holds the kernel modules of [`InitConfig::modules`].
pub const MODULES_DIR: &str = "/podproof/modules";

/// I/O port of QEMU's `isa-debug-exit`; QEMU then ends with `(value << 1) | 1`.
pub const DEBUG_EXIT_PORT: u16 = 0xf4;

/// Value written to [`DEBUG_EXIT_PORT`] when PID 1 itself failed before it could say hello.
pub const INIT_FAILED: u8 = 0x7d;

/// Environment variable of the command: by how much slower this machine is than the one that the
/// deadlines were chosen on (a decimal number, at least 1).
pub const DEADLINE_FACTOR_ENV: &str = "PODPROOF_DEADLINE_FACTOR";

/// What PID 1 does, in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitConfig {
    /// Files below [`MODULES_DIR`], in the order in which they are loaded.
    pub modules: Vec<String>,
    /// Block device with an erofs image that is the root file system, below an overlay for what is written; without one
    /// the root is a tmpfs. The files of the initial ramfs are laid over it.
    #[serde(default)]
    pub root_device: Option<String>,
    /// Name of the machine.
    pub hostname: String,
    /// Mounts besides the fixed ones (proc, sys, dev, run, tmp, cgroup2, bpf, tracefs, debugfs).
    pub mounts: Vec<MountSpec>,
    /// Names of the ports that must be there before hello.
    pub ports: Vec<String>,
    /// Program that PID 1 becomes before the command is started, such as systemd.
    #[serde(default)]
    pub service_manager: Option<String>,
    /// The command and its arguments; a name without a slash is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Its environment, on top of `PATH` and `HOME`.
    pub env: Vec<(String, String)>,
    /// Working directory; `/` when empty.
    pub cwd: String,
    /// Gives the command `/dev/hvc0` as its controlling terminal; its output is then not captured.
    pub console: Option<WindowSize>,
}

/// One call of mount(2). The target is created as a directory when it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Device, or any name for a filesystem without one.
    pub source: String,
    /// Absolute path in the guest.
    pub target: String,
    /// Filesystem type.
    pub fstype: String,
    /// Comma-separated options of the filesystem.
    #[serde(default)]
    pub options: String,
    /// Mounts read-only.
    #[serde(default)]
    pub read_only: bool,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// One line from the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Position, from 0 without gaps.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub kind: RecordKind,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum RecordKind {
    /// PID 1 is ready to start the command.
    Hello {
        /// [`PROTOCOL`] of the guest.
        protocol: u32,
        /// `uname -r`.
        kernel: String,
        /// `/proc/sys/kernel/random/boot_id`.
        boot_id: String,
        /// Controllers enabled below the root of the cgroup hierarchy.
        controllers: Vec<String>,
        /// Optional steps that this kernel refused, in words.
        degraded: Vec<String>,
    },
    /// The command runs.
    Start {
        /// Its process number.
        pid: i32,
    },
    /// The command could not be executed.
    Refused {
        /// What was tried.
        program: String,
        /// errno of execve(2), 0 when there is none.
        errno: i32,
    },
    /// Bytes that the command wrote.
    Out {
        /// To which of its streams.
        stream: Stream,
        /// The bytes.
        #[serde(flatten)]
        bytes: Bytes,
    },
    /// Once a second: PID 1 is scheduled and its port works.
    Beat {
        /// Seconds since the kernel started.
        uptime_s: u64,
    },
    /// The command ended; the last record.
    Exit {
        /// Its exit code, unless a signal ended it.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
}

/// An output stream of the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Bytes inside JSON: as they are when they are UTF-8, else in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bytes {
    /// Valid UTF-8.
    Text(String),
    /// Two lower-case digits a byte.
    Hex(String),
}

impl Bytes {
    /// Wraps bytes without loss.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
                Self::Hex(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect())
            }
        }
    }

    /// The bytes again; `None` when the hexadecimal form is damaged.
    #[must_use]
    pub fn decode(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Hex(digits) => {
                let digits = digits.as_bytes();
                if !digits.len().is_multiple_of(2) {
                    return None;
                }
                digits
                    .chunks_exact(2)
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                    .collect()
            }
        }
    }
}

/// One line from the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Message {
    /// Start the command.
    Go {
        /// Value of [`DEADLINE_FACTOR_ENV`].
        deadline_factor: f64,
    },
    /// The terminal on the host has another size.
    Resize(WindowSize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_json() {
        for bytes in [&b"plain\n"[..], b"\xff\x00\x80", b"", "\u{e9}\u{1f600}".as_bytes(), b"\0\x1b[0m"] {
            let record =
                Record { seq: 7, kind: RecordKind::Out { stream: Stream::Stderr, bytes: Bytes::new(bytes) } };
            let line = serde_json::to_string(&record).unwrap();
            assert!(!line.contains('\n'), "{line}");
            let back: Record = serde_json::from_str(&line).unwrap();
            assert_eq!(back, record);
            let RecordKind::Out { bytes: back, .. } = back.kind else { panic!("{line}") };
            assert_eq!(back.decode().unwrap(), bytes);
        }
    }

    #[test]
    fn damaged_hexadecimal_is_refused() {
        assert_eq!(Bytes::Hex("0".into()).decode(), None);
        assert_eq!(Bytes::Hex("0g".into()).decode(), None);
    }

    #[test]
    fn messages_have_a_stable_form() {
        let go = serde_json::to_string(&Message::Go { deadline_factor: 1.5 }).unwrap();
        assert_eq!(go, r#"{"message":"go","deadline_factor":1.5}"#);
        let resize = serde_json::to_string(&Message::Resize(WindowSize { rows: 24, columns: 80 })).unwrap();
        assert_eq!(resize, r#"{"message":"resize","rows":24,"columns":80}"#);
    }
}
