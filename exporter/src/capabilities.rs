//! Gives up what only the start takes (capabilities(7)). The probes are attached and their maps open by then, and the kernel
//! asks for no capability when a map is read or written through an open descriptor.

use std::fmt;
use std::str::FromStr;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::sys::prctl::set_no_new_privs;
use thiserror::Error;

/// Capabilities that stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept(CapsHashSet);

/// Capabilities could not be given up, or not be kept.
#[derive(Debug, Error)]
pub enum DropError {
    /// It was asked to keep what is not there.
    #[error("--capabilities.keep: this process does not have {0}")]
    Absent(Capability),
    /// The kernel refuses.
    #[error("cannot drop the capabilities: set {set:?}")]
    Refused {
        /// Which of the thread's sets.
        set: CapSet,
        /// The cause.
        source: CapsError,
    },
    /// The kernel refuses.
    #[error("cannot set no_new_privs")]
    NoNewPrivs(#[source] Errno),
}

impl FromStr for Kept {
    type Err = String;

    /// `none`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::default());
        }
        let one = |name: &str| {
            let wrong = || format!("{name:?} is no capability; write none, or names as CAP_DAC_READ_SEARCH");
            name.parse().ok().ok_or_else(wrong)
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "none");
        }
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by_key(|capability| capability.index());
        let names: Vec<_> = all.into_iter().map(ToString::to_string).collect();
        write!(f, "{}", names.join(","))
    }
}

/// Drops all but the kept capabilities of the calling thread, and of the threads that it starts from here on. Other threads
/// keep theirs: there must be none yet.
///
/// The bounding set takes `CAP_SETPCAP`. Without that it stays, and is of no use: after no_new_privs no program gets more
/// than this process has.
///
/// # Errors
/// When one that is to be kept is not there, or the kernel refuses.
pub fn drop_all_but(kept: &Kept) -> Result<(), DropError> {
    let of = |set| move |source| DropError::Refused { set, source };
    let permitted = caps::read(None, CapSet::Permitted).map_err(of(CapSet::Permitted))?;
    if let Some(absent) = kept.0.difference(&permitted).min_by_key(|capability| capability.index()) {
        return Err(DropError::Absent(*absent));
    }
    if permitted.contains(&Capability::CAP_SETPCAP) {
        let bounding = caps::read(None, CapSet::Bounding).map_err(of(CapSet::Bounding))?;
        for capability in bounding.difference(&kept.0) {
            caps::drop(None, CapSet::Bounding, *capability).map_err(of(CapSet::Bounding))?;
        }
    }
    caps::clear(None, CapSet::Ambient).map_err(of(CapSet::Ambient))?;
    caps::clear(None, CapSet::Inheritable).map_err(of(CapSet::Inheritable))?;
    // What is effective must be permitted at any moment.
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept.0).map_err(of(set))?;
    }
    set_no_new_privs().map_err(DropError::NoNewPrivs)?;
    tracing::info!(%kept, "capabilities are dropped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let of = |text: &str| text.parse::<Kept>().map(|kept| kept.to_string());
        assert_eq!(of("none"), Ok("none".into()));
        let two = "CAP_SYS_PTRACE,CAP_DAC_READ_SEARCH";
        assert_eq!(of(two), Ok("CAP_DAC_READ_SEARCH,CAP_SYS_PTRACE".into()));
        for (wrong, name) in [("", ""), ("CAP_BPF,", ""), ("none,CAP_BPF", "none"), ("CAP_BFP", "CAP_BFP")] {
            let error = of(wrong).unwrap_err();
            assert!(error.starts_with(&format!("{name:?} is no capability")), "{error}");
        }
    }

    /// In a thread of its own, since the others go on with what they have.
    fn dropped(kept: &str) -> (Result<(), String>, [CapsHashSet; 4], bool) {
        let kept: Kept = kept.parse().unwrap();
        let in_thread = move || {
            let result = drop_all_but(&kept).map_err(|error| error.to_string());
            // Inherited by whom this thread starts.
            let sets = std::thread::spawn(|| {
                [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable, CapSet::Ambient]
                    .map(|set| caps::read(None, set).unwrap())
            });
            (result, sets.join().unwrap(), nix::sys::prctl::get_no_new_privs().unwrap())
        };
        std::thread::spawn(in_thread).join().unwrap()
    }

    #[test]
    fn nothing_is_left() {
        let (result, sets, no_new_privs) = dropped("none");
        assert_eq!((result, no_new_privs), (Ok(()), true));
        assert!(sets.iter().all(CapsHashSet::is_empty), "{sets:?}");
    }

    #[test]
    fn what_is_kept_can_be_used_and_is_not_handed_on() {
        let has = |capability| caps::has_cap(None, CapSet::Permitted, capability).unwrap();
        let kept = "CAP_DAC_READ_SEARCH";
        let (result, [permitted, effective, inheritable, ambient], _) = dropped(kept);
        if has(Capability::CAP_DAC_READ_SEARCH) {
            let own = CapsHashSet::from([Capability::CAP_DAC_READ_SEARCH]);
            assert_eq!((result, &permitted, &effective), (Ok(()), &own, &own));
            assert!(inheritable.is_empty() && ambient.is_empty());
        } else {
            assert_eq!(result, Err(format!("--capabilities.keep: this process does not have {kept}")));
        }
    }
}
