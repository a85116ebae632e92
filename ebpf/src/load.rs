//! Loads and attaches the programs, each on its own, and says for each what became of it.

use std::fmt::Display;
use std::io;
use std::path::Path;

use aya::programs::ProgramError;
use aya::{Btf as AyaBtf, EbpfError, EbpfLoader, Endianness};
use podproof_abi::{MAX_TAGS, MISSING, Mode, Offsets};
use thiserror::Error;

use crate::btf::Btf;
use crate::offsets::KernelLayout;
use crate::probe::{Mechanism, PROBES, Probe, ProbeStatus};
use crate::programs::{Entry, Programs};
use crate::signals::Known;
use crate::tracer::TraceOptions;

/// Where a kernel shows its own types.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
/// Lines of the verifier's log that a reason keeps.
const VERIFIER_LINES: usize = 6;

/// Why no tracer could be started.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The crate was compiled without the BPF object.
    #[error("built without probes; run cargo xtask build")]
    NoProbes,
    /// Numbers of the initial pid namespace would mean other processes here.
    #[error("not in the initial pid namespace ({found}); run it outside of the container")]
    PidNamespace {
        /// What `/proc/self/ns/pid` shows.
        found: String,
    },
    /// A file that the loader needs could not be read.
    #[error("cannot read {path}; the kernel must be built with CONFIG_DEBUG_INFO_BTF")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The kernel's type information makes no sense to the reader.
    #[error("cannot use {path}: {reason}")]
    Layout {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The ring must be a power of two of pages.
    #[error("ring of {bytes} bytes: must be a power of two and at least 4096")]
    RingSize {
        /// What was asked for.
        bytes: u32,
    },
    /// The object or its maps were refused.
    #[error("cannot create the BPF maps; needs root, or CAP_BPF and CAP_PERFMON")]
    Object {
        /// The cause.
        #[source]
        source: Box<EbpfError>,
    },
    /// A program that the evidence cannot do without was refused.
    #[error("required probe {name} is not usable: {reason}")]
    Required {
        /// The program.
        name: String,
        /// Where it failed, with errno and the verifier's last lines.
        reason: String,
        /// What became of each program, by tier.
        probes: Vec<ProbeStatus>,
    },
    /// The descriptor of a program could not be duplicated.
    #[error("cannot duplicate the descriptor of a probe")]
    Duplicate {
        /// The cause.
        source: io::Error,
    },
    /// A program could not be taken off its hook.
    #[error("cannot detach")]
    Detach {
        /// The cause.
        source: crate::programs::AttachError,
    },
    /// The embedded object is not the one that this loader was written for.
    #[error("the BPF object has no {what}; run cargo xtask build")]
    Incomplete {
        /// The map or program.
        what: &'static str,
    },
    /// The reader thread could not be started.
    #[error("cannot start the reader of the event ring")]
    Reader {
        /// The cause.
        source: io::Error,
    },
}

/// Why a program is not attached.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// For people.
    pub(crate) reason: String,
    /// The kernel's error number, where it was the kernel that refused.
    pub(crate) errno: Option<i32>,
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, errno: None }
    }
}

/// Creates the maps, then loads and attaches every program that this kernel, whose types a file has, can run.
pub(crate) fn load(object: &[u8], options: &TraceOptions, btf: &Path) -> Result<Programs, LoadError> {
    load_with(object, options, btf, |_offsets| {})
}

/// The same with a change to the offsets, by which a test sees what a wrong one leads to.
pub(crate) fn load_with(
    object: &[u8],
    options: &TraceOptions,
    btf: &Path,
    change: impl FnOnce(&mut Offsets),
) -> Result<Programs, LoadError> {
    check_pid_namespace()?;
    if !options.ring_bytes.is_power_of_two() || options.ring_bytes < 4096 {
        return Err(LoadError::RingSize { bytes: options.ring_bytes });
    }
    let (path, bytes) = (btf, read_btf(btf)?);
    let btf = Btf::parse(&bytes).map_err(layout_error(path))?;
    let mut layout = KernelLayout::read(&btf).map_err(layout_error(path))?;
    change(&mut layout.offsets);
    let aya_btf = AyaBtf::parse(&bytes, Endianness::default()).map_err(layout_error(path))?;
    let mode = Mode {
        events: options.events.into(),
        counters: options.counters.into(),
        host_mnt_ns: host_mnt_ns(),
        host_pid_ns: INITIAL_PID_NS_INODE,
    };

    let log_level = crate::log::level();
    // Maps of an output that is not wanted have one entry, since a map of none cannot be made.
    let sized = |wanted: bool, size: u32| if wanted { size } else { 1 };
    let ebpf = EbpfLoader::new()
        .btf(Some(&aya_btf))
        .override_global("OFFS", bytemuck::bytes_of(&layout.offsets), true)
        .override_global("MODE", bytemuck::bytes_of(&mode), true)
        // Only programs that can log have it.
        .override_global("AYA_LOG_LEVEL", std::slice::from_ref(&log_level), false)
        .map_max_entries("EVENTS", if options.events { options.ring_bytes } else { 4096 })
        .map_max_entries("COUNTERS", sized(options.counters, options.max_cgroups))
        .map_max_entries("PATHS", sized(options.counters, options.max_cgroups))
        .map_max_entries("ZOMBIES", sized(options.counters, options.max_processes))
        .map_max_entries("ORPHANS", sized(options.counters, options.max_processes))
        .map_max_entries("TAGS", sized(options.events, MAX_TAGS))
        .load(object)
        .map_err(|source| LoadError::Object { source: Box::new(source) })?;

    let known = Known {
        oom_victims: layout.offsets.signal_oom_mm != MISSING,
        subreapers: layout.offsets.signal_is_subreaper_bit != MISSING,
        host_mnt_ns: mode.host_mnt_ns != 0,
    };
    let mut programs = Programs::new(ebpf, *options, known);
    let mut missing = None;
    for probe in PROBES {
        if !probe.serves(options) || (probe.tier == 2 && !options.syscalls) {
            continue;
        }
        // Without releases nobody would end a zombie.
        let is_idle = probe.name == "signal_generate" && !options.events && !programs.has("release_task");
        let entry = if is_idle {
            Entry::idle(probe, "not needed: release_task is not attached")
        } else {
            let attached = usable(probe, &layout, &btf).and_then(|()| programs.attach(probe, &aya_btf));
            attached.unwrap_or_else(|refusal| Entry::refused(probe, refusal))
        };
        if entry.is_missing() {
            missing = missing.or_else(|| Some((probe.name, entry.reason()?.to_owned())));
        }
        tracing::debug!(probe = probe.name, reason = entry.reason(), "probe");
        programs.entries.push(entry);
    }
    match missing {
        Some((name, reason)) => {
            Err(LoadError::Required { name: name.into(), reason, probes: programs.status() })
        }
        None => Ok(programs),
    }
}

/// The kernel's type information.
pub(crate) fn read_btf(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Read { path: path.display().to_string(), source })
}

/// What is wrong with that.
pub(crate) fn layout_error<E: Display>(path: &Path) -> impl Fn(E) -> LoadError {
    move |error| LoadError::Layout { path: path.display().to_string(), reason: error.to_string() }
}

/// Whether the kernel has what the program hooks and reads.
fn usable(probe: &Probe, layout: &KernelLayout, btf: &Btf<'_>) -> Result<(), Refusal> {
    if let Some(missing) = layout.refusal(probe.needs) {
        return Err(missing.to_string().into());
    }
    let kind = if probe.mechanism == Mechanism::TpBtf { "tracepoint" } else { "function" };
    let absent = || Refusal::from(format!("this kernel has no {kind} {}", probe.hook));
    if probe.mechanism == Mechanism::TpBtf {
        return btf.tracepoint(probe.hook).map_err(|error| error.to_string())?.map(drop).ok_or_else(absent);
    }
    let found = btf.n_parameters(probe.hook).map_err(|error| error.to_string())?.ok_or_else(absent)?;
    match probe.n_parameters {
        Some(wanted) if wanted != found => {
            Err(format!("{} has {found} parameters on this kernel, expected {wanted}", probe.hook).into())
        }
        _ => Ok(()),
    }
}

/// Inode of the mount namespace that the machine began with; 0 when it cannot be told.
fn host_mnt_ns() -> u32 {
    let link = std::fs::read_link("/proc/1/ns/mnt").ok();
    let inode = link.as_deref().and_then(|link| link.to_str()?.strip_prefix("mnt:[")?.strip_suffix(']'));
    inode.and_then(|inode| inode.parse().ok()).unwrap_or(0)
}

/// `PROC_PID_INIT_INO`
const INITIAL_PID_NS_INODE: u32 = 0xEFFF_FFFC;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NS: &str = "pid:[4026531836]";

pub(crate) fn check_pid_namespace() -> Result<(), LoadError> {
    let path = "/proc/self/ns/pid";
    let link = std::fs::read_link(path).map_err(|source| LoadError::Read { path: path.into(), source })?;
    if link.as_os_str() == INITIAL_PID_NS {
        Ok(())
    } else {
        Err(LoadError::PidNamespace { found: link.display().to_string() })
    }
}

/// Step, error, and what the verifier said last.
pub(crate) fn refusal(step: &str, error: &ProgramError) -> Refusal {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let says_something = |line: &&str| {
                let is_statistic =
                    ["verification time", "stack depth", "processed"].iter().any(|s| line.starts_with(s));
                !(line.is_empty() || *line == ";" || is_statistic)
            };
            let lines: Vec<&str> = log.lines().map(str::trim).filter(says_something).collect();
            let tail = lines[lines.len().saturating_sub(VERIFIER_LINES)..].join("; ");
            let said = if tail.is_empty() { "the verifier said nothing".into() } else { tail };
            Refusal { reason: format!("{step}: {io_error}: {said}"), errno: io_error.raw_os_error() }
        }
        ProgramError::SyscallError(error) => Refusal {
            reason: format!("{step}: {}: {}", error.call, error.io_error),
            errno: error.io_error.raw_os_error(),
        },
        other => format!("{step}: {other}").into(),
    }
}
