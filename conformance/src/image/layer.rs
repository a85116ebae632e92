//! A layer: a directory tree as a ustar archive (POSIX pax, "ustar Interchange Format"), owned by root.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// What an archive is made of, in bytes.
const BLOCK: usize = 512;
/// Kinds of members (`typeflag`).
const FILE: u8 = b'0';
const SYMLINK: u8 = b'2';
const DIRECTORY: u8 = b'5';

/// The archive of a tree of directories, regular files and symbolic links.
///
/// # Errors
/// When something cannot be read, or a name is too long for a header.
pub(super) fn of(root: &Path) -> io::Result<Vec<u8>> {
    let mut archive = Vec::new();
    add(&mut archive, root, root)?;
    // The end: two blocks of zeros.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn add(archive: &mut Vec<u8>, root: &Path, dir: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = path.strip_prefix(root).map_err(io::Error::other)?;
        let metadata = entry.metadata()?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            archive.extend(header(name, DIRECTORY, mode, 0, Path::new(""))?);
            add(archive, root, &path)?;
        } else if metadata.is_symlink() {
            archive.extend(header(name, SYMLINK, mode, 0, &fs::read_link(&path)?)?);
        } else {
            let bytes = fs::read(&path)?;
            archive.extend(header(name, FILE, mode, bytes.len(), Path::new(""))?);
            archive.extend(&bytes);
            archive.resize(archive.len().next_multiple_of(BLOCK), 0);
        }
    }
    Ok(())
}

fn header(name: &Path, kind: u8, mode: u32, size: usize, link: &Path) -> io::Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, room: usize, value: &[u8]| match block.get_mut(at..at + value.len()) {
        Some(place) if value.len() <= room => {
            place.copy_from_slice(value);
            Ok(())
        }
        _ => {
            let path = name.display();
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path}: too long for a tar header")))
        }
    };
    put(0, 100, name.as_os_str().as_bytes())?;
    put(100, 8, format!("{mode:07o}").as_bytes())?;
    // Owner and group, and the time of the last change.
    put(108, 8, b"0000000")?;
    put(116, 8, b"0000000")?;
    put(124, 12, format!("{size:011o}").as_bytes())?;
    put(136, 12, b"00000000000")?;
    // The sum counts itself as spaces.
    put(148, 8, b"        ")?;
    put(156, 1, &[kind])?;
    put(157, 100, link.as_os_str().as_bytes())?;
    put(257, 8, b"ustar\x0000")?;
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn members_come_in_order_with_their_contents_in_whole_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("etc")).unwrap();
        symlink("/proc/self/mounts", root.join("etc/mtab")).unwrap();
        fs::write(root.join("program"), [7; BLOCK + 1]).unwrap();
        fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o4755)).unwrap();
        let archive = of(root).unwrap();
        let block = |number: usize| &archive[number * BLOCK..(number + 1) * BLOCK];
        let text = |number: usize, at: usize| {
            let field = &block(number)[at..];
            let end = field.iter().position(|byte| *byte == 0).unwrap();
            String::from_utf8(field[..end].to_vec()).unwrap()
        };
        let kinds = [0, 1, 2].map(|number| (text(number, 0), block(number)[156]));
        let named = |name: &str, kind| (name.to_owned(), kind);
        assert_eq!(kinds, [named("etc", DIRECTORY), named("etc/mtab", SYMLINK), named("program", FILE)]);
        assert_eq!(text(1, 157), "/proc/self/mounts");
        assert_eq!((text(2, 100), text(2, 124)), ("0004755".to_owned(), "00000001001".to_owned()));
        assert_eq!((block(3), &block(4)[..2]), ([7; BLOCK].as_slice(), [7, 0].as_slice()));
        assert_eq!(archive.len(), 7 * BLOCK);
    }

    #[test]
    fn a_header_has_the_sum_of_its_bytes() {
        let mut block = header(Path::new("a"), FILE, 0o644, 3, Path::new("")).unwrap();
        let sum = u32::from_str_radix(std::str::from_utf8(&block[148..154]).unwrap(), 8).unwrap();
        block[148..156].fill(b' ');
        assert_eq!(sum, block.iter().copied().map(u32::from).sum::<u32>());
        assert!(header(Path::new(&"a".repeat(101)), FILE, 0o644, 3, Path::new("")).is_err());
    }
}
