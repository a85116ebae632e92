//! Zombie reaping, and what a zombie thread-group leader is not.

pub(super) mod reap_15;
