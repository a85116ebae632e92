//! Open files: how many there may be (`RLIMIT_NOFILE`, getrlimit(2)), and how many of them connections get.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procfs::ProcError;
use procfs::process::Process;
use thiserror::Error;

/// What is opened for a moment beside what is open once the probes are attached: of each scrape and of the loop a file or a directory,
/// the files of TLS and passwords, the socket of a CRI runtime.
const RESERVE: u64 = 64;

/// Connections of all listeners together. Each takes some 30 KiB of memory at most while it has no answer.
const MAX_CONNECTIONS: u64 = 1024;

/// With fewer a scrape might wait for others that are kept open.
const MIN_CONNECTIONS: u64 = 16;

/// There are too few descriptors, or nobody knows how many.
#[derive(Debug, Error)]
pub enum DescriptorError {
    /// Connections would take those that the exporter needs.
    #[error(
        "RLIMIT_NOFILE is {limit}, and the exporter needs {needed}: set LimitNOFILE= in the systemd unit, or ulimit -n, to that or more"
    )]
    TooFew {
        /// The soft limit.
        limit: u64,
        /// Of the exporter itself and the least number of connections.
        needed: u64,
    },
    /// The kernel does not tell the limit.
    #[error("cannot read RLIMIT_NOFILE")]
    Limit(#[source] nix::Error),
    /// /proc does not tell what is open.
    #[error("cannot count the exporter's open files in /proc")]
    Open(#[source] ProcError),
}

/// Raises the soft limit to the hard one, as far as that is allowed: soft limits are low for select(2), which is not used here.
pub fn raise() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::debug!(%error, "RLIMIT_NOFILE stays as it is");
    }
}

/// Connections that there is room for. To be called when all is open that stays open.
///
/// # Errors
/// When there is room for too few, or that cannot be told.
pub fn connections() -> Result<usize, DescriptorError> {
    let (limit, _hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(DescriptorError::Limit)?;
    let open = Process::myself().and_then(|own| own.fd_count()).map_err(DescriptorError::Open)?;
    room(limit, u64::try_from(open).unwrap_or(u64::MAX))
}

fn room(limit: u64, open: u64) -> Result<usize, DescriptorError> {
    let own = open.saturating_add(RESERVE);
    let connections = limit.saturating_sub(own).min(MAX_CONNECTIONS);
    if connections < MIN_CONNECTIONS {
        return Err(DescriptorError::TooFew { limit, needed: own.saturating_add(MIN_CONNECTIONS) });
    }
    Ok(usize::try_from(connections).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_exporter_what_it_needs() {
        let of = |limit, open| room(limit, open).map_err(|error| error.to_string());
        assert_eq!(of(1024, 150), Ok(1024 - 150 - 64));
        assert_eq!(of(u64::MAX, 150), Ok(1024));
        assert_eq!(of(230, 150), Ok(16));
        for limit in [229, 100, 0] {
            let error = of(limit, 150).unwrap_err();
            assert!(
                error.starts_with(&format!("RLIMIT_NOFILE is {limit}, and the exporter needs 230: ")),
                "{error}"
            );
        }
    }
}
