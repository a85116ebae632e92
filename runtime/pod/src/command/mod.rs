//! What commands do to pods, beside asking a supervisor.

pub mod create;
pub mod gc;
pub mod observe;
pub mod remove;
pub mod request;
pub mod tree;
