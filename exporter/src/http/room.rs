//! How many answers there may be at once: while they are made, and until their clients have taken them.

use std::sync::Arc;

use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many times as many answers as may be made at once may wait for their clients: a few that read slowly refuse nobody.
const UNSENT: usize = 4;

/// Room for answers of one kind.
#[derive(Debug)]
pub(super) struct Room {
    making: Arc<Semaphore>,
    unsent: Arc<Semaphore>,
}

/// Held while an answer is made.
#[derive(Debug)]
pub(super) struct Making {
    _permit: OwnedSemaphorePermit,
}

/// Held from then on until the client has all of the answer, which is in memory as a whole.
#[derive(Debug, Clone)]
pub(super) struct Unsent {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Room {
    /// For so many at once.
    pub(super) fn new(n: usize) -> Self {
        Self { making: Arc::new(Semaphore::new(n)), unsent: Arc::new(Semaphore::new(UNSENT * n)) }
    }

    /// `None` when there is none left.
    pub(super) fn enter(&self) -> Option<(Making, Unsent)> {
        let making = Making { _permit: Arc::clone(&self.making).try_acquire_owned().ok()? };
        let permit = Arc::clone(&self.unsent).try_acquire_owned().ok()?;
        Some((making, Unsent { _permit: Arc::new(permit) }))
    }
}

impl Unsent {
    /// Goes with this answer.
    pub(super) fn of(self, mut answer: Response) -> Response {
        answer.extensions_mut().insert(self);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_made_and_who_is_not_taken_both_have_a_limit() {
        let room = Room::new(2);
        let making = [room.enter().unwrap(), room.enter().unwrap()];
        assert!(room.enter().is_none());
        let mut unsent: Vec<Unsent> = making.into_iter().map(|(_, unsent)| unsent).collect();
        while let Some((_, next)) = room.enter() {
            unsent.push(next);
        }
        assert_eq!(unsent.len(), 2 * UNSENT);
        unsent.pop();
        assert!(room.enter().is_some());
    }
}
