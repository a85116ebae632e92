//! `podproof-exporter`: what the kernel knows about every pod, as Prometheus metrics.
//!
//! ```text
//! observe   the probes' kernel counters, the cgroups and /proc, looked at once a second and for each scrape
//! resolve   from the path of a cgroup to the names of a pod and a container
//! model     cgroups, old and new, folded into one series per container
//! metrics   from the model to samples
//! http      from samples to answers
//! web       TLS and passwords for them
//! ```
//!
//! Numbers come from counters that the kernel side keeps per cgroup, never from events; nothing is lost by a slow reader.

pub mod capabilities;
pub mod cgroups;
pub mod check;
pub mod cli;
pub mod descriptors;
pub mod http;
pub mod identity;
pub mod log;
mod memory;
pub mod metadata;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod resolve;
pub mod run;
mod sandbox;
pub mod web;
