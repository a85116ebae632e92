//! podproof's probes as a subject: on and off again, and what their programs did.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use podproof_ebpf::{Scope, TraceOptions, Tracer};

use crate::Res;
use crate::record::{ProgramRuns, Subject};

/// The probes in one mode.
#[derive(Debug)]
pub(crate) struct Own {
    has_events: bool,
    // Dropped in this order.
    scope: Option<Scope>,
    tracer: Tracer,
}

/// The options of a mode; `None` for what is not podproof's.
pub(crate) fn options(subject: Subject) -> Option<TraceOptions> {
    let (events, syscalls) = match subject {
        Subject::Counters => (false, false),
        Subject::CountersEvents => (true, false),
        Subject::FullEvidence => (true, true),
        _ => return None,
    };
    Some(TraceOptions { events, counters: true, syscalls, ..TraceOptions::default() })
}

impl Own {
    /// Loads the probes, which are off, and begins to count for the cgroup that this process and the worker are in.
    pub(crate) fn load(options: TraceOptions) -> Res<Self> {
        let tracer = Tracer::start(&options)?;
        match cgroup_id()? {
            Some(id) => _ = tracer.count_cgroup(id)?,
            None => eprintln!("warning: no cgroup v2 here: nothing is counted per cgroup"),
        }
        tracer.detach()?;
        Ok(Self { has_events: options.events, scope: None, tracer })
    }

    /// Attaches them; with events, those of this thread group and its descendants are recorded.
    pub(crate) fn on(&mut self, tgid: u32) -> Res<()> {
        self.tracer.attach()?;
        if self.has_events {
            let scope = self.tracer.open_scope()?;
            scope.add_thread_group(tgid)?;
            self.scope = Some(scope);
        }
        Ok(())
    }

    /// Detaches them; how many events were lost.
    pub(crate) fn off(&mut self) -> Res<u64> {
        let lost = self.scope.take().map_or(0, |scope| scope.lost());
        self.tracer.detach()?;
        Ok(lost)
    }

    /// What each program has done so far, by the kernel's BPF statistics.
    pub(crate) fn programs(&self) -> Vec<ProgramRuns> {
        let runs = |probe: podproof_ebpf::ProbeStatus| ProgramRuns {
            name: probe.name,
            runs: probe.run_count.unwrap_or(0),
            time_ns: probe.run_time_ns.unwrap_or(0),
        };
        self.tracer.probes().into_iter().map(runs).collect()
    }
}

/// The id of the v2 cgroup that this process is in, which is the inode of its directory.
fn cgroup_id() -> Res<Option<u64>> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"));
    let (own, mounts) = (read("/proc/self/cgroup")?, read("/proc/self/mounts")?);
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
    let mounted = mounts.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [_, at, "cgroup2", ..] => Some(at),
        _ => None,
    });
    let (Some(own), Some(mounted)) = (own, mounted) else { return Ok(None) };
    Ok(Some(fs::metadata(Path::new(mounted).join(own))?.ino()))
}
