//! Loads podproof's probes and reads their event stream.

pub mod event;
