//! Lines that the programs log when they were built with their feature `log`: read from their own ring and passed on to
//! `tracing`, at level debug under the target `probes`.
//!
//! The level of the programs is set before they are loaded: when nobody listens, what would log is dead code to the verifier.

#[cfg(feature = "log")]
pub(crate) use reading::{Lines, level};

/// Nothing is logged without a reader.
#[cfg(not(feature = "log"))]
pub(crate) fn level() -> u8 {
    tracing::debug!(target: "probes", "the programs of this build log nothing; cargo xtask build --probe-log makes others");
    0
}

#[cfg(feature = "log")]
mod reading {
    use std::os::fd::AsFd as _;
    use std::sync::Arc;
    use std::thread::JoinHandle;

    use aya::Ebpf;
    use aya_log::{EbpfLogger, Error};
    use log::{Log, Metadata, Record};
    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::eventfd::{EfdFlags, EventFd};

    /// The most detailed level that the programs write, 0 for none.
    pub(crate) fn level() -> u8 {
        if tracing::enabled!(target: "probes", tracing::Level::DEBUG) {
            aya_log::Level::Debug as u8
        } else {
            0
        }
    }

    /// Hands lines on.
    struct Forward;

    impl Log for Forward {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            tracing::debug!(target: "probes", "{}", record.args());
        }

        fn flush(&self) {}
    }

    /// The thread that reads the lines; it ends on drop, after the last one.
    #[derive(Debug)]
    pub(crate) struct Lines {
        stop: Arc<EventFd>,
        thread: Option<JoinHandle<()>>,
    }

    impl Lines {
        /// Starts the thread; `None` when nobody listens, or the programs were built without lines. Without them everything
        /// else works, so that what goes wrong is only told.
        pub(crate) fn start(ebpf: &mut Ebpf) -> Option<Self> {
            if level() == 0 {
                return None;
            }
            let logger = match EbpfLogger::init_with_logger(ebpf, Forward) {
                Ok(logger) => logger,
                Err(Error::MapNotFound) => {
                    tracing::debug!(target: "probes", "these programs log nothing; cargo xtask build --probe-log makes others");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot read what the programs log");
                    return None;
                }
            };
            Self::spawn(logger)
                .inspect_err(|error| tracing::warn!(%error, "cannot read what the programs log"))
                .ok()
        }

        fn spawn(logger: EbpfLogger<Forward>) -> std::io::Result<Self> {
            let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
            let stopped = Arc::clone(&stop);
            let thread = std::thread::Builder::new()
                .name("podproof-lines".into())
                .spawn(move || read(logger, &stopped))?;
            Ok(Self { stop, thread: Some(thread) })
        }
    }

    impl Drop for Lines {
        fn drop(&mut self) {
            if let Err(error) = self.stop.write(1) {
                // It would wait for ever.
                tracing::warn!(%error, "cannot stop the reader of the programs' lines");
                return;
            }
            if let Some(thread) = self.thread.take()
                && thread.join().is_err()
            {
                tracing::warn!("the reader of the programs' lines had panicked");
            }
        }
    }

    fn read(mut logger: EbpfLogger<Forward>, stop: &EventFd) {
        loop {
            let mut fds = [
                PollFd::new(logger.as_fd(), PollFlags::POLLIN),
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            ];
            let result = poll(&mut fds, PollTimeout::NONE);
            let is_over = fds[1].revents().is_some_and(|events| !events.is_empty());
            logger.flush();
            match result {
                Ok(_) | Err(Errno::EINTR) if !is_over => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(%error, "cannot wait for what the programs log");
                    return;
                }
            }
        }
    }
}
