//! What the pages are made from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use podproof_ebpf::ProbeStatus;
use prometheus::TextEncoder;
use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;

use crate::cgroups::is_hybrid;
use crate::metrics::{self, Choice, Collectors, Environment, OwnState, Requests};
use crate::observe::{Observer, View, boot};

use super::debug;
use super::landing::{self, Containers};
use super::room::Room;

/// The exporter: the node, and its own state.
#[derive(Debug)]
pub struct App {
    observer: Arc<Observer>,
    process: ProcessCollector,
    /// Of scrapes.
    pub(super) scrapes: Room,
    /// Of other pages, so that who looks at them takes nothing from scrapes.
    pub(super) pages: Room,
    requests: Mutex<Requests>,
    environment: Environment,
    is_insecure: bool,
    /// cgroup v1 is mounted beside v2.
    pub(super) is_hybrid: bool,
    choice: Choice,
    /// Seconds since boot at which the loop turned last.
    turned_at: AtomicU64,
}

/// Pages beside the metrics that may be made at once. They take turns with scrapes, so two more are the most that one waits for.
const MAX_PAGES: usize = 2;

/// How long the loop may stand still, seconds.
const STALL: u64 = 30;

impl App {
    /// So many scrapes may run at once.
    #[must_use]
    pub fn new(observer: Arc<Observer>, max_scrapes: u16, is_insecure: bool, choice: Choice) -> Arc<Self> {
        Arc::new(Self {
            observer,
            process: ProcessCollector::for_self(),
            scrapes: Room::new(max_scrapes.into()),
            pages: Room::new(MAX_PAGES),
            requests: Mutex::default(),
            environment: Environment::read(),
            is_insecure,
            is_hybrid: is_hybrid(),
            choice,
            turned_at: AtomicU64::new(boot().as_secs()),
        })
    }

    /// Looks for new cgroups. Blocks for some milliseconds.
    pub fn turn(&self) {
        if let Err(error) = self.observer.refresh() {
            tracing::warn!(
                error = format!("{:#}", anyhow::Error::new(error)),
                "the containers are not up to date"
            );
        }
        self.turned_at.store(boot().as_secs(), Ordering::Relaxed);
    }

    pub(super) fn is_healthy(&self) -> bool {
        boot().as_secs().saturating_sub(self.turned_at.load(Ordering::Relaxed)) < STALL
    }

    pub(super) fn count(&self, handler: &'static str, code: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((handler, code)).or_insert(0) += 1;
    }

    /// What became of each probe.
    pub(super) fn probes(&self) -> Vec<ProbeStatus> {
        self.observer.probes()
    }

    /// The containers for the landing page. Blocks.
    pub(super) fn containers(&self) -> anyhow::Result<Containers> {
        self.whole(landing::containers)
    }

    /// The maps of the kernel side as JSON. Blocks.
    pub(super) fn maps(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.whole(|view| serde_json::to_vec(&debug::maps(view)))??)
    }

    /// What is made of them, as JSON. Blocks.
    pub(super) fn tables(&self) -> anyhow::Result<Vec<u8>> {
        Ok(self.whole(|view| serde_json::to_vec(&debug::tables(view)))??)
    }

    /// What is shown of the node, if all of it could be read.
    fn whole<T>(&self, show: impl FnOnce(&View<'_>) -> T) -> anyhow::Result<T> {
        let (shown, parts) = self.observer.view(show);
        parts.all()?;
        Ok(shown)
    }

    /// The exposition, in Prometheus' text format 0.0.4, of these collectors and what is never left out; in parts that follow each
    /// other. What could not be read is not there, and the others are. Blocks.
    pub(super) fn exposition(&self, asked: Collectors) -> Vec<String> {
        let choice = Choice { collectors: self.choice.collectors.and(asked), ..self.choice.clone() };
        let ((mut sheet, time), parts) = self.observer.view(|view| {
            let began = Instant::now();
            (metrics::sheet(view, &choice), began.elapsed())
        });
        let mut collectors = parts.outcomes;
        collectors.insert("samples", (time, true));
        for (collector, fault) in parts.faults {
            let error = format!("{:#}", anyhow::Error::new(fault));
            tracing::warn!(collector, error, "a scrape lacks what could not be read");
        }
        let began = Instant::now();
        let process = TextEncoder::new().encode_to_string(&self.process.collect());
        // It tells nothing when it could not read.
        let is_good = process.as_ref().is_ok_and(|text| !text.is_empty());
        collectors.insert("process", (began.elapsed(), is_good));
        let process: String = process.unwrap_or_else(|error| {
            tracing::warn!(collector = "process", %error, "a scrape lacks what could not be read");
            String::new()
        });
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (environment, is_insecure) = (&self.environment, self.is_insecure);
        let n_others = process.lines().filter(|line| !line.starts_with('#')).count();
        let own = OwnState { environment, requests, collectors, is_insecure, n_others };
        metrics::of_exporter(&mut sheet, &own);
        sheet.into_parts().chain([process]).collect()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Desc;

    use super::*;
    use crate::metrics::FAMILIES;

    #[test]
    fn prometheus_takes_every_description() {
        let desc = |family: &&metrics::Family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(
                family.name.to_owned(),
                family.help.to_owned(),
                labels,
                std::collections::HashMap::new(),
            )
        };
        let ids: Result<std::collections::BTreeSet<u64>, _> =
            FAMILIES.iter().map(|family| Ok(desc(family)?.id)).collect::<prometheus::Result<_>>();
        assert_eq!(ids.unwrap().len(), FAMILIES.len());
    }
}
