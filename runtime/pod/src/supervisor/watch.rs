//! How much emptyDir volumes on disk hold: the kernel limits them not, so they are looked at from time to time, as the kubelet does.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::plan::Places;
use crate::spec::{PodSpec, VolumeSource};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(10);
/// Bytes in a block of stat(2).
const BLOCK: u64 = 512;

/// The volumes with a limit.
#[derive(Debug)]
pub(super) struct Volumes {
    limited: Vec<(String, PathBuf, u64)>,
    next: Duration,
}

impl Volumes {
    pub(super) fn of(spec: &PodSpec, places: &Places) -> Self {
        let limited = spec.volumes.iter().filter_map(|volume| match volume.source {
            VolumeSource::EmptyDir { is_memory: false, size_limit_bytes: Some(limit) } => {
                Some((volume.name.clone(), places.volume(&volume.name), limit))
            }
            _ => None,
        });
        Self { limited: limited.collect(), next: Duration::ZERO }
    }

    /// When to look again; `None` when nothing is limited.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.limited.is_empty()).then_some(self.next)
    }

    /// Looks, if it is time; the reason for an eviction.
    pub(super) fn check(&mut self, now: Duration) -> Option<String> {
        if self.limited.is_empty() || now < self.next {
            return None;
        }
        self.next = now.saturating_add(INTERVAL);
        self.limited.iter().find_map(|(name, path, limit)| {
            let used = size(path);
            (used > *limit)
                .then(|| format!("volume {name} holds {used} bytes, and its emptyDir.sizeLimit is {limit}"))
        })
    }
}

/// Bytes on disk of everything below a directory; links are not followed.
fn size(directory: &Path) -> u64 {
    let mut total = 0;
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            total += metadata.blocks() * BLOCK;
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_holds_too_much_is_named() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("below")).unwrap();
        fs::write(temp.path().join("below/file"), vec![1; 100_000]).unwrap();
        // What a link leads to is not in the volume.
        std::os::unix::fs::symlink("/", temp.path().join("below/root")).unwrap();
        std::os::unix::fs::symlink("..", temp.path().join("below/up")).unwrap();
        let mut volumes = Volumes {
            limited: vec![("data".to_owned(), temp.path().to_owned(), 1 << 20)],
            next: Duration::ZERO,
        };
        assert_eq!(volumes.check(Duration::from_secs(5)), None);
        volumes.limited[0].2 = 50_000;
        assert_eq!(volumes.check(Duration::from_secs(14)), None, "too early");
        let message = volumes.check(Duration::from_secs(15)).unwrap();
        assert!(message.starts_with("volume data holds 1") && message.ends_with("is 50000"), "{message}");
        assert_eq!(volumes.due(), Some(Duration::from_secs(25)));
    }
}
