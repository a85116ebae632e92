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
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use super::Listener;
use super::crowd::Crowd;
use super::sending::{Over, Sending, Watched};
use crate::web::Web;

/// A connection that is kept open is closed when no whole head of a request has come for so long; one that has begun has less time
/// ([`Sending`]). Two of the longest usual scrape intervals, and four of those in the examples: a scrape must not meet the end of its
/// connection.
const NEXT_REQUEST: Duration = Duration::from_secs(120);

/// A client that takes nothing for so long is given up, also while TLS begins or ends.
const STALLED: Duration = Duration::from_secs(10);

/// Most bytes of a request's head, and so of what a connection holds for a client that never ends it; Prometheus sends some hundred. With
/// as many bytes of an answer in its own buffers a connection waits for the client.
const MAX_BUFFER: usize = 32 << 10;

/// How long answers that have begun may take after the end was asked for.
const GRACE: Duration = Duration::from_secs(5);

/// Answers until the sender of `stopped` is gone; requests that have begun are finished. While there is no room in `crowd`, a connection
/// that waits for its client gives way to who comes, whichever listener has it.
pub async fn answer(
    listener: Listener,
    pages: Router,
    web: Arc<Web>,
    crowd: Arc<Crowd>,
    mut stopped: watch::Receiver<()>,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let next = async {
            let stream = listener.accept().await?;
            Ok::<_, io::Error>((stream, Arc::clone(&crowd).enter().await))
        };
        let accepted = tokio::select! {
            next = next => next,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, seat)) => {
                // Who can open a socket in the file system is on this machine.
                let tls = if listener.is_tcp() { web.tls() } else { None };
                let (pages, watcher) = (pages.clone(), graceful.watcher());
                tokio::spawn(async move {
                    let sending = Arc::clone(&seat.sending);
                    if let Err(error) = converse(stream, tls, pages, watcher, sending).await {
                        tracing::debug!(error = format!("{error:#}"), "a connection ended");
                    }
                    drop(seat);
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

/// The life of one connection.
async fn converse(
    stream: Pin<Box<dyn Stream>>,
    tls: Option<Arc<ServerConfig>>,
    pages: Router,
    watcher: Watcher,
    sending: Arc<Sending>,
) -> anyhow::Result<()> {
    tokio::select! {
        ended = serve(stream, tls, pages, watcher, Arc::clone(&sending)) => ended,
        over = sending.is_over() => match over {
            Over::Overdue => bail!("its client takes too long for a head or an answer"),
            Over::GivesWay => bail!("its client asks for nothing, and another needs its room"),
        },
    }
}

async fn serve(
    stream: Pin<Box<dyn Stream>>,
    tls: Option<Arc<ServerConfig>>,
    pages: Router,
    watcher: Watcher,
    sending: Arc<Sending>,
) -> anyhow::Result<()> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALLED));
    let stream = Box::pin(stream);
    let stream: Pin<Box<dyn Stream>> = match tls {
        None => stream,
        Some(tls) => Box::pin(timeout(STALLED, TlsAcceptor::from(tls).accept(stream)).await??),
    };
    let stream = Watched::new(stream, Arc::clone(&sending));
    let pages = TowerToHyperService::new(pages);
    let service = service_fn(move |request| {
        sending.asked();
        let (answer, sending) = (pages.call(request), Arc::clone(&sending));
        async move { Ok::<_, Infallible>(sending.begin(answer.await?)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    Ok(watcher.watch(connection).await?)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::task::JoinHandle;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// The last of these would end it as the end of the exporter does.
    fn connection() -> (DuplexStream, JoinHandle<anyhow::Result<()>>, GracefulShutdown) {
        let (client, server) = tokio::io::duplex(MAX_BUFFER);
        let pages = Router::new().route("/", get(async || "here"));
        let graceful = GracefulShutdown::new();
        let server = tokio::spawn(converse(
            Box::pin(server),
            None,
            pages,
            graceful.watcher(),
            Arc::new(Sending::new()),
        ));
        (client, server, graceful)
    }

    async fn ask(client: &mut DuplexStream) -> io::Result<()> {
        client.write_all(REQUEST).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            if client.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_scrape_each_minute_keeps_its_connection() {
        let (mut client, _server, _graceful) = connection();
        for _scrape in 0..5 {
            ask(&mut client).await.unwrap();
            sleep(Duration::from_secs(60)).await;
        }
        // Nobody asks any more.
        sleep(NEXT_REQUEST).await;
        assert!(ask(&mut client).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_begun_has_less_time() {
        let head = Duration::from_secs(30);
        for n_before in [0, 1] {
            let (mut client, server, _graceful) = connection();
            for _request in 0..n_before {
                ask(&mut client).await.unwrap();
                sleep(head * 2).await;
            }
            client.write_all(&REQUEST[..9]).await.unwrap();
            sleep(head / 2).await;
            client.write_all(&REQUEST[9..10]).await.unwrap();
            assert!(!server.is_finished());
            sleep(head / 2 + Duration::from_millis(1)).await;
            assert!(server.await.unwrap().is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asks_is_not_waited_for_as_long() {
        let (_client, server, _graceful) = connection();
        sleep(Duration::from_secs(31)).await;
        assert!(server.await.unwrap().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_behind_another_has_as_little_time() {
        let (mut client, server, _graceful) = connection();
        client.write_all(&[REQUEST, &REQUEST[..9]].concat()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"here") {
            assert!(client.read_buf(&mut answer).await.unwrap() > 0);
        }
        sleep(Duration::from_secs(31)).await;
        assert!(server.is_finished());
    }
}
