//! The kernel's trace for people: each event as a line in words, and the whole as a document for trace viewers.
//!
//! A [`Narrator`] reads events in their order and remembers who is who: names of processes, who was first in a
//! namespace, the paths of cgroups. It never drops an event; [`is_detail`] says which of them a reader who did not
//! ask for details can do without.

mod calls;
pub mod chrome;
mod filter;
mod line;
mod machine;
mod memory;
mod narrator;
#[cfg(test)]
mod narrator_tests;
#[cfg(test)]
pub(crate) mod sample;
mod timeline;
mod words;

pub use filter::is_detail;
pub(crate) use line::printable;
pub use line::{Ink, Line, Look, Text};
pub use machine::{Machine, V2};
pub use narrator::Narrator;
pub use timeline::timeline;
