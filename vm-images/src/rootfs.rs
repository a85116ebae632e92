//! What lies in the guest's filesystem: a description by guest path, turned into an archive at boot.
//!
//! Libraries go to `/lib64`, and the other customary directories are links to it, so the loader of any x86-64
//! glibc distribution finds them without a cache file. Over an image they go where it has its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cpio::{Archive, TooLarge};
use crate::libraries::{self, LibraryError};

/// A filesystem tree for a guest.
#[derive(Debug, Clone)]
pub struct Rootfs {
    /// By absolute guest path; parents sort before what they hold.
    nodes: BTreeMap<String, Node>,
    /// Where libraries go.
    library_dir: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Dir { mode: u32 },
    HostFile { path: PathBuf, mode: u32 },
    Content { bytes: Vec<u8>, mode: u32 },
    Symlink { target: String },
    CharDevice { mode: u32, major: u32, minor: u32 },
}

/// Why a tree cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A file of the host could not be read.
    #[error("read {} for the image", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of the host cannot go into an image.
    #[error("{}: neither file, directory nor symbolic link with a UTF-8 name; leave it out of the image", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// The shared libraries of a program could not be found.
    #[error(transparent)]
    Libraries(#[from] LibraryError),
    /// The list of busybox's applets could not be had.
    #[error("list the applets of {}: {detail}", path.display())]
    Busybox {
        /// The program.
        path: PathBuf,
        /// What happened.
        detail: String,
    },
    /// A file is too large for the archive.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Where libraries go in a tree that has nothing else.
const LIBRARY_DIR: &str = "/lib64";

/// Where a Debian image has its own, and its loader looks for them.
const IMAGE_LIBRARY_DIR: &str = "/usr/lib/x86_64-linux-gnu";

impl Default for Rootfs {
    fn default() -> Self {
        Self::new()
    }
}

impl Rootfs {
    /// The directories that programs expect, `/etc/passwd` and `/etc/group` with root, and the two device
    /// nodes that the kernel needs before /dev is mounted.
    #[must_use]
    pub fn new() -> Self {
        let mut rootfs = Self { nodes: BTreeMap::new(), library_dir: LIBRARY_DIR };
        for dir in [
            "/bin",
            "/dev",
            "/etc",
            "/lib",
            LIBRARY_DIR,
            "/mnt",
            "/opt",
            "/proc",
            "/root",
            "/run",
            "/sbin",
            "/sys",
            "/tmp",
            "/usr/bin",
            "/usr/lib",
            "/usr/local/bin",
            "/usr/local/sbin",
            "/usr/sbin",
            "/var/lib",
            "/var/log",
        ] {
            rootfs.dir(dir, 0o755);
        }
        rootfs.dir("/var/tmp", 0o1777);
        for link in ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"] {
            rootfs.symlink(link, LIBRARY_DIR);
        }
        rootfs.symlink("/var/run", "/run");
        rootfs.basics();
        rootfs
    }

    /// What is laid over an image of Debian packages on a disk ([`crate::Vm::disk`]): users, hosts and device nodes alone.
    /// Files that are added replace those of the image; its links and its libraries stay as they are.
    #[must_use]
    pub fn over_image() -> Self {
        let mut rootfs = Self { nodes: BTreeMap::new(), library_dir: IMAGE_LIBRARY_DIR };
        for dir in ["/proc", "/root", "/run", "/sys", "/tmp"] {
            rootfs.dir(dir, 0o755);
        }
        rootfs.basics();
        rootfs
    }

    /// `/etc/passwd` and its like, and the device nodes that the kernel needs before /dev is mounted.
    fn basics(&mut self) {
        self.content(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
            0o644,
        );
        self.content("/etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644);
        self.content("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644);
        self.insert("/dev/console", Node::CharDevice { mode: 0o600, major: 5, minor: 1 });
        self.insert("/dev/null", Node::CharDevice { mode: 0o666, major: 1, minor: 3 });
    }

    /// Adds a directory.
    pub fn dir(&mut self, guest: &str, mode: u32) -> &mut Self {
        self.insert(guest, Node::Dir { mode })
    }

    /// Adds a file of the host, read at boot; the mode becomes 0755 when it is executable, else 0644.
    ///
    /// # Errors
    /// When the file is not there.
    pub fn file(&mut self, guest: &str, host: &Path) -> Result<&mut Self, RootfsError> {
        let metadata =
            fs::metadata(host).map_err(|source| RootfsError::Read { path: host.to_owned(), source })?;
        let mode = if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        Ok(self.insert(guest, Node::HostFile { path: host.to_owned(), mode }))
    }

    /// Adds a file with this content.
    pub fn content(&mut self, guest: &str, bytes: impl Into<Vec<u8>>, mode: u32) -> &mut Self {
        self.insert(guest, Node::Content { bytes: bytes.into(), mode })
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, guest: &str, target: &str) -> &mut Self {
        self.insert(guest, Node::Symlink { target: target.to_owned() })
    }

    /// Adds a directory of the host with everything below it. Links stay links; owners become root.
    ///
    /// # Errors
    /// When something cannot be read, or is a device, socket or pipe.
    pub fn tree(&mut self, guest: &str, host: &Path) -> Result<&mut Self, RootfsError> {
        let failed = |source| RootfsError::Read { path: host.to_owned(), source };
        self.dir(guest, 0o755);
        for entry in fs::read_dir(host).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let no_such_kind = || RootfsError::Kind { path: path.clone() };
            let name = entry.file_name().into_string().map_err(|_not_utf8| no_such_kind())?;
            let inside = format!("{}/{name}", guest.trim_end_matches('/'));
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                self.tree(&inside, &path)?;
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(failed)?;
                self.symlink(&inside, target.to_str().ok_or_else(no_such_kind)?);
            } else if kind.is_file() {
                self.file(&inside, &path)?;
            } else {
                return Err(no_such_kind());
            }
        }
        Ok(self)
    }

    /// Adds a program with its interpreter and all shared libraries that it needs, each looked for in
    /// `search` first and then in the host's own directories. A static program needs nothing else.
    ///
    /// # Errors
    /// When it is no x86-64 ELF file, or a library is not to be found.
    pub fn program(
        &mut self,
        guest: &str,
        host: &Path,
        search: &[PathBuf],
    ) -> Result<&mut Self, RootfsError> {
        self.insert(guest, Node::HostFile { path: host.to_owned(), mode: 0o755 });
        let closure = libraries::closure(host, search)?;
        if let Some((guest, host)) = closure.interpreter {
            let path = Path::new(&guest);
            let name = path.file_name().map_or(guest.clone(), |name| name.to_string_lossy().into_owned());
            let placed = format!("{}/{name}", self.library_dir);
            self.file(&placed, &host)?;
            // Customary places are links to the library directory already; another one gets a link of its own.
            if !path.parent().is_some_and(|dir| self.leads_to_libraries(dir)) {
                self.symlink(&guest, &placed);
            }
        }
        for (soname, path) in closure.libraries {
            self.file(&format!("{}/{soname}", self.library_dir), &path)?;
        }
        Ok(self)
    }

    /// Adds busybox as `/bin/busybox` and a link in `/bin` for each of its applets. Runs it once, on the
    /// host, to get their list.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn busybox(&mut self, host: &Path) -> Result<&mut Self, RootfsError> {
        let failed = |detail: String| RootfsError::Busybox { path: host.to_owned(), detail };
        let output = Command::new(host).arg("--list").output().map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        self.program("/bin/busybox", host, &[])?;
        for applet in String::from_utf8_lossy(&output.stdout).lines().filter(|applet| *applet != "busybox") {
            let link = format!("/bin/{applet}");
            // What the caller put there has precedence.
            if !self.nodes.contains_key(&link) {
                self.symlink(&link, "busybox");
            }
        }
        Ok(self)
    }

    fn leads_to_libraries(&self, dir: &Path) -> bool {
        match dir.to_str().and_then(|dir| self.nodes.get(dir)) {
            Some(Node::Symlink { target }) => target == self.library_dir,
            _ => dir == Path::new(self.library_dir),
        }
    }

    fn insert(&mut self, guest: &str, node: Node) -> &mut Self {
        let guest = format!("/{}", guest.trim_matches('/'));
        // The archive needs each parent, and needs it first; one that is there keeps its mode.
        let parents = guest.match_indices('/').skip(1).map(|(at, _)| guest[..at].to_owned());
        for parent in parents.collect::<Vec<_>>() {
            self.nodes.entry(parent).or_insert(Node::Dir { mode: 0o755 });
        }
        self.nodes.insert(guest, node);
        self
    }

    /// Turns the tree into an uncompressed archive.
    pub(crate) fn archive(&self) -> Result<Vec<u8>, RootfsError> {
        let mut archive = Archive::new();
        for (path, node) in &self.nodes {
            match node {
                Node::Dir { mode } => archive.dir(path, *mode)?,
                Node::HostFile { path: host, mode } => {
                    let bytes =
                        fs::read(host).map_err(|source| RootfsError::Read { path: host.clone(), source })?;
                    archive.file(path, *mode, &bytes)?;
                }
                Node::Content { bytes, mode } => archive.file(path, *mode, bytes)?,
                Node::Symlink { target } => archive.symlink(path, target)?,
                Node::CharDevice { mode, major, minor } => {
                    archive.char_device(path, *mode, *major, *minor)?
                }
            }
        }
        Ok(archive.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_keep_their_mode() {
        let mut rootfs = Rootfs::new();
        rootfs.dir("/data", 0o700).content("data/deep/file", "x", 0o600);
        let paths: Vec<&str> = rootfs.nodes.keys().map(String::as_str).collect();
        let at = |path: &str| paths.iter().position(|other| *other == path).unwrap();
        assert!(at("/data") < at("/data/deep") && at("/data/deep") < at("/data/deep/file"));
        assert_eq!(rootfs.nodes["/data"], Node::Dir { mode: 0o700 });
        assert_eq!(rootfs.nodes["/data/deep"], Node::Dir { mode: 0o755 });
    }

    #[test]
    fn the_same_tree_gives_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("sub/file"), "content").unwrap();
        std::os::unix::fs::symlink("sub/file", dir.path().join("link")).unwrap();
        let build = || Rootfs::new().tree("/suite", dir.path()).unwrap().archive().unwrap();
        assert_eq!(build(), build());
    }

    #[test]
    fn what_is_missing_or_special_is_named() {
        let mut rootfs = Rootfs::new();
        let error = rootfs.file("/x", Path::new("/nonexistent/file")).unwrap_err();
        assert_eq!(error.to_string(), "read /nonexistent/file for the image");
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        assert!(matches!(rootfs.tree("/x", dir.path()), Err(RootfsError::Kind { .. })));
    }
}
