//! podproof's probes as a subject: on and off again, and what their programs did.

use podproof_ebpf::{Scope, TraceOptions, Tracer};

use crate::Res;
use crate::record::{ProgramRuns, Subject};
use crate::stats;

/// The probes in one mode.
#[derive(Debug)]
pub(crate) struct Own {
    options: TraceOptions,
    // Dropped in this order.
    scope: Option<Scope>,
    tracer: Option<Tracer>,
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
    /// Loads the probes; they are off.
    pub(crate) fn load(options: TraceOptions) -> Res<Self> {
        drop(Tracer::start(&options)?);
        Ok(Self { options, scope: None, tracer: None })
    }

    /// Attaches them; with events, those of this thread group and its descendants are recorded.
    pub(crate) fn on(&mut self, tgid: u32) -> Res<()> {
        let tracer = self.tracer.insert(Tracer::start(&self.options)?);
        if self.options.events {
            let scope = tracer.open_scope()?;
            scope.add_thread_group(tgid)?;
            self.scope = Some(scope);
        }
        Ok(())
    }

    /// Detaches them; how many events were lost.
    pub(crate) fn off(&mut self) -> Res<u64> {
        let lost = self.scope.take().map_or(0, |scope| scope.lost());
        self.tracer = None;
        Ok(lost)
    }

    /// What each program has done so far, by the kernel's BPF statistics.
    pub(crate) fn programs(&self) -> Res<Vec<ProgramRuns>> {
        let tracer = self.tracer.as_ref().ok_or("the probes are off")?;
        stats::of_tracer(tracer)
    }
}
