//! Witness protocol.
