//! Heads on their way from a client, and answers on their way to it. Each has a deadline, however many bytes come or are taken until
//! then, and an answer's room is given back when the client has all of it: what the body has handed over may still be in the buffers of
//! the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::body::{Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::room::Unsent;

/// So long a client may take for an answer. Prometheus gives a scrape up after as much, unless `scrape_timeout` is set.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long a client may take for the head of a request, from its first byte on; for the first one from the beginning of the connection on.
const HEAD: Duration = Duration::from_secs(30);

/// The requests of one connection, one after the other.
#[derive(Debug)]
pub(super) struct Sending(watch::Sender<State>);

#[derive(Debug)]
struct State {
    /// The connection ends then, unless the head has come.
    head_until: Option<Instant>,
    /// The last two bytes that came, carriage returns aside: an empty line ends a head.
    tail: [u8; 2],
    /// A request is there, and its answer is not.
    is_asked: bool,
    answer: Option<Answer>,
    /// The connection waits for its client since then, unless it has something to answer.
    since: Instant,
    has_asked: bool,
    /// Another needs its room.
    gives_way: bool,
}

#[derive(Debug)]
struct Answer {
    /// The connection ends then.
    until: Instant,
    /// The connection has all of it.
    is_whole: bool,
    _room: Option<Unsent>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// The client has taken too long for a head or an answer.
    Overdue,
    /// It waited for its client, and there was no room for another.
    GivesWay,
}

impl State {
    fn is_idle(&self) -> bool {
        !self.is_asked && self.answer.is_none()
    }

    /// What is overdue first.
    fn until(&self) -> Option<Instant> {
        let answer = self.answer.as_ref().map(|answer| answer.until);
        self.head_until.into_iter().chain(answer).min()
    }
}

impl Sending {
    /// Of a connection that begins.
    pub(super) fn new() -> Self {
        let since = Instant::now();
        Self(watch::Sender::new(State {
            head_until: Some(since + HEAD),
            tail: *b"\n\n",
            is_asked: false,
            answer: None,
            since,
            has_asked: false,
            gives_way: false,
        }))
    }

    /// Bytes have come. Those that come before an answer is taken are not timed as a head until then: nobody reads on.
    fn received(&self, bytes: &[u8]) {
        self.0.send_if_modified(|now| {
            for byte in bytes.iter().filter(|byte| **byte != b'\r') {
                now.tail = [now.tail[1], *byte];
            }
            let is_first = now.is_idle() && now.head_until.is_none();
            if is_first {
                now.head_until = Some(Instant::now() + HEAD);
            }
            is_first
        });
    }

    /// A head is whole.
    pub(super) fn asked(&self) {
        self.0.send_modify(|now| {
            (now.head_until, now.is_asked, now.has_asked, now.gives_way) = (None, true, true, false);
        });
    }

    /// An answer begins; its time is part of that of the one before if the client has not taken that yet.
    pub(super) fn begin(self: Arc<Self>, mut answer: Response) -> hyper::Response<Sent> {
        let room = answer.extensions_mut().remove();
        self.0.send_modify(|now| {
            let until = now.answer.take().map_or_else(|| Instant::now() + PATIENCE, |before| before.until);
            let answer = Some(Answer { until, is_whole: false, _room: room });
            (now.is_asked, now.answer) = (false, answer);
        });
        answer.map(|body| Sent { body, sending: self })
    }

    /// The buffers of the connection are empty. Of the next head something may be there already.
    pub(super) fn flushed(&self) {
        self.0.send_if_modified(|now| {
            let is_taken = now.answer.take_if(|answer| answer.is_whole).is_some();
            if is_taken {
                now.since = Instant::now();
                now.head_until = (!now.is_asked && now.tail != *b"\n\n").then(|| now.since + HEAD);
            }
            is_taken
        });
    }

    /// Whether it has been asked for anything, and since when it waits for its client; `None` while it does not.
    pub(super) fn idle(&self) -> Option<(bool, Instant)> {
        let now = self.0.borrow();
        (now.is_idle() && !now.gives_way).then_some((now.has_asked, now.since))
    }

    /// Ends the connection, unless its client asks first.
    pub(super) fn give_way(&self) {
        self.0.send_modify(|now| now.gives_way = true);
    }

    /// Waits until a client has taken too long, or has to give way.
    pub(super) async fn is_over(&self) -> Over {
        let mut now = self.0.subscribe();
        loop {
            let until = {
                let now = now.borrow_and_update();
                if now.gives_way && now.is_idle() {
                    return Over::GivesWay;
                }
                now.until()
            };
            // The sender is there as long as this is.
            match until {
                None => _ = now.changed().await,
                Some(until) => {
                    if timeout_at(until, now.changed()).await.is_err() {
                        return Over::Overdue;
                    }
                }
            }
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(super) struct Sent {
    body: Body,
    sending: Arc<Sending>,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.sending.0.send_if_modified(|now| {
            if let Some(answer) = &mut now.answer {
                answer.is_whole = true;
            }
            // The deadline is the same.
            false
        });
    }
}

/// A connection that tells when bytes come, and when its buffers are empty.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    sending: Arc<Sending>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, sending: Arc<Sending>) -> Self {
        Self { stream, sending }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (own, before) = (self.get_mut(), buffer.filled().len());
        let read = Pin::new(&mut own.stream).poll_read(cx, buffer);
        if let Some(bytes @ [_, ..]) = buffer.filled().get(before..) {
            own.sending.received(bytes);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper asks for it only once it has written all that it holds.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let own = self.get_mut();
        let flushed = Pin::new(&mut own.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            own.sending.flushed();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::room::Room;

    fn until(sending: &Sending) -> Option<Instant> {
        sending.0.borrow().until()
    }

    fn asked() -> Arc<Sending> {
        let sending = Arc::new(Sending::new());
        sending.asked();
        sending
    }

    #[tokio::test]
    async fn room_is_given_back_when_the_client_has_all() {
        let (room, sending) = (Room::new(1), asked());
        let is_free = || room.enter().is_some();
        let mut all = Vec::new();
        while let Some((_, unsent)) = room.enter() {
            all.push(unsent);
        }
        let body = Arc::clone(&sending).begin(all.pop().unwrap().of(Response::default()));
        assert!(!is_free());
        sending.flushed();
        assert!(!is_free(), "the body has more");
        drop(body);
        assert!(!is_free(), "the buffers of the connection have some");
        sending.flushed();
        assert!(is_free() && until(&sending).is_none());
    }

    #[tokio::test]
    async fn who_asks_again_has_no_more_time_for_what_was_asked_before() {
        let sending = asked();
        drop(Arc::clone(&sending).begin(Response::default()));
        let first = until(&sending).unwrap();
        drop(Arc::clone(&sending).begin(Response::default()));
        assert_eq!(until(&sending), Some(first));
        sending.flushed();
        drop(Arc::clone(&sending).begin(Response::default()));
        assert!(until(&sending).unwrap() >= first);
    }

    #[tokio::test]
    async fn a_head_has_a_deadline_from_its_first_byte_on() {
        let sending = Arc::new(Sending::new());
        let first = until(&sending).unwrap();
        sending.received(b"x");
        assert_eq!(until(&sending), Some(first));
        sending.asked();
        // The head of a request that comes before the answer is not looked at yet.
        sending.received(b"x");
        assert_eq!(until(&sending), None);
        let answer = Arc::clone(&sending).begin(Response::default());
        let of_answer = until(&sending).unwrap();
        sending.received(b"x");
        drop(answer);
        assert_eq!(until(&sending), Some(of_answer));
        sending.flushed();
        let second = until(&sending).unwrap();
        assert!(second >= first, "what came before is the beginning of a head");
        sending.received(b"\r\n\r\n");
        assert_eq!(until(&sending), Some(second));
        sending.asked();
        drop(Arc::clone(&sending).begin(Response::default()));
        sending.flushed();
        assert_eq!(until(&sending), None, "it is idle");
        sending.received(b"x");
        assert!(until(&sending).unwrap() >= second);
    }

    #[tokio::test]
    async fn the_end_of_a_head_is_known_however_it_comes() {
        for (parts, is_whole) in [
            ([b"x\r\n\r\n".as_slice(), b"", b""], true),
            ([b"x\r\n", b"\r", b"\n"], true),
            ([b"x\n", b"\n", b""], true),
            ([b"x\r\n\r\nGET", b" /", b""], false),
            ([b"x\r\n\r\n", b"G", b""], false),
            ([b"x\r\n\r\n", b"GET / HTTP/1.1\r", b"\n"], false),
        ] {
            let sending = asked();
            parts.iter().for_each(|part| sending.received(part));
            drop(Arc::clone(&sending).begin(Response::default()));
            sending.flushed();
            assert_eq!(until(&sending).is_none(), is_whole, "{parts:?}");
        }
    }
}
