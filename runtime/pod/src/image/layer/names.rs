//! Names of entries, as components below the layer's root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::super::limits::{COMPONENT_BYTES, NAME_BYTES};

/// The components of a name. A leading `/` means the root of the layer, as it does for Docker and containerd; the root itself
/// has no components.
///
/// # Errors
/// Why it is no name of an entry.
pub(super) fn components(name: &[u8]) -> Result<Vec<&OsStr>, String> {
    if name.len() > NAME_BYTES {
        return Err(format!("the name is longer than {NAME_BYTES} bytes"));
    }
    if name.contains(&0) {
        return Err("the name contains a NUL".to_owned());
    }
    let mut components = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                return Err("the name has the component .., which could lead out of the layer".to_owned());
            }
            long if long.len() > COMPONENT_BYTES => {
                return Err(format!("a component of the name is longer than {COMPONENT_BYTES} bytes"));
            }
            _ => components.push(OsStr::from_bytes(component)),
        }
    }
    Ok(components)
}

/// What a name means for the layers below (image-spec, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    /// Nothing: it is an entry.
    None,
    /// The directory hides all that it has below.
    Opaque(&'a [&'a OsStr]),
    /// This name in the directory is hidden.
    Removed(&'a [&'a OsStr], &'a OsStr),
    /// It belongs to AUFS, and is left out.
    Aufs,
}

/// Prefix of the names of whiteouts.
const WHITEOUT: &[u8] = b".wh.";
/// Prefix of the names that AUFS keeps for itself.
const AUFS: &[u8] = b".wh..wh.";

/// Reads a name as a mark.
///
/// # Errors
/// Why it is none, and no entry either.
pub(super) fn mark<'a>(components: &'a [&'a OsStr]) -> Result<Mark<'a>, String> {
    let Some((last, parents)) = components.split_last() else { return Ok(Mark::None) };
    if components[0].as_bytes().starts_with(AUFS) && last.as_bytes() != b".wh..wh..opq" {
        return Ok(Mark::Aufs);
    }
    if let Some(parent) = parents.iter().find(|parent| parent.as_bytes().starts_with(WHITEOUT)) {
        return Err(format!("{parent:?} is the name of a whiteout, and cannot be a directory"));
    }
    let Some(hidden) = last.as_bytes().strip_prefix(WHITEOUT) else { return Ok(Mark::None) };
    match hidden {
        b".wh..opq" => Ok(Mark::Opaque(parents)),
        _ if hidden.starts_with(WHITEOUT) => Ok(Mark::Aufs),
        b"" | b"." | b".." => {
            Err(format!("a whiteout of {:?}, which is no name", String::from_utf8_lossy(hidden)))
        }
        _ => Ok(Mark::Removed(parents, OsStr::from_bytes(hidden))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(name: &str) -> Result<Vec<&OsStr>, String> {
        components(name.as_bytes())
    }

    #[test]
    fn names_are_below_the_root() {
        for name in ["a/b", "/a/b", "./a//b/", "///a/./b"] {
            assert_eq!(parsed(name).unwrap(), ["a", "b"], "{name}");
        }
        for root in ["", ".", "./", "/"] {
            assert!(parsed(root).unwrap().is_empty(), "{root}");
        }
        let (long, deep) = ("x".repeat(256), "x/".repeat(2048));
        for bad in ["..", "a/../b", "../etc", "/../etc", "a/..", "a\0b", &long, &deep] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        assert_eq!(parsed(&long[..255]).unwrap().len(), 1);
        assert_eq!(parsed("...").unwrap().len(), 1);
    }

    #[test]
    fn whiteouts_are_told_by_their_names() {
        let is = |name: &str, wanted: &dyn Fn(&Mark<'_>) -> bool| {
            let components = parsed(name).unwrap();
            let mark = mark(&components).unwrap();
            assert!(wanted(&mark), "{name}: {mark:?}");
        };
        is("a/.wh.b", &|mark| matches!(mark, Mark::Removed([a], b) if *a == "a" && *b == "b"));
        is(".wh.b", &|mark| matches!(mark, Mark::Removed([], _)));
        is("a/.wh..wh..opq", &|mark| matches!(mark, Mark::Opaque([a]) if *a == "a"));
        is(".wh..wh..opq", &|mark| matches!(mark, Mark::Opaque([])));
        is(".wh..wh.plnk/1.2", &|mark| *mark == Mark::Aufs);
        is("a/.wh..wh.aufs", &|mark| *mark == Mark::Aufs);
        is("a/b.wh.c", &|mark| *mark == Mark::None);
        for bad in ["a/.wh...", ".wh..", "a/.wh.", ".wh.a/b"] {
            assert!(mark(&parsed(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
