//! How much emptyDir volumes on disk hold: the kernel limits them not, so they are looked at from time to time, as the kubelet does.

use std::path::PathBuf;
use std::time::Duration;

use super::walk::{BRANCHES_MAX, Progress, Walk};
use crate::plan::Places;
use crate::spec::{PodSpec, VolumeSource};

/// Time between the end of a look and the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// How far a look goes in one turn of the supervisor's loop; well below a millisecond when nothing is read from the disk.
const STEPS: usize = 256;

/// The volumes with a limit.
#[derive(Debug)]
pub(super) struct Volumes {
    limited: Vec<(String, PathBuf, u64)>,
    /// When to look; stays in the past during a look, so that the loop does not wait.
    next: Duration,
    /// Which of the volumes is looked at, and how far.
    idx: usize,
    walk: Option<Walk>,
}

impl Volumes {
    pub(super) fn of(spec: &PodSpec, places: &Places) -> Self {
        let limited = spec.volumes.iter().filter_map(|volume| match volume.source {
            VolumeSource::EmptyDir { is_memory: false, size_limit_bytes: Some(limit) } => {
                Some((volume.name.clone(), places.volume(&volume.name), limit))
            }
            _ => None,
        });
        Self::new(limited.collect())
    }

    fn new(limited: Vec<(String, PathBuf, u64)>) -> Self {
        Self { limited, next: Duration::ZERO, idx: 0, walk: None }
    }

    /// When to look again, or go on; `None` when nothing is limited.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.limited.is_empty()).then_some(self.next)
    }

    /// Looks a bit further, if it is time; the reason for an eviction.
    pub(super) fn check(&mut self, now: Duration) -> Option<String> {
        if now < self.next {
            return None;
        }
        let (name, path, limit) = self.limited.get(self.idx)?;
        let mut walk = self.walk.take().unwrap_or_else(|| Walk::open(path));
        let progress = walk.go_on(STEPS);
        let used = walk.bytes();
        let excess = match progress {
            // What comes would not change it, and may never end.
            _ if used > *limit => {
                let more = if progress == Progress::Finished { "" } else { " or more" };
                format!("volume {name} holds {used} bytes{more}, and its emptyDir.sizeLimit is {limit}")
            }
            Progress::TooDeep => format!(
                "volume {name} has a directory whose path branches more than {BRANCHES_MAX} times, \
                 too often to be measured against its emptyDir.sizeLimit"
            ),
            Progress::Unfinished => {
                self.walk = Some(walk);
                return None;
            }
            Progress::Finished => {
                self.idx += 1;
                if self.idx == self.limited.len() {
                    self.rest(now);
                }
                return None;
            }
        };
        self.rest(now);
        Some(excess)
    }

    /// Begins anew after a while.
    fn rest(&mut self, now: Duration) {
        self.idx = 0;
        self.next = now.saturating_add(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_volume_that_holds_too_much_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("below")).unwrap();
        fs::write(temp.path().join("below/file"), vec![1; 100_000]).unwrap();
        // What a link leads to is not in the volume.
        std::os::unix::fs::symlink("/", temp.path().join("below/root")).unwrap();
        std::os::unix::fs::symlink("..", temp.path().join("below/up")).unwrap();
        let mut volumes = Volumes::new(vec![("data".to_owned(), temp.path().to_owned(), 1 << 20)]);
        assert_eq!(volumes.check(Duration::from_secs(5)), None);
        volumes.limited[0].2 = 50_000;
        assert_eq!(volumes.check(Duration::from_secs(14)), None, "too early");
        let message = volumes.check(Duration::from_secs(15)).unwrap();
        assert!(message.starts_with("volume data holds 1") && message.ends_with("is 50000"), "{message}");
        assert_eq!(volumes.due(), Some(Duration::from_secs(25)));
    }

    #[test]
    fn a_look_takes_as_many_turns_as_it_needs() {
        let temp = tempfile::tempdir().unwrap();
        let (many, big) = (temp.path().join("many"), temp.path().join("big"));
        for directory in [&many, &big] {
            fs::create_dir(directory).unwrap();
        }
        for n in 0..2 * STEPS {
            fs::write(many.join(n.to_string()), "").unwrap();
        }
        fs::write(big.join("file"), vec![1; 100_000]).unwrap();
        let limited = [(&many, 1 << 20), (&big, 50_000)];
        let limited = limited.map(|(path, limit)| ("v".to_owned(), path.clone(), limit));
        let mut volumes = Volumes::new(limited.to_vec());
        for _turn in 0..3 {
            assert_eq!(volumes.check(Duration::from_secs(1)), None);
            assert_eq!(volumes.due(), Some(Duration::ZERO), "it goes on at once");
        }
        let message = volumes.check(Duration::from_secs(1)).unwrap();
        assert!(message.ends_with("is 50000"), "{message}");
        assert_eq!(volumes.due(), Some(Duration::from_secs(11)));
        // A limit that is passed is told before the rest is looked at, and the next look begins anew.
        for n in 0..2 * STEPS {
            fs::write(many.join(n.to_string()), "x").unwrap();
        }
        volumes.limited[0].2 = 1;
        let message = volumes.check(Duration::from_secs(11)).unwrap();
        assert!(message.ends_with(" bytes or more, and its emptyDir.sizeLimit is 1"), "{message}");
        assert!(volumes.walk.is_none());
    }
}
