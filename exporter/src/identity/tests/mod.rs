//! Paths as they are found on nodes, and paths as somebody hostile would make them.

mod fixtures;
mod hostile;
mod paths;
mod properties;
