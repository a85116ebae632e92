//! Who the user of an image is: names are looked up in `/etc/passwd` and `/etc/group` of its root file system.
//!
//! The files are the image's, so they are opened with the root as `/`, read up to a limit, and only if they are regular files.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use runtime::sys::mount::open_in_root;

use super::regular;

/// Bytes of a file of users or groups: room for some ten thousand.
const FILE_BYTES: u64 = 4 << 20;

/// Numbers of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIds {
    /// User.
    pub uid: u32,
    /// Primary group; 0 for a number that no user has.
    pub gid: u32,
    /// Groups that the user is a member of by `/etc/group`; empty when a group was given.
    pub additional_gids: Vec<u32>,
    /// Home directory, absolute.
    pub home: Option<PathBuf>,
}

/// Why a user cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Not of a form that a user may have.
    #[error("user {user:?}: must be a name or a number, or two of them for user:group")]
    Invalid {
        /// As given.
        user: String,
    },
    /// The name is in no file of the image.
    #[error("user {user:?}: {file} of the image has no {name:?}; use a number, or a name that it has")]
    Unknown {
        /// As given.
        user: String,
        /// The name that is missing.
        name: String,
        /// Where it should be.
        file: &'static str,
    },
    /// The image's file cannot be used.
    #[error("user {user:?}: {file} of the image is {reason}")]
    File {
        /// As given.
        user: String,
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The image's file cannot be read.
    #[error("user {user:?}: cannot read {file} of the image")]
    Io {
        /// As given.
        user: String,
        /// The file.
        file: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Looks up an image's `user`, `uid`, `user:group` or `uid:gid` below a root directory, as Docker and containerd do: a number needs no
/// entry, and a group that is given stands in place of all groups of the user.
///
/// # Errors
/// [`UserError::Unknown`] for a name that is not there, else what is wrong with the user or the image's files.
pub fn resolve_user(root: BorrowedFd<'_>, user: &str) -> Result<UserIds, UserError> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let invalid = || UserError::Invalid { user: user.to_owned() };
    if name.is_empty() || user.contains(['\0', '\n']) || group.is_some_and(|group| group.contains(':')) {
        return Err(invalid());
    }
    let number = id(name).map_err(|()| invalid())?;
    let passwd = read(root, user, "/etc/passwd")?;
    let entry = lines(&passwd)
        .filter_map(PasswdEntry::parse)
        .find(|entry| entry.name == name || Some(entry.uid) == number);
    let unknown =
        |name: &str, file| UserError::Unknown { user: user.to_owned(), name: name.to_owned(), file };
    let uid = entry.as_ref().map(|entry| entry.uid).or(number).ok_or_else(|| unknown(name, "/etc/passwd"))?;
    let mut ids = UserIds {
        uid,
        gid: entry.as_ref().map_or(0, |entry| entry.gid),
        additional_gids: Vec::new(),
        home: entry.as_ref().and_then(PasswdEntry::home),
    };
    if let Some(group) = group {
        let number = id(group).map_err(|()| invalid())?;
        let groups = read(root, user, "/etc/group")?;
        let entry = lines(&groups)
            .filter_map(GroupEntry::parse)
            .find(|entry| entry.name == group || Some(entry.gid) == number);
        ids.gid = entry.map(|entry| entry.gid).or(number).ok_or_else(|| unknown(group, "/etc/group"))?;
    } else if let Some(entry) = entry {
        ids.additional_gids = memberships(root, user, &entry)?;
    }
    Ok(ids)
}

/// Looks up what goes with a number that the manifest gives: whatever the image's files say, the user is that number. As
/// containerd does, a line of `/etc/passwd` counts by its number only, so that none whose name looks like it stands in its place.
///
/// # Errors
/// What is wrong with the image's files.
pub fn resolve_uid(root: BorrowedFd<'_>, uid: u32) -> Result<UserIds, UserError> {
    let user = uid.to_string();
    let passwd = read(root, &user, "/etc/passwd")?;
    let Some(entry) = lines(&passwd).filter_map(PasswdEntry::parse).find(|entry| entry.uid == uid) else {
        return Ok(UserIds { uid, gid: 0, additional_gids: Vec::new(), home: None });
    };
    let additional_gids = memberships(root, &user, &entry)?;
    Ok(UserIds { uid, gid: entry.gid, additional_gids, home: entry.home() })
}

/// The groups that a user is a member of by `/etc/group`, but for its primary one.
fn memberships(root: BorrowedFd<'_>, user: &str, entry: &PasswdEntry<'_>) -> Result<Vec<u32>, UserError> {
    let groups = read(root, user, "/etc/group")?;
    let mut gids = Vec::new();
    for group in lines(&groups).filter_map(GroupEntry::parse).filter(|group| group.has(entry.name)) {
        if group.gid != entry.gid && !gids.contains(&group.gid) {
            gids.push(group.gid);
        }
    }
    Ok(gids)
}

/// A number, `None` for what is a name, an error for a number that no user has: the highest means none to the kernel.
fn id(text: &str) -> Result<Option<u32>, ()> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(Some(id)),
        _ => Err(()),
    }
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    /// `name:password:uid:gid:comment:home:shell`; other lines are left out, as the C library does.
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let (uid, gid) = (id(fields.get(2)?).ok()??, id(fields.get(3)?).ok()??);
        let home = fields.get(5).copied().unwrap_or_default();
        Some(Self { name: fields.first().filter(|name| !name.is_empty())?, uid, gid, home })
    }

    fn home(&self) -> Option<PathBuf> {
        Some(PathBuf::from(self.home)).filter(|home| home.is_absolute())
    }
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    /// `name:password:gid:member,member`.
    fn parse(line: &'a str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let gid = id(fields.get(2)?).ok()??;
        let members = fields.get(3).copied().unwrap_or_default();
        Some(Self { name: fields.first().filter(|name| !name.is_empty())?, gid, members })
    }

    fn has(&self, member: &str) -> bool {
        self.members.split(',').any(|name| name.trim() == member)
    }
}

/// The lines of a file that are text.
fn lines(file: &[u8]) -> impl Iterator<Item = &str> {
    file.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()).map(str::trim)
}

/// Reads a file of the image; one that is missing is empty.
fn read(root: BorrowedFd<'_>, user: &str, path: &'static str) -> Result<Vec<u8>, UserError> {
    let failed = |source| UserError::Io { user: user.to_owned(), file: path, source };
    let refused = |reason: String| UserError::File { user: user.to_owned(), file: path, reason };
    let found = match open_in_root(root, Path::new(path), OFlag::O_PATH) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        found => found.map_err(|errno| failed(errno.into()))?,
    };
    let file = regular::open(found).map_err(failed)?.ok_or_else(|| refused("not a file".to_owned()))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(refused(format!("longer than {FILE_BYTES} bytes, which is the limit")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n+nis\ndamaged:x:y:1::/:/\napp:x:1000:1001:,,:/srv/app:/bin/sh\n7:x:70:70::relative:\n";
    const GROUP: &str =
        "root:x:0:\napp:x:1001:app\nwheel:x:10:root,app\nlog:x:20: app\nlog2:x:20:app\nnone:x:a:app\n";

    fn root() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("etc")).unwrap();
        fs::write(temp.path().join("etc/passwd"), PASSWD).unwrap();
        fs::write(temp.path().join("etc/group"), GROUP).unwrap();
        temp
    }

    #[test]
    fn a_number_of_the_manifest_is_that_user_whatever_the_image_says() {
        let root = root();
        let passwd = "1000:x:0:0::/root:/bin/sh\n7:x:70:70::/:/\nlate:x:1000:1001::/srv:/bin/sh\n";
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        fs::write(root.path().join("etc/group"), "disk:x:6:1000\nlog:x:20:late\nlate:x:1001:late\n").unwrap();
        let fd = File::open(root.path()).unwrap();
        let is = |uid: u32, gid: u32, additional: &[u32], home: Option<&str>| {
            let wanted =
                UserIds { uid, gid, additional_gids: additional.to_vec(), home: home.map(PathBuf::from) };
            assert_eq!(resolve_uid(fd.as_fd(), uid).unwrap(), wanted);
        };
        is(1000, 1001, &[20], Some("/srv"));
        is(7, 0, &[], None);
        is(0, 0, &[6], Some("/root"));
        fs::remove_file(root.path().join("etc/passwd")).unwrap();
        is(1000, 0, &[], None);
        // An image's own user is a name first, as Docker has it.
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        assert_eq!(look_up(&root, "1000").unwrap().uid, 0);
    }

    fn look_up(root: &tempfile::TempDir, user: &str) -> Result<UserIds, UserError> {
        resolve_user(File::open(root.path()).unwrap().as_fd(), user)
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        let root = root();
        let is = |user: &str, uid: u32, gid: u32, additional: &[u32], home: Option<&str>| {
            let wanted =
                UserIds { uid, gid, additional_gids: additional.to_vec(), home: home.map(PathBuf::from) };
            assert_eq!(look_up(&root, user).unwrap(), wanted, "{user}");
        };
        is("app", 1000, 1001, &[10, 20], Some("/srv/app"));
        is("1000", 1000, 1001, &[10, 20], Some("/srv/app"));
        is("app:", 1000, 1001, &[10, 20], Some("/srv/app"));
        is("app:wheel", 1000, 10, &[], Some("/srv/app"));
        is("1000:5", 1000, 5, &[], Some("/srv/app"));
        is("5:wheel", 5, 10, &[], None);
        is("4242", 4242, 0, &[], None);
        // A name that looks like a number.
        is("7", 70, 70, &[], None);
        is("0", 0, 0, &[10], Some("/root"));
    }

    #[test]
    fn unknown_and_malformed_users_are_named() {
        let root = root();
        for user in ["nobody", "app:nogroup", "damaged", "-1", "app:wheel x"] {
            assert!(matches!(look_up(&root, user), Err(UserError::Unknown { .. })), "{user}");
        }
        for user in ["", ":", ":wheel", "a:b:c", "4294967295", "99999999999", "0:4294967295", "a\nb"] {
            assert!(matches!(look_up(&root, user), Err(UserError::Invalid { .. })), "{user}");
        }
        fs::remove_file(root.path().join("etc/passwd")).unwrap();
        assert_eq!(look_up(&root, "12").unwrap().uid, 12);
        let error = look_up(&root, "app").unwrap_err().to_string();
        assert!(error.contains(r#"/etc/passwd of the image has no "app""#), "{error}");
    }

    #[test]
    fn the_files_are_those_of_the_image() {
        let (outside, root) = (root(), root());
        let passwd = root.path().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        symlink(outside.path().join("etc/passwd"), &passwd).unwrap();
        assert!(
            matches!(look_up(&root, "app"), Err(UserError::Unknown { .. })),
            "a link led out of the root"
        );
        fs::remove_file(&passwd).unwrap();
        symlink("/../../etc/real", &passwd).unwrap();
        fs::write(root.path().join("etc/real"), PASSWD).unwrap();
        assert_eq!(look_up(&root, "app").unwrap().uid, 1000);
        fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(look_up(&root, "app").unwrap_err().to_string().contains("is not a file"));
        fs::remove_file(&passwd).unwrap();
        fs::write(&passwd, vec![b'\n'; 5 << 20]).unwrap();
        assert!(look_up(&root, "app").unwrap_err().to_string().contains("longer than 4194304 bytes"));
    }
}
