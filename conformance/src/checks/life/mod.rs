//! Life cycle.

pub(super) mod life_02;
