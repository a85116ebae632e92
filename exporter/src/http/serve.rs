//! Connections: how many, and for how long they may be silent.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
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
use super::sending::{Sending, Watched};
use crate::web::Web;

/// The head of the next request has to be there within this time, so a connection that is kept open is closed after it. Two of the usual
/// scrape intervals.
const NEXT_REQUEST: Duration = Duration::from_secs(30);

/// A client that takes nothing for so long is given up, also while TLS begins or ends.
const STALLED: Duration = Duration::from_secs(10);

/// Most bytes of a request's head, and so of what a connection holds for a client that never ends it; Prometheus sends some hundred. With
/// as many bytes of an answer in its own buffers a connection waits for the client.
const MAX_BUFFER: usize = 32 << 10;

/// How long answers that have begun may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// Answers until the sender of `stopped` is gone; requests that have begun are finished. While `connections` has no room, who comes
/// waits for a connection to end, whichever listener has it.
pub async fn answer(
    listener: Listener,
    pages: Router,
    web: Arc<Web>,
    connections: Arc<Semaphore>,
    mut stopped: watch::Receiver<()>,
) {
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
    // Who comes now is told so at once.
    drop(listener);
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
    let sending = Arc::new(Sending::default());
    let stream = Watched::new(stream, Arc::clone(&sending));
    let (pages, own) = (TowerToHyperService::new(pages), Arc::clone(&sending));
    let service = service_fn(move |request| {
        let (answer, sending) = (pages.call(request), Arc::clone(&own));
        async move { Ok::<_, Infallible>(sending.begin(answer.await?)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = watcher.watch(connection) => Ok(ended?),
        () = sending.is_overdue() => bail!("its client takes too long for an answer"),
    }
}
