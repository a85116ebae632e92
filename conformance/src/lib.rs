//! podproof's conformance suite: judges a container runtime by two witnesses.
//!
//! The data flows one way: a requirement ([`catalog`]) is played in a [`cell`] by its check ([`checks`]), which
//! collects [`evidence`] from the witness inside and from the kernel ([`observe`]); [`judge`] turns that into a
//! verdict; [`suite`] runs the checks and [`report`] tells of them. The suite never links a runtime. [`trace`] puts the
//! kernel's events into words, for the evidence and for `podproof trace`. [`sweep`] kills a runtime's commands and looks for what
//! is left.

pub mod adapter;
pub mod bundle;
pub mod catalog;
pub mod cell;
mod chain;
pub mod checks;
mod children;
pub mod cli;
mod duration;
pub mod evidence;
pub mod helper;
mod image;
pub mod interrupt;
pub mod judge;
pub mod launcher;
pub mod observe;
pub mod report;
pub mod run;
pub mod suite;
pub mod sweep;
pub mod trace;
