//! What the pages are made from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{Registry, TextEncoder};
use tokio::sync::Semaphore;

use crate::metrics::{self, Collectors, FAMILIES, OwnState, Requests, Sheet};
use crate::observe::{Observer, boot};

use super::landing::{self, Row};

/// The exporter: the node, and its own state.
#[derive(Debug)]
pub struct App {
    observer: Arc<Observer>,
    registry: Registry,
    state: Arc<State>,
    /// Scrapes that may still begin.
    pub(super) scrapes: Arc<Semaphore>,
}

#[derive(Debug)]
struct State {
    requests: Mutex<Requests>,
    is_insecure: bool,
    wanted: Collectors,
    /// Seconds since boot at which the loop turned last.
    turned_at: AtomicU64,
}

/// How long the loop may stand still, seconds.
const STALL: u64 = 30;

impl App {
    /// # Errors
    /// When a metric is described in a way that Prometheus refuses.
    pub fn new(
        observer: Arc<Observer>,
        max_scrapes: u16,
        is_insecure: bool,
        wanted: Collectors,
    ) -> prometheus::Result<Arc<Self>> {
        let state = Arc::new(State {
            requests: Mutex::default(),
            is_insecure,
            wanted,
            turned_at: AtomicU64::new(boot().as_secs()),
        });
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        registry.register(Box::new(Node {
            observer: Arc::clone(&observer),
            state: Arc::clone(&state),
            descs: descs()?,
        }))?;
        Ok(Arc::new(Self {
            observer,
            registry,
            state,
            scrapes: Arc::new(Semaphore::new(max_scrapes.into())),
        }))
    }

    /// Looks for new cgroups. Blocks for some milliseconds.
    pub fn turn(&self) {
        if let Err(error) = self.observer.refresh() {
            tracing::warn!(
                error = format!("{:#}", anyhow::Error::new(error)),
                "the containers are not up to date"
            );
        }
        self.state.turned_at.store(boot().as_secs(), Ordering::Relaxed);
    }

    pub(super) fn is_healthy(&self) -> bool {
        boot().as_secs().saturating_sub(self.state.turned_at.load(Ordering::Relaxed)) < STALL
    }

    pub(super) fn count(&self, handler: &'static str, code: u16) {
        let mut requests = self.state.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((handler, code)).or_insert(0) += 1;
    }

    /// The containers for the landing page. Blocks.
    pub(super) fn rows(&self) -> anyhow::Result<Vec<Row>> {
        Ok(self.observer.view(landing::rows)?)
    }

    /// The exposition, in Prometheus' text format 0.0.4, of these collectors and what is never left out. Blocks.
    pub(super) fn exposition(&self, asked: Collectors) -> anyhow::Result<String> {
        let mut families = self.registry.gather();
        let is_other =
            |name: &str| FAMILIES.iter().any(|family| family.name == name && !asked.has(family.collector));
        families.retain(|family| asked == Collectors::ALL || !is_other(family.name()));
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

fn descs() -> prometheus::Result<Vec<Desc>> {
    let desc = |family: &&metrics::Family| {
        let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(family.name.to_owned(), family.help.to_owned(), labels, std::collections::HashMap::new())
    };
    FAMILIES.iter().map(desc).collect()
}

/// The one collector of all that is read for a scrape.
struct Node {
    observer: Arc<Observer>,
    state: Arc<State>,
    descs: Vec<Desc>,
}

impl Collector for Node {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let began = Instant::now();
        let node = self.observer.view(|view| metrics::sheet(view, self.state.wanted));
        let is_good = node.is_ok();
        let mut sheet = node.unwrap_or_else(|error| {
            tracing::warn!(
                error = format!("{:#}", anyhow::Error::new(error)),
                "the node cannot be read for a scrape"
            );
            Sheet::new(self.state.wanted)
        });
        let requests = self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let collectors = BTreeMap::from([("node", (began.elapsed(), is_good))]);
        metrics::of_exporter(
            &mut sheet,
            &OwnState { requests, collectors, is_insecure: self.state.is_insecure },
        );
        sheet.into_families()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_takes_every_description() {
        let descs = descs().unwrap();
        let ids: std::collections::BTreeSet<u64> = descs.iter().map(|desc| desc.id).collect();
        assert_eq!(ids.len(), FAMILIES.len());
    }
}
