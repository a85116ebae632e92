//! Writable layers of runs that are over, removed a part at a time: the supervisor has one thread, and what containers write into their
//! roots, be it millions of files, must not hold it up.
//!
//! They are below the directory of the pod, and go with it if the supervisor does not come to an end with them.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::removal::Emptying;

/// How much is removed in one turn of the supervisor's loop. Most layers hold less, and go at once.
const STEPS: usize = 256;

/// Layers that nobody uses.
#[derive(Debug, Default)]
pub(super) struct OldLayers {
    waiting: VecDeque<PathBuf>,
    /// How far the first is.
    first: Option<Emptying>,
}

impl OldLayers {
    /// Removes these as well.
    pub(super) fn extend(&mut self, layers: impl IntoIterator<Item = PathBuf>) {
        for layer in layers {
            if !self.waiting.contains(&layer) {
                self.waiting.push_back(layer);
            }
        }
    }

    /// When to go on, which is at once; `None` when there is nothing to remove.
    pub(super) fn due(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(Duration::ZERO)
    }

    /// Removes a bit more. What fails is left for whoever names it again.
    pub(super) fn go_on(&mut self) {
        let Some(layer) = self.waiting.front() else { return };
        match empty_more(layer, self.first.take()) {
            Ok(Some(unfinished)) => self.first = Some(unfinished),
            Ok(None) | Err(_) => drop(self.waiting.pop_front()),
        }
    }
}

/// Goes on with a layer; `None` when it is gone.
fn empty_more(layer: &Path, begun: Option<Emptying>) -> io::Result<Option<Emptying>> {
    let mut emptying = match begun {
        Some(begun) => begun,
        None => Emptying::open(layer)?,
    };
    if !emptying.go_on(STEPS)? {
        return Ok(Some(emptying));
    }
    fs::remove_dir(layer)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::rootfs::{other_layers, set_aside};

    /// A layer of so many files.
    fn layer(bundle: &Path, name: &str, n_files: usize) -> PathBuf {
        let layer = bundle.join("scratch").join(name);
        fs::create_dir_all(layer.join("upper")).unwrap();
        for n in 0..n_files {
            fs::write(layer.join("upper").join(n.to_string()), "").unwrap();
        }
        layer
    }

    #[test]
    fn a_large_layer_goes_in_many_turns_and_a_small_one_in_one() {
        let bundle = tempfile::tempdir().unwrap();
        let bundle = bundle.path();
        let (large, small) = (layer(bundle, "0", 3 * STEPS), layer(bundle, "1", 10));
        let kept = layer(bundle, "2", 1);
        let mut old = OldLayers::default();
        assert_eq!(old.due(), None);
        old.extend([large.clone()]);
        let mut n_left = 3 * STEPS;
        for _turn in 0..3 {
            // As the next runs do.
            old.extend(other_layers(bundle, 2).unwrap());
            old.go_on();
            let n_files = fs::read_dir(large.join("upper")).unwrap().count();
            assert!(n_files < n_left && n_files + STEPS >= n_left, "{n_files} of {n_left}");
            assert!(small.exists() && old.due() == Some(Duration::ZERO), "it goes on at once");
            n_left = n_files;
        }
        old.go_on();
        assert!(!large.exists() && small.exists());
        old.go_on();
        assert!(!small.exists() && old.due().is_none());
        assert!(kept.join("upper/0").exists());
    }

    #[test]
    fn a_layer_that_cannot_be_removed_holds_up_no_other() {
        let bundle = tempfile::tempdir().unwrap();
        let mut old = OldLayers::default();
        old.extend([bundle.path().join("gone"), layer(bundle.path(), "1", 1)]);
        old.go_on();
        old.go_on();
        assert_eq!((old.due(), other_layers(bundle.path(), 7).unwrap().len()), (None, 0));
    }

    #[test]
    fn a_run_that_is_made_anew_leaves_its_layers_to_be_removed() {
        let bundle = tempfile::tempdir().unwrap();
        let mut aside = Vec::new();
        for n_files in [STEPS * 2, 3] {
            let own = layer(bundle.path(), "5", n_files);
            aside.push(set_aside(bundle.path(), 5).unwrap());
            assert!(!own.exists());
        }
        assert!(set_aside(bundle.path(), 5).is_err());
        let kept = layer(bundle.path(), "5", 1);
        let mut others = other_layers(bundle.path(), 5).unwrap();
        others.sort();
        assert_eq!(others, aside);
        let mut old = OldLayers::default();
        old.extend(others);
        while old.due().is_some() {
            old.go_on();
        }
        assert!(aside.iter().all(|layer| !layer.exists()) && kept.join("upper/0").exists());
    }
}
