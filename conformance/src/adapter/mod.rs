//! What drives a subject. Each adapter treats it as a black box.

pub mod oci;
pub mod podrt;
