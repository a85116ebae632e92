//! Namespace sharing and isolation.

pub(super) mod ns_01;
