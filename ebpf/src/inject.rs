//! Kills a command at its N-th system call, for tests of what it leaves behind; or counts its calls.
//!
//! An [`Injector`] loads the BPF object `inject`, which is apart from the probes. [`Injector::arm`] prepares one command; after
//! its end [`Injector::disarm`] tells what came of it. Counting begins when the command has been executed, and costs every
//! system call of the machine some tens of nanoseconds.
#![allow(
    unsafe_code,
    reason = "the command enters itself into a map between fork and exec, which std calls unsafe"
)]

use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::programs::BtfTracePoint;
use aya::{Btf as AyaBtf, Ebpf, EbpfLoader, Endianness};
use podproof_abi::inject::{Calls, Cut, MAX_CALLS, MAX_PROCESSES, Target, phase};
use podproof_abi::need;
use thiserror::Error;

use crate::btf::Btf;
use crate::load::{self, LoadError};
use crate::offsets::KernelLayout;
use crate::sys;

#[cfg(podproof_inject)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/inject.o"));
#[cfg(not(podproof_inject))]
static OBJECT: &[u8] = &[];

/// The beginnings of lives before their calls: no process is made whose calls would be missed.
const PROGRAMS: [&str; 3] = ["task_newtask", "sys_enter", "sys_exit"];

/// A map of the injector failed.
#[derive(Debug, Error)]
#[error("{op} of the injector's maps")]
pub struct InjectError {
    op: &'static str,
    source: MapError,
}

/// Where in a system call a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// As it begins. It is done all the same, unless it waits.
    Entry,
    /// As it returns.
    Exit,
}

/// What to do with a command.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Whom it concerns: 0 is the command itself, from 1 on the processes that it and they make, in the order of their
    /// making. Of this one the numbers of the calls are kept.
    pub process: u32,
    /// At which call that process is killed, from 1 on; `None` only counts.
    pub kill: Option<(Position, u64)>,
    /// Counts the processes that the command makes too, each for itself.
    pub follows: bool,
    /// A process that executes a program of this name (its first 15 bytes) is no longer the command's, and counts no more.
    pub program: &'a str,
}

/// A process that was killed by its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Killed {
    /// Index of the process.
    pub process: u32,
    /// Its how manieth call, from 1.
    pub call: u64,
    /// Number of the call (`__NR_*`).
    pub nr: u64,
}

/// The calls of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Calls that began.
    pub entered: u64,
    /// Calls that returned: an exit does not, nor does one that the process was killed in.
    pub returned: u64,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The command, then the processes that were made, as far as they were followed.
    pub processes: Vec<Counted>,
    /// Numbers (`__NR_*`) of the calls of the plan's process, in the order in which they returned; at most 16384.
    pub calls: Vec<u64>,
    /// Who was killed.
    pub killed: Option<Killed>,
}

/// The loaded programs. Dropping it detaches them.
pub struct Injector {
    _ebpf: Ebpf,
    cut: Array<MapData, [u64; 6]>,
    targets: HashMap<MapData, u32, [u64; 2]>,
    targets_fd: OwnedFd,
    processes: Array<MapData, [u64; 5]>,
    calls: Array<MapData, u64>,
    process: u32,
}

impl fmt::Debug for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injector").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Injector {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// [`LoadError`]: a build without the object, a kernel without BTF, or missing privileges.
    pub fn start() -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoProbes);
        }
        load::check_pid_namespace()?;
        let path = Path::new(load::KERNEL_BTF);
        let bytes = load::read_btf(path)?;
        let btf = Btf::parse(&bytes).map_err(load::layout_error(path))?;
        let layout = KernelLayout::read(&btf).map_err(load::layout_error(path))?;
        if let Some(missing) = layout.refusal(need::TASK | need::SYSCALL) {
            return Err(load::layout_error(path)(missing));
        }
        let aya_btf = AyaBtf::parse(&bytes, Endianness::default()).map_err(load::layout_error(path))?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&aya_btf))
            .override_global("OFFS", bytemuck::bytes_of(&layout.offsets), true)
            .load(OBJECT)
            .map_err(|source| LoadError::Object { source: Box::new(source) })?;
        for name in PROGRAMS {
            attach(&mut ebpf, name, &aya_btf)?;
        }
        let targets = take(&mut ebpf, "TARGETS")?;
        let Map::HashMap(data) = &targets else { return Err(LoadError::Incomplete { what: "map TARGETS" }) };
        let targets_fd =
            data.fd().as_fd().try_clone_to_owned().map_err(|source| LoadError::Duplicate { source })?;
        let incomplete = |what| move |_wrong_type: MapError| LoadError::Incomplete { what };
        Ok(Self {
            cut: take(&mut ebpf, "CUT")?.try_into().map_err(incomplete("map CUT"))?,
            targets: targets.try_into().map_err(incomplete("map TARGETS"))?,
            targets_fd,
            processes: take(&mut ebpf, "PROCESSES")?.try_into().map_err(incomplete("map PROCESSES"))?,
            calls: take(&mut ebpf, "CALLS")?.try_into().map_err(incomplete("map CALLS"))?,
            process: 0,
            _ebpf: ebpf,
        })
    }

    /// Prepares a command, which is to be spawned once, before the next [`Injector::disarm`].
    ///
    /// # Errors
    /// When the maps cannot be written.
    pub fn arm(&mut self, plan: &Plan<'_>, command: &mut Command) -> Result<(), InjectError> {
        self.forget()?;
        for index in 0..MAX_PROCESSES {
            self.processes.set(index, [0; 5], 0).map_err(failed("the clearing"))?;
        }
        let (is_at_entry, call) = match plan.kill {
            Some((position, call)) => (u64::from(position == Position::Entry), call),
            None => (0, 0),
        };
        let mut program = [0_u8; 16];
        let name = &plan.program.as_bytes()[..plan.program.len().min(15)];
        program[..name.len()].copy_from_slice(name);
        let cut = Cut {
            call,
            process: plan.process.into(),
            is_at_entry,
            follows: plan.follows.into(),
            program: bytemuck::cast(program),
        };
        self.cut.set(0, bytemuck::cast::<Cut, [u64; 6]>(cut), 0).map_err(failed("the writing"))?;
        self.process = plan.process;
        let target: [u64; 2] = bytemuck::cast(Target { process: 0, phase: phase::WAITING });
        let map = self.targets_fd.as_raw_fd();
        // SAFETY: between fork and exec only getpid(2) and bpf(2) are called, on copied values; the descriptor of the map is
        // open there as it is here.
        unsafe {
            command.pre_exec(move || sys::update_element(map, std::process::id(), target));
        }
        Ok(())
    }

    /// What came of the command that was armed last. It and its processes count no more.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub fn disarm(&mut self) -> Result<Outcome, InjectError> {
        self.forget()?;
        let read = failed("the reading");
        let entry = |index: u32| -> Result<Calls, MapError> {
            Ok(bytemuck::cast::<[u64; 5], Calls>(self.processes.get(&index, 0)?))
        };
        let mut outcome = Outcome { processes: Vec::new(), calls: Vec::new(), killed: None };
        let all = || -> Result<Outcome, MapError> {
            let n_made = u32::try_from(entry(0)?.n_made).unwrap_or(u32::MAX).min(MAX_PROCESSES - 1);
            for process in 0..=n_made {
                let calls = entry(process)?;
                outcome.processes.push(Counted { entered: calls.entered, returned: calls.returned });
                if calls.killed_at > 0 {
                    outcome.killed = Some(Killed { process, call: calls.killed_at, nr: calls.killed_nr });
                }
                if process == self.process {
                    let n = u32::try_from(calls.returned).unwrap_or(u32::MAX).min(MAX_CALLS);
                    outcome.calls =
                        (0..n).map(|index| self.calls.get(&index, 0)).collect::<Result<_, _>>()?;
                }
            }
            Ok(outcome)
        };
        all().map_err(read)
    }

    fn forget(&mut self) -> Result<(), InjectError> {
        let known: Vec<u32> = self.targets.keys().collect::<Result<_, _>>().map_err(failed("the listing"))?;
        for tgid in known {
            match self.targets.remove(&tgid) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(source) => return Err(failed("the clearing")(source)),
            }
        }
        Ok(())
    }
}

fn failed(op: &'static str) -> impl FnOnce(MapError) -> InjectError {
    move |source| InjectError { op, source }
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::Incomplete { what: name })
}

fn attach(ebpf: &mut Ebpf, name: &'static str, btf: &AyaBtf) -> Result<(), LoadError> {
    let program = ebpf.program_mut(name).ok_or(LoadError::Incomplete { what: name })?;
    let required = |step: &str, error: &aya::programs::ProgramError| LoadError::Required {
        name: name.into(),
        reason: load::refusal(step, error).reason,
        probes: Vec::new(),
    };
    let program: &mut BtfTracePoint = program.try_into().map_err(|error| required("find", &error))?;
    program.load(name, btf).map_err(|error| required("load", &error))?;
    program.attach().map_err(|error| required("attach", &error)).map(drop)
}
