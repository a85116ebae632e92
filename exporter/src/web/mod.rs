//! TLS, passwords and limits, from a file in the format of Prometheus' exporter-toolkit (docs/web-configuration.md of that project).
//!
//! ```text
//! config   the file's text, checked
//! tls      certificates and keys -> a TLS server
//! auth     users and their passwords
//! gate     how many passwords are checked at once
//! rate     how many requests are answered
//! live     all of it, read again when a file changes
//! ```

mod auth;
mod config;
mod gate;
mod live;
mod rate;
#[cfg(test)]
mod samples;
mod tls;

pub(crate) use auth::Decision;
pub use config::WebError;
pub use live::Web;
