//! The output of containers, in the log format of the CRI.
