//! Writes initramfs archives: cpio in the "newc" form (Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! The same input gives the same bytes: names are sorted by the caller's map, everything belongs to root,
//! the time is 0, inode numbers count up. Devices are headers only, so no privilege is needed.

/// Builds one archive in memory.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    n_entries: u32,
}

const TYPE_DIR: u32 = 0o040_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_CHAR: u32 = 0o020_000;

/// Why an entry cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {n_bytes} bytes do not fit into a cpio entry, which holds less than 4 GiB")]
pub struct TooLarge {
    path: String,
    n_bytes: usize,
}

impl Archive {
    /// An archive without entries.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a directory. The kernel creates no parents: they must come first.
    ///
    /// # Errors
    /// When the name is too long.
    pub(crate) fn dir(&mut self, path: &str, mode: u32) -> Result<(), TooLarge> {
        self.entry(path, TYPE_DIR | mode, (0, 0), &[])
    }

    /// Adds a regular file.
    ///
    /// # Errors
    /// When it has 4 GiB or more.
    pub(crate) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<(), TooLarge> {
        self.entry(path, TYPE_FILE | mode, (0, 0), content)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// When the target is too long.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> Result<(), TooLarge> {
        self.entry(path, TYPE_LINK | 0o777, (0, 0), target.as_bytes())
    }

    /// Adds a character device.
    ///
    /// # Errors
    /// When the name is too long.
    pub(crate) fn char_device(
        &mut self,
        path: &str,
        mode: u32,
        major: u32,
        minor: u32,
    ) -> Result<(), TooLarge> {
        self.entry(path, TYPE_CHAR | mode, (major, minor), &[])
    }

    /// Ends the archive and gives its bytes.
    ///
    /// # Errors
    /// Never in practice: the trailer is short.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, TooLarge> {
        self.n_entries = 0;
        self.header("TRAILER!!!", 0, 0, 1, (0, 0), 0)?;
        // Whole sectors, as the customary writers end it.
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        Ok(self.bytes)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<(), TooLarge> {
        self.n_entries += 1;
        let n_links = if mode & TYPE_DIR == TYPE_DIR && mode & TYPE_FILE != TYPE_FILE { 2 } else { 1 };
        self.header(path.trim_start_matches('/'), self.n_entries, mode, n_links, device, content.len())?;
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn header(
        &mut self,
        name: &str,
        inode: u32,
        mode: u32,
        n_links: u32,
        device: (u32, u32),
        n_bytes: usize,
    ) -> Result<(), TooLarge> {
        let too_large = |_| TooLarge { path: name.to_owned(), n_bytes };
        let size = u32::try_from(n_bytes).map_err(too_large)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_large)?;
        self.bytes.extend_from_slice(b"070701");
        // Order of the format: inode, mode, uid, gid, links, mtime, size, device of the file (major, minor),
        // device that it stands for (major, minor), length of the name with its NUL, checksum (unused).
        for field in [inode, mode, 0, 0, n_links, 0, size, 0, 0, device.0, device.1, name_size, 0] {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        Ok(())
    }

    /// Names and contents end on a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_exactly_these_bytes() {
        let mut archive = Archive::new();
        archive.file("/a/b", 0o644, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        let header = "070701\
            00000001 000081a4 00000000 00000000 00000001 00000000 00000005 \
            00000000 00000000 00000000 00000000 00000004 00000000"
            .replace(' ', "");
        let mut expected = format!("{header}a/b\0").into_bytes();
        expected.resize(expected.len().next_multiple_of(4), 0);
        expected.extend_from_slice(b"hello\0\0\0");
        assert_eq!(&bytes[..expected.len()], expected);
        assert!(bytes[expected.len()..].starts_with(b"070701"));
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
        assert_eq!(bytes.len() % 512, 0);
    }

    #[test]
    fn devices_and_links_are_headers() {
        let mut archive = Archive::new();
        archive.dir("dev", 0o755).unwrap();
        archive.char_device("dev/console", 0o600, 5, 1).unwrap();
        archive.symlink("bin/ls", "busybox").unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        assert!(text.starts_with("07070100000001000041ed000000000000000000000002"), "{text}");
        assert!(text.contains("0000000500000001" /* major, minor */), "{text}");
        assert!(text.contains("bin/ls\0"), "{text}");
        assert!(text.contains("busybox\0"), "{text}");
        assert!(text.contains("0000a1ff"), "{text}");
    }
}
