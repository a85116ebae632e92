//! Who is connected, on all listeners together, and who goes when there is no room for another.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::sending::Sending;

/// While every connection has a request to be answered, it is looked so often whether one of them waits for its client again.
const LOOK: Duration = Duration::from_millis(100);

/// The connections of now.
#[derive(Debug)]
pub struct Crowd {
    room: Arc<Semaphore>,
    there: Mutex<Vec<Arc<Sending>>>,
}

/// The place of one connection; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    crowd: Arc<Crowd>,
    pub(super) sending: Arc<Sending>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Crowd {
    /// With room for so many.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { room: Arc::new(Semaphore::new(max)), there: Mutex::default() })
    }

    /// Makes room for another where there is none: who keeps a connection and asks for nothing must not lock out who does.
    pub(super) async fn enter(self: Arc<Self>) -> Seat {
        let permit = loop {
            if self.room.available_permits() == 0 {
                self.end_one();
            }
            if let Ok(permit) = timeout(LOOK, Arc::clone(&self.room).acquire_owned()).await {
                // The semaphore is never closed.
                break permit.ok();
            }
        };
        let sending = Arc::new(Sending::new());
        self.there.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&sending));
        Seat { crowd: self, sending, _permit: permit }
    }

    /// Ends one that waits for its client: of those that never asked for anything the oldest, else the one that is idle longest.
    fn end_one(&self) {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = there.iter().filter_map(|sending| Some((sending.idle()?, sending)));
        if let Some((_, longest)) = idle.min_by_key(|(idle, _)| *idle) {
            longest.give_way();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut there = self.crowd.there.lock().unwrap_or_else(PoisonError::into_inner);
        there.retain(|sending| !Arc::ptr_eq(sending, &self.sending));
    }
}

#[cfg(test)]
mod tests {
    use axum::response::Response;

    use super::*;

    /// Whether somebody who comes now has a place before anybody has left by himself.
    async fn has_room(crowd: &Arc<Crowd>) -> Option<Seat> {
        timeout(LOOK * 5, Arc::clone(crowd).enter()).await.ok()
    }

    /// Leaves when it is told to.
    fn leaves(seat: Seat) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move { _ = seat.sending.is_over().await })
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asked_goes_first_and_then_who_is_idle_longest() {
        let crowd = Crowd::new(3);
        let mut there = Vec::new();
        for has_asked in [true, false, true] {
            let seat = has_room(&crowd).await.unwrap();
            if has_asked {
                seat.sending.asked();
                drop(Arc::clone(&seat.sending).begin(Response::default()));
                seat.sending.flushed();
            }
            there.push(leaves(seat));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut newcomers = Vec::new();
        for gone in [[false, true, false], [true, true, false], [true, true, true]] {
            let seat = has_room(&crowd).await.unwrap();
            seat.sending.asked();
            newcomers.push(seat);
            tokio::task::yield_now().await;
            assert_eq!(there.iter().map(tokio::task::JoinHandle::is_finished).collect::<Vec<_>>(), gone);
        }
        // All have asked, and nobody is sent away before the answer.
        assert!(has_room(&crowd).await.is_none());
        drop(Arc::clone(&newcomers[1].sending).begin(Response::default()));
        newcomers[1].sending.flushed();
        let answered = leaves(newcomers.remove(1));
        assert!(has_room(&crowd).await.is_some() && answered.is_finished());
        drop(newcomers);
        assert_eq!(crowd.there.lock().unwrap().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_just_in_time_stays() {
        let crowd = Crowd::new(1);
        let seat = has_room(&crowd).await.unwrap();
        seat.sending.give_way();
        seat.sending.asked();
        assert!(timeout(LOOK, seat.sending.is_over()).await.is_err());
        assert!(has_room(&crowd).await.is_none());
    }
}
