//! Connections: how many, and for how long they may be silent.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::Listener;
use crate::web::Web;

/// Connections of one listener at once; who comes then waits for one to end.
const MAX_CONNECTIONS: usize = 1024;

/// The head of the next request has to be there within this time, so a connection that is kept open is closed after it. Two of the usual
/// scrape intervals.
const NEXT_REQUEST: Duration = Duration::from_secs(30);

/// A client that takes nothing of its answer for so long is given up.
const STALLED: Duration = Duration::from_secs(10);

/// How long answers that have begun may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// Answers until the sender of `stopped` is gone; requests that have begun are finished.
pub async fn answer(listener: Listener, pages: Router, web: Arc<Web>, mut stopped: watch::Receiver<()>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let room = Arc::clone(&connections);
        let next = async {
            // The semaphore is never closed.
            let permit = room.acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok(stream) => {
                // Who can open a socket in the file system is on this machine.
                let tls = if listener.is_tcp() { web.tls() } else { None };
                let (pages, watcher) = (pages.clone(), graceful.watcher());
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, tls, pages, watcher).await {
                        tracing::debug!(error = format!("{error:#}"), "a connection ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, or the client is gone already: the next may be luckier.
                tracing::debug!(%error, "a connection is not accepted");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::debug!("a client did not end");
    }
}

/// A connection, whatever its transport.
trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

impl Listener {
    async fn accept(&self) -> io::Result<Pin<Box<dyn Stream>>> {
        match self {
            Self::Tcp(listener) => Ok(Box::pin(listener.accept().await?.0)),
            Self::Unix(listener, _) => Ok(Box::pin(listener.accept().await?.0)),
        }
    }

    fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

async fn converse(
    stream: Pin<Box<dyn Stream>>,
    tls: Option<Arc<ServerConfig>>,
    pages: Router,
    watcher: Watcher,
) -> anyhow::Result<()> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let stream = Box::pin(stream);
    let stream: Pin<Box<dyn Stream>> = match tls {
        None => stream,
        Some(tls) => Box::pin(timeout(STALLED, TlsAcceptor::from(tls).accept(stream)).await??),
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(pages));
    Ok(watcher.watch(connection).await?)
}
