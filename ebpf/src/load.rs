//! Loads and attaches the programs, each on its own, and says for each what became of it.

use std::io;

use aya::programs::{Program, ProgramError, ProgramFd};
use aya::{Btf as AyaBtf, Ebpf, EbpfError, EbpfLoader};
use podproof_abi::need;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::btf::{Btf, BtfError};
use crate::missed::Missed;
use crate::offsets::KernelLayout;
use crate::tracer::TraceOptions;

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
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
    #[error("cannot use {KERNEL_BTF}: {reason}")]
    Layout {
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
    #[error("cannot create the BPF maps; needs root with CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE")]
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

/// What became of one program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// The hook.
    pub name: String,
    /// 1 BTF tracepoints, 2 system calls, 3 fentry.
    pub tier: u8,
    /// `tp_btf` or `fentry`.
    pub mechanism: String,
    /// Without it no tracer starts.
    pub required: bool,
    /// It runs.
    pub attached: bool,
    /// Why it does not.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    TpBtf,
    Fentry,
}

struct Probe {
    name: &'static str,
    tier: u8,
    mechanism: Mechanism,
    required: bool,
    needs: u32,
}

const fn tracepoint(name: &'static str, tier: u8, required: bool, needs: u32) -> Probe {
    Probe { name, tier, mechanism: Mechanism::TpBtf, required, needs: needs | need::TASK }
}

/// All programs, in the order in which they are attached: the ends of a life before its beginnings, so that no task
/// is seen to begin whose end would be missed.
const PROBES: &[Probe] = &[
    tracepoint("sched_process_free", 1, true, 0),
    tracepoint("sched_process_exit", 1, true, need::EXIT),
    tracepoint("signal_generate", 1, true, need::SIGNAL),
    tracepoint("signal_deliver", 1, true, need::SIGNAL),
    tracepoint("sched_process_exec", 1, true, need::EXEC),
    tracepoint("mark_victim", 1, false, 0),
    tracepoint("cgroup_rmdir", 1, false, need::CGROUP),
    tracepoint("cgroup_attach_task", 1, false, need::CGROUP),
    tracepoint("cgroup_mkdir", 1, false, need::CGROUP),
    tracepoint("sys_exit", 2, true, need::SYSCALL),
    tracepoint("sys_enter", 2, true, need::SYSCALL),
    Probe { name: "release_task", tier: 3, mechanism: Mechanism::Fentry, required: false, needs: need::TASK },
    tracepoint("task_newtask", 1, true, 0),
];

/// The loaded object and the fate of its programs.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) ebpf: Ebpf,
    pub(crate) probes: Vec<ProbeStatus>,
    pub(crate) missed: Missed,
}

/// Creates the maps, then loads and attaches every program that this kernel can run.
pub(crate) fn load(object: &[u8], options: &TraceOptions) -> Result<Loaded, LoadError> {
    check_pid_namespace()?;
    if !options.ring_bytes.is_power_of_two() || options.ring_bytes < 4096 {
        return Err(LoadError::RingSize { bytes: options.ring_bytes });
    }
    let bytes =
        std::fs::read(KERNEL_BTF).map_err(|source| LoadError::Read { path: KERNEL_BTF.into(), source })?;
    let layout_error = |error: BtfError| LoadError::Layout { reason: error.to_string() };
    let btf = Btf::parse(&bytes).map_err(layout_error)?;
    let layout = KernelLayout::read(&btf).map_err(layout_error)?;
    let aya_btf = AyaBtf::from_sys_fs().map_err(|error| LoadError::Layout { reason: error.to_string() })?;

    let mut ebpf = EbpfLoader::new()
        .btf(Some(&aya_btf))
        .override_global("OFFS", bytemuck::bytes_of(&layout.offsets), true)
        .map_max_entries("EVENTS", options.ring_bytes)
        .load(object)
        .map_err(|source| LoadError::Object { source: Box::new(source) })?;

    let mut probes = vec![];
    let mut attached = vec![];
    for probe in PROBES.iter().filter(|probe| probe.tier != 2 || options.syscalls) {
        let reason = if let Some(missing) = layout.refusal(probe.needs) {
            Some(missing.to_string())
        } else if probe.mechanism == Mechanism::TpBtf
            && btf.tracepoint(probe.name).map_err(layout_error)?.is_none()
        {
            Some(format!("this kernel has no tracepoint {}", probe.name))
        } else {
            match attach(&mut ebpf, probe, &aya_btf) {
                Ok(program) => {
                    attached.push(program);
                    None
                }
                Err(reason) => Some(reason),
            }
        };
        if let (true, Some(reason)) = (probe.required, &reason) {
            return Err(LoadError::Required { name: probe.name.into(), reason: reason.clone() });
        }
        tracing::debug!(probe = probe.name, reason = reason.as_deref(), "probe");
        probes.push(ProbeStatus {
            name: probe.name.into(),
            tier: probe.tier,
            mechanism: match probe.mechanism {
                Mechanism::TpBtf => "tp_btf".into(),
                Mechanism::Fentry => "fentry".into(),
            },
            required: probe.required,
            attached: reason.is_none(),
            reason,
        });
    }
    probes.sort_by_key(|probe| probe.tier);
    Ok(Loaded { ebpf, probes, missed: Missed::of(attached) })
}

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NS: &str = "pid:[4026531836]";

fn check_pid_namespace() -> Result<(), LoadError> {
    let path = "/proc/self/ns/pid";
    let link = std::fs::read_link(path).map_err(|source| LoadError::Read { path: path.into(), source })?;
    if link.as_os_str() == INITIAL_PID_NS {
        Ok(())
    } else {
        Err(LoadError::PidNamespace { found: link.display().to_string() })
    }
}

fn attach(ebpf: &mut Ebpf, probe: &Probe, btf: &AyaBtf) -> Result<ProgramFd, String> {
    let program = ebpf.program_mut(probe.name).ok_or("the BPF object has no such program")?;
    let loading = |error: ProgramError| refusal("load", &error);
    let attaching = |error: ProgramError| refusal("attach", &error);
    let fd = match program {
        Program::BtfTracePoint(program) => {
            program.load(probe.name, btf).map_err(loading)?;
            program.attach().map_err(attaching)?;
            program.fd().map_err(attaching)?
        }
        Program::FEntry(program) => {
            program.load(probe.name, btf).map_err(loading)?;
            program.attach().map_err(attaching)?;
            program.fd().map_err(attaching)?
        }
        _ => return Err("the BPF object has another type of program under this name".into()),
    };
    fd.try_clone().map_err(|error| format!("duplicate its descriptor: {error}"))
}

/// Step, errno, and what the verifier said last.
fn refusal(step: &str, error: &ProgramError) -> String {
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
            format!("{step}: {io_error}: {said}")
        }
        ProgramError::SyscallError(error) => format!("{step}: {}: {}", error.call, error.io_error),
        other => format!("{step}: {other}"),
    }
}
