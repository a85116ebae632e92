//! The words that `mounts[].options` may hold (config.md, mounts; mount(8)), and what each means to the kernel.

use super::mounts::{Attributes, Propagation};

/// The attributes of a mount: word, bits to set, bits to clear. With an `r` before it, a word is for the mounts below too.
const ATTRIBUTES: [(&str, u64, u64); 18] = [
    ("ro", libc::MOUNT_ATTR_RDONLY, 0),
    ("rw", 0, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", libc::MOUNT_ATTR_NOSUID, 0),
    ("suid", 0, libc::MOUNT_ATTR_NOSUID),
    ("nodev", libc::MOUNT_ATTR_NODEV, 0),
    ("dev", 0, libc::MOUNT_ATTR_NODEV),
    ("noexec", libc::MOUNT_ATTR_NOEXEC, 0),
    ("exec", 0, libc::MOUNT_ATTR_NOEXEC),
    ("nodiratime", libc::MOUNT_ATTR_NODIRATIME, 0),
    ("diratime", 0, libc::MOUNT_ATTR_NODIRATIME),
    ("nosymfollow", libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
    ("symfollow", 0, libc::MOUNT_ATTR_NOSYMFOLLOW),
    // The three ways to keep access times are one field of several bits.
    ("relatime", 0, libc::MOUNT_ATTR__ATIME),
    ("atime", 0, libc::MOUNT_ATTR__ATIME),
    ("nostrictatime", 0, libc::MOUNT_ATTR__ATIME),
    ("noatime", libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME & !libc::MOUNT_ATTR_NOATIME),
    ("strictatime", libc::MOUNT_ATTR_STRICTATIME, libc::MOUNT_ATTR__ATIME & !libc::MOUNT_ATTR_STRICTATIME),
    ("norelatime", libc::MOUNT_ATTR_STRICTATIME, libc::MOUNT_ATTR__ATIME & !libc::MOUNT_ATTR_STRICTATIME),
];

/// What a mount is, rather than how.
const KINDS: [&str; 6] = ["bind", "rbind", "remount", "idmap", "ridmap", "tmpcopyup"];

/// What every mount is without them: nothing is left to do.
const NEUTRAL: [&str; 7] = ["async", "defaults", "loud", "noiversion", "nolazytime", "nomand", "silent"];

/// Parameters that every file system takes (fsconfig(2)).
const COMMON: [&str; 4] = ["dirsync", "lazytime", "mand", "sync"];

const PROPAGATIONS: [&str; 8] =
    ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];

/// What an option is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MountOption {
    /// An attribute of this mount.
    Attribute(Attributes),
    /// An attribute of this mount and those below.
    Recursive(Attributes),
    /// Propagation.
    Propagation(Propagation),
    /// Says what the mount is.
    Kind,
    /// Changes nothing.
    Neutral,
    /// For the file system.
    Parameter,
}

impl MountOption {
    pub(super) fn of(word: &str) -> Self {
        let attribute = |word: &str| {
            let found = ATTRIBUTES.iter().find(|(name, ..)| *name == word);
            found.map(|(_, set, clear)| Attributes { set: *set, clear: *clear })
        };
        if KINDS.contains(&word) {
            Self::Kind
        } else if NEUTRAL.contains(&word) {
            Self::Neutral
        } else if let Some(change) = attribute(word) {
            Self::Attribute(change)
        } else if let Some(change) = word.strip_prefix('r').and_then(attribute) {
            Self::Recursive(change)
        } else if let Some(propagation) = Propagation::from_word(word) {
            Self::Propagation(propagation)
        } else {
            Self::Parameter
        }
    }
}

/// Every word that means the same for each file system, in the order of the alphabet.
#[must_use]
pub fn words() -> Vec<String> {
    let plain = [&KINDS[..], &NEUTRAL, &COMMON, &PROPAGATIONS].concat().into_iter().map(str::to_owned);
    let attributes = ATTRIBUTES.iter().flat_map(|(word, ..)| [(*word).to_owned(), format!("r{word}")]);
    let mut words: Vec<String> = plain.chain(attributes).collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_specification_are_known() {
        // config.md, Linux mount options; `iversion` is a parameter, which the file system takes or not.
        let of_the_specification = "async atime bind defaults dev diratime dirsync exec idmap lazytime loud mand noatime \
            nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime \
            rbind rdev rdiratime relatime remount rexec ridmap rnoatime rnodiratime rnoexec rnorelatime rnostrictatime \
            rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw \
            shared silent slave strictatime suid symfollow sync tmpcopyup unbindable";
        let words = words();
        for word in of_the_specification.split_whitespace() {
            assert!(words.iter().any(|known| known == word), "{word}");
        }
        assert!(words.windows(2).all(|pair| pair[0] < pair[1]), "{words:?}");
    }

    #[test]
    fn each_declared_word_is_treated_as_what_it_is() {
        for word in words() {
            let is_parameter = MountOption::of(&word) == MountOption::Parameter;
            assert_eq!(is_parameter, COMMON.contains(&word.as_str()), "{word}");
        }
        for word in ["rprivate", "rslave"] {
            assert!(matches!(MountOption::of(word), MountOption::Propagation(_)), "{word}");
        }
    }
}
