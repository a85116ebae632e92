//! Work that takes a CPU for a while, by whoever asks: one at a time, and a few who wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// Who waits beside the one whose turn it is. With passwords of cost 10 the last one of them waits for half a second.
const MAX_WAITING: usize = 8;

/// The way to the work.
#[derive(Debug)]
pub(super) struct Gate {
    /// Who works, and who waits.
    room: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// The turn to work. Whoever does not want it any more gives it back by dropping it.
#[derive(Debug)]
pub(super) struct Turn {
    _room: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
}

impl Default for Gate {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(1 + MAX_WAITING)), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Gate {
    /// Waits for its turn; `None` at once when too many wait already.
    pub(super) async fn enter(&self) -> Option<Turn> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        // The semaphore is never closed.
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        Some(Turn { _room: room, _turn: turn })
    }
}

impl Turn {
    /// Works on a thread of its own. The turn is over when the work is, even if nobody waits for it any more. `None` when the work
    /// panics.
    pub(super) async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let work = spawn_blocking(move || {
            let done = work();
            drop(self);
            done
        });
        work.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;

    const CROWD: usize = 500;

    /// How many work, and how many did at once at most.
    #[derive(Default)]
    struct Count {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    #[tokio::test]
    async fn of_a_crowd_one_works_and_a_few_wait() {
        let (gate, count) = (Arc::new(Gate::default()), Arc::new(Count::default()));
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let mut crowd = JoinSet::new();
        for _ in 0..CROWD {
            let (gate, count, held) = (Arc::clone(&gate), Arc::clone(&count), Arc::clone(&held));
            crowd.spawn(async move {
                let turn = gate.enter().await?;
                let work = move || {
                    let now = count.now.fetch_add(1, Ordering::SeqCst) + 1;
                    count.most.fetch_max(now, Ordering::SeqCst);
                    // Until the sender is gone.
                    _ = held.lock().unwrap().recv();
                    count.now.fetch_sub(1, Ordering::SeqCst);
                };
                turn.work(work).await
            });
        }
        // While the first one works all others that there is no room for are told so.
        for _ in 0..CROWD - 1 - MAX_WAITING {
            assert_eq!(crowd.join_next().await.unwrap().unwrap(), None);
        }
        drop(release);
        let done = crowd.join_all().await;
        assert_eq!(done, [Some(()); 1 + MAX_WAITING]);
        assert_eq!(count.most.load(Ordering::SeqCst), 1);
        assert!(gate.enter().await.is_some());
    }

    #[tokio::test]
    async fn who_leaves_makes_room_and_who_works_does_not() {
        let gate = Gate::default();
        let (release, held) = mpsc::channel::<()>();
        let work = gate.enter().await.unwrap().work(move || held.recv());
        // The one who asked is gone as soon as the work has begun.
        assert!(timeout(Duration::ZERO, work).await.is_err());
        for _ in 0..2 * MAX_WAITING {
            let next = gate.enter();
            assert!(timeout(Duration::ZERO, next).await.is_err(), "a second one works");
        }
        drop(release);
        assert!(gate.enter().await.is_some());
    }

    #[tokio::test]
    async fn work_that_panics_ends_its_turn() {
        let gate = Gate::default();
        // Told to nobody, as the lines of a test are its own.
        let work = || std::panic::resume_unwind(Box::new(()));
        assert_eq!(gate.enter().await.unwrap().work::<()>(work).await, None);
        assert!(gate.enter().await.is_some());
    }
}
