//! The loaded programs: attached and detached, one by one, and what the kernel tells of their runs.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use aya::programs::fentry::FEntryLinkId;
use aya::programs::fexit::FExitLinkId;
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::{Program, ProgramError, ProgramFd};
use aya::sys::{Stats, enable_stats};
use aya::{Btf as AyaBtf, Ebpf};
use thiserror::Error;

use crate::load::{Refusal, refusal};
use crate::probe::{Mechanism, Probe, ProbeStatus};
use crate::signals::{self, CounterStatus, Known};
use crate::tracer::TraceOptions;

/// A program could not be attached again, or not be detached.
#[derive(Debug, Error)]
#[error("probe {name}: {reason}")]
pub struct AttachError {
    /// The program.
    pub name: String,
    /// The step, with errno.
    pub reason: String,
}

#[derive(Debug)]
enum Link {
    TpBtf(BtfTracePointLinkId),
    Fentry(FEntryLinkId),
    Fexit(FExitLinkId),
}

/// One program and its fate.
#[derive(Debug)]
pub(crate) struct Entry {
    probe: &'static Probe,
    /// Why it was never attached.
    refusal: Option<Refusal>,
    /// Nothing would be gained by it, given which others are refused.
    is_idle: bool,
    link: Option<Link>,
    fd: Option<ProgramFd>,
}

impl Entry {
    pub(crate) fn refused(probe: &'static Probe, refusal: Refusal) -> Self {
        Self { probe, refusal: Some(refusal), is_idle: false, link: None, fd: None }
    }

    /// A program that is not tried, since nothing would be gained by it.
    pub(crate) fn idle(probe: &'static Probe, reason: &str) -> Self {
        Self { is_idle: true, ..Self::refused(probe, reason.into()) }
    }

    /// Why it is not attached.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.reason.as_str())
    }

    /// Whether there is no tracer without it, and it was refused.
    pub(crate) fn is_missing(&self) -> bool {
        self.is_required() && self.refusal.is_some()
    }

    fn is_required(&self) -> bool {
        self.probe.required && !self.is_idle
    }

    /// What became of it. Runs are told while the kernel counts them (`has_statistics`), and if it did before.
    fn status(&self, has_statistics: bool) -> ProbeStatus {
        let runs = self.fd.as_ref().and_then(Runs::read);
        let counted = runs.filter(|runs| has_statistics || runs.count > 0);
        ProbeStatus {
            required: self.is_required(),
            attached: self.refusal.is_none(),
            reason: self.reason().map(str::to_owned),
            errno: self.refusal.as_ref().and_then(|refusal| refusal.errno),
            run_count: counted.map(|runs| runs.count),
            run_time_ns: counted.map(|runs| runs.time_ns),
            missed: runs.map(|runs| runs.missed),
            ..self.probe.status()
        }
    }
}

/// The loaded object. Dropping it detaches everything.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) ebpf: Ebpf,
    pub(crate) entries: Vec<Entry>,
    pub(crate) options: TraceOptions,
    pub(crate) known: Known,
    /// While it is open the kernel counts runs and their time.
    statistics: Option<OwnedFd>,
}

impl Programs {
    pub(crate) fn new(ebpf: Ebpf, options: TraceOptions, known: Known) -> Self {
        Self { ebpf, entries: vec![], options, known, statistics: None }
    }

    /// Which counters this kernel can give.
    pub(crate) fn counter_sources(&self) -> Vec<CounterStatus> {
        signals::resolve_counters(&self.status(), self.options.counters, self.known)
    }

    /// Makes the kernel count runs and their time (`BPF_ENABLE_STATS` of bpf(2)) from here on.
    pub(crate) fn enable_statistics(&mut self) -> io::Result<()> {
        if self.statistics.is_none() {
            self.statistics = Some(enable_stats(Stats::RunTime).map_err(|error| error.io_error)?);
        }
        Ok(())
    }

    /// Whether the kernel counts runs, by us or by the `kernel.bpf_stats_enabled` of sysctl(8).
    pub(crate) fn has_statistics(&self) -> bool {
        let is_on =
            || fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled").is_ok_and(|text| text.trim() == "1");
        self.statistics.is_some() || is_on()
    }

    /// Whether a program is usable.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.probe.name == name && entry.refusal.is_none())
    }

    /// Loads and attaches a program; the error is a reason for people.
    pub(crate) fn attach(&mut self, probe: &'static Probe, btf: &AyaBtf) -> Result<Entry, Refusal> {
        let program = self.ebpf.program_mut(probe.name).ok_or("the BPF object has no such program")?;
        let loading = |error: ProgramError| refusal("load", &error);
        match (&mut *program, probe.mechanism) {
            (Program::BtfTracePoint(program), Mechanism::TpBtf) => program.load(probe.hook, btf),
            (Program::FEntry(program), Mechanism::Fentry) => program.load(probe.hook, btf),
            (Program::FExit(program), Mechanism::Fexit) => program.load(probe.hook, btf),
            _ => return Err("the BPF object has another type of program under this name".into()),
        }
        .map_err(loading)?;
        let link = link(program, Duration::ZERO)?;
        let fd = program.fd().map_err(|error| refusal("load", &error))?;
        let fd = fd.try_clone().map_err(|error| format!("duplicate its descriptor: {error}"))?;
        Ok(Entry { probe, refusal: None, is_idle: false, link: Some(link), fd: Some(fd) })
    }

    /// Attaches the usable programs that `pick` accepts and that are not attached.
    pub(crate) fn attach_again(&mut self, pick: impl Fn(&Probe) -> bool) -> Result<(), AttachError> {
        for entry in &mut self.entries {
            if entry.refusal.is_some() || entry.link.is_some() || !pick(entry.probe) {
                continue;
            }
            let failed = |reason: String| AttachError { name: entry.probe.name.into(), reason };
            let program =
                self.ebpf.program_mut(entry.probe.name).ok_or_else(|| failed("no such program".into()))?;
            entry.link = Some(link(program, DETACH_PATIENCE).map_err(|refusal| failed(refusal.reason))?);
        }
        Ok(())
    }

    /// Detaches the programs that `pick` accepts, beginnings of lives before their ends.
    pub(crate) fn detach(&mut self, pick: impl Fn(&Probe) -> bool) -> Result<(), AttachError> {
        for entry in self.entries.iter_mut().rev() {
            if !pick(entry.probe) {
                continue;
            }
            let Some(link) = entry.link.take() else { continue };
            let failed = |reason: String| AttachError { name: entry.probe.name.into(), reason };
            let program =
                self.ebpf.program_mut(entry.probe.name).ok_or_else(|| failed("no such program".into()))?;
            match (program, link) {
                (Program::BtfTracePoint(program), Link::TpBtf(link)) => program.detach(link),
                (Program::FEntry(program), Link::Fentry(link)) => program.detach(link),
                (Program::FExit(program), Link::Fexit(link)) => program.detach(link),
                _ => continue,
            }
            .map_err(|error| failed(refusal("detach", &error).reason))?;
        }
        Ok(())
    }

    /// Descriptors of the usable programs, which keep them loaded.
    pub(crate) fn descriptors(&self) -> Result<Vec<ProgramFd>, io::Error> {
        self.entries.iter().filter_map(|entry| entry.fd.as_ref()).map(ProgramFd::try_clone).collect()
    }

    /// What became of each, by tier.
    pub(crate) fn status(&self) -> Vec<ProbeStatus> {
        let has_statistics = self.has_statistics();
        let mut all: Vec<ProbeStatus> =
            self.entries.iter().map(|entry| entry.status(has_statistics)).collect();
        all.sort_by_key(|probe| probe.tier);
        all
    }
}

/// The kernel takes a program off its hook some time after its link is closed, and refuses it there until then.
const DETACH_PATIENCE: Duration = Duration::from_secs(5);
/// Nothing tells when it has: it is tried again after this time.
const RETRY: Duration = Duration::from_millis(1);

fn link(program: &mut Program, patience: Duration) -> Result<Link, Refusal> {
    let start = Instant::now();
    loop {
        let result = match program {
            Program::BtfTracePoint(program) => program.attach().map(Link::TpBtf),
            Program::FEntry(program) => program.attach().map(Link::Fentry),
            Program::FExit(program) => program.attach().map(Link::Fexit),
            _ => return Err("the BPF object has another type of program under this name".into()),
        };
        match result {
            Err(error) if is_still_attached(&error) && start.elapsed() < patience => {
                std::thread::park_timeout(RETRY);
            }
            result => return result.map_err(|error| refusal("attach", &error)),
        }
    }
}

fn is_still_attached(error: &ProgramError) -> bool {
    let errno = match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    // A tracepoint says that it has the program, a function that its link is in use.
    matches!(errno, Some(libc::EEXIST | libc::EBUSY))
}

/// What the kernel counts for a program (`/proc/self/fdinfo` of its descriptor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Runs {
    /// Runs while BPF statistics were on.
    pub(crate) count: u64,
    /// Their time in nanoseconds.
    pub(crate) time_ns: u64,
    /// Runs skipped, because the program was running on that CPU already (a signal from an interrupt, during the program
    /// for another signal). Nothing says whose records those were.
    pub(crate) missed: u64,
}

impl Runs {
    /// `None` when the kernel does not tell.
    pub(crate) fn read(program: &ProgramFd) -> Option<Self> {
        let path = format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd());
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    fn parse(fdinfo: &str) -> Option<Self> {
        let value = |name: &str| {
            fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        Some(Self {
            count: value("run_cnt")?,
            time_ns: value("run_time_ns")?,
            missed: value("recursion_misses")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Runs};
    use crate::probe::by_name;

    #[test]
    fn a_program_that_nothing_needs_is_not_required() {
        let probe = by_name("signal_generate").unwrap();
        let refused = Entry::refused(probe, "load: EPERM".into());
        assert!(probe.required && refused.is_missing() && refused.status(false).required);
        let idle = Entry::idle(probe, "not needed");
        let status = idle.status(false);
        assert!(!idle.is_missing() && !status.required && !status.attached);
        assert_eq!(status.reason.as_deref(), Some("not needed"));
    }

    #[test]
    fn reads_the_counts_of_a_program() {
        let text = "pos:\t0\nprog_type:\t26\nrun_time_ns:\t77\nrun_cnt:\t3\nrecursion_misses:\t12\nverified_insns:\t608\n";
        assert_eq!(Runs::parse(text), Some(Runs { count: 3, time_ns: 77, missed: 12 }));
        assert_eq!(Runs::parse("pos:\t0\n"), None);
    }
}
