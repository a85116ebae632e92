//! The directory that a layer is unpacked into: where entries go, and what is there already.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

use super::super::limits::{Budget, LINKS, NAME_BYTES};
use super::super::members::{Member, MemberKind, Members, Source};
use super::lower::{Lower, kind};
use super::names::{self, Mark, components};
use super::{Trouble, failed, open_directory, write};
use crate::removal::remove;

/// Components that are walked for one name, those of links included.
const STEPS: usize = 4096;

/// A directory of the layer.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Open.
    pub(super) dir: Rc<OwnedFd>,
    /// Below the root, without links.
    pub(super) path: PathBuf,
}

/// A layer that is being unpacked.
pub(super) struct Tree<'a> {
    pub(super) root: BorrowedFd<'a>,
    pub(super) lower: &'a Lower,
    /// Times of directories, which are set when nothing is made in them any more.
    pub(super) times: BTreeMap<PathBuf, (i64, i64)>,
    /// Directories that hide what is below.
    pub(super) opaque: BTreeMap<PathBuf, ()>,
    /// Names that are hidden below.
    pub(super) hidden: BTreeMap<PathBuf, ()>,
    /// The directory of the last entry, by the components that led there.
    last: Option<(Vec<OsString>, Place)>,
}

impl<'a> Tree<'a> {
    /// Begins with the root, which has the attributes of the root below until an entry says otherwise.
    pub(super) fn new(root: BorrowedFd<'a>, lower: &'a Lower, budget: &mut Budget) -> Result<Self, Trouble> {
        let mut tree = Self {
            root,
            lower,
            times: BTreeMap::new(),
            opaque: BTreeMap::new(),
            hidden: BTreeMap::new(),
            last: None,
        };
        tree.inherit(root, PathBuf::new(), budget)?;
        Ok(tree)
    }

    /// Puts a member where it belongs.
    pub(super) fn place<S: Source>(
        &mut self,
        member: &Member,
        members: &mut Members<S>,
        buffer: &mut [u8],
        budget: &mut Budget,
    ) -> Result<(), Trouble> {
        let components = components(&member.name).map_err(Trouble::Refused)?;
        budget.depth(components.len())?;
        match names::mark(&components).map_err(Trouble::Refused)? {
            Mark::None => {}
            Mark::Aufs => return Ok(()),
            Mark::Opaque(of) => {
                let place = self.make_directory(of, budget)?;
                budget.remember(place.path.as_os_str().len())?;
                self.opaque.insert(place.path, ());
                return Ok(());
            }
            Mark::Removed(from, name) => {
                let place = self.make_directory(from, budget)?;
                return self.hide(&place, name, budget);
            }
        }
        let Some((name, parents)) = components.split_last() else {
            return self.root(member, budget);
        };
        let place = self.make_directory(parents, budget)?;
        match &member.kind {
            MemberKind::Directory => self.directory(&place, name, member, budget),
            MemberKind::HardLink(target) => self.hard_link(&place, name, target),
            // It is what overlayfs takes for a whiteout, and some programs archive such a directory as it is.
            MemberKind::CharDevice(device) if (device.major, device.minor) == (0, 0) => {
                self.hide(&place, name, budget)
            }
            _ => {
                self.clear(&place, name)?;
                write::entry(&place, name, member, members, buffer)
            }
        }
    }

    /// The entry of the root itself.
    fn root(&mut self, member: &Member, budget: &mut Budget) -> Result<(), Trouble> {
        if member.kind != MemberKind::Directory {
            return Err(Trouble::Refused("the root of a layer must be a directory".to_owned()));
        }
        write::directory(self.root, &member.attributes)?;
        self.remember_time(PathBuf::new(), member.attributes.modified, budget)
    }

    fn directory(
        &mut self,
        place: &Place,
        name: &OsStr,
        member: &Member,
        budget: &mut Budget,
    ) -> Result<(), Trouble> {
        let is_there = look(&place.dir, name)?.is_some_and(|stat| kind(&stat) == SFlag::S_IFDIR);
        if !is_there {
            self.clear(place, name)?;
            mkdirat(&place.dir, name, Mode::S_IRWXU).map_err(failed("make the directory"))?;
        }
        let dir = open_directory(&place.dir, name).map_err(failed("open the directory"))?;
        write::directory(dir.as_fd(), &member.attributes)?;
        self.remember_time(place.path.join(name), member.attributes.modified, budget)
    }

    fn hard_link(&mut self, place: &Place, name: &OsStr, target: &[u8]) -> Result<(), Trouble> {
        let to = super::shown(target);
        let refused = |reason: &str| Trouble::Refused(format!("a hard link to {to}: {reason}"));
        let parts = components(target).map_err(|reason| refused(&reason))?;
        let (last, parents) = parts.split_last().ok_or_else(|| refused("that is the root of the layer"))?;
        let from = self.walk(parents, None)?.ok_or_else(|| refused("it is not in the layer before"))?;
        let stat = look(&from.dir, last)?.ok_or_else(|| refused("it is not in the layer before"))?;
        if kind(&stat) == SFlag::S_IFDIR {
            return Err(refused("it is a directory"));
        }
        if look(&place.dir, name)?.is_some_and(|now| (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        self.clear(place, name)?;
        write::hard_link(&from, last, place, name)
    }

    /// Notes that a name is hidden below.
    fn hide(&mut self, place: &Place, name: &OsStr, budget: &mut Budget) -> Result<(), Trouble> {
        let path = place.path.join(name);
        budget.remember(path.as_os_str().len())?;
        self.hidden.insert(path, ());
        Ok(())
    }

    fn remember_time(
        &mut self,
        path: PathBuf,
        modified: (i64, i64),
        budget: &mut Budget,
    ) -> Result<(), Trouble> {
        budget.remember(path.as_os_str().len())?;
        self.times.insert(path, modified);
        Ok(())
    }

    /// Removes what has the name of a new entry.
    fn clear(&mut self, place: &Place, name: &OsStr) -> Result<(), Trouble> {
        let Some(stat) = look(&place.dir, name)? else { return Ok(()) };
        remove(place.dir.as_fd(), name).map_err(failed("remove the entry of this name before it"))?;
        // What led through it may lead elsewhere from here on.
        self.last = None;
        if kind(&stat) == SFlag::S_IFDIR {
            let path = place.path.join(name);
            forget(&mut self.times, &path);
            forget(&mut self.opaque, &path);
            // A whiteout of the name itself is as true as before.
            let is_hidden = self.hidden.contains_key(&path);
            forget(&mut self.hidden, &path);
            if is_hidden {
                self.hidden.insert(path, ());
            }
        }
        Ok(())
    }

    /// The directory with these components, which is made as far as it is missing.
    fn make_directory(&mut self, components: &[&OsStr], budget: &mut Budget) -> Result<Place, Trouble> {
        if let Some((asked, place)) = &self.last
            && asked == components
        {
            return Ok(place.clone());
        }
        match self.walk(components, Some(budget))? {
            Some(place) => {
                let asked = components.iter().map(|component| (*component).to_owned()).collect();
                self.last = Some((asked, place.clone()));
                Ok(place)
            }
            None => Err(Trouble::Failed { op: "make its directory", errno: Errno::ENOENT }),
        }
    }

    /// Walks to a directory; links are followed with the layer's root as `/`. A missing one is made when there is a budget to
    /// make it from, else the answer is `None`.
    fn walk(&mut self, asked: &[&OsStr], mut budget: Option<&mut Budget>) -> Result<Option<Place>, Trouble> {
        let mut todo: VecDeque<OsString> = asked.iter().map(|name| (*name).to_owned()).collect();
        let (mut place, mut links, mut steps) = (self.at(PathBuf::new())?, 0, 0);
        while let Some(name) = todo.pop_front() {
            steps += 1;
            if steps > STEPS {
                return Err(Trouble::Failed { op: "follow the links to its directory", errno: Errno::ELOOP });
            }
            if name == ".." {
                place.path.pop();
                place = self.at(place.path)?;
                continue;
            }
            let inner = place.path.join(&name);
            if inner.as_os_str().len() > NAME_BYTES {
                return Err(Trouble::Refused(format!(
                    "its directory has a path longer than {NAME_BYTES} bytes"
                )));
            }
            let dir = match open_directory(&place.dir, name.as_os_str()) {
                Ok(dir) => dir,
                Err(Errno::ENOENT) => {
                    let Some(budget) = budget.as_deref_mut() else { return Ok(None) };
                    self.make_missing(&place, &name, &inner, budget)?
                }
                Err(Errno::ELOOP | Errno::ENOTDIR) => {
                    let target = readlinkat(&place.dir, name.as_os_str()).map_err(|_no_link| {
                        Trouble::Refused(format!(
                            "its directory {} is a file",
                            super::shown(inner.as_os_str().as_bytes())
                        ))
                    })?;
                    links += 1;
                    if links > LINKS {
                        return Err(Trouble::Failed {
                            op: "follow the links to its directory",
                            errno: Errno::ELOOP,
                        });
                    }
                    if target.as_bytes().starts_with(b"/") {
                        place = self.at(PathBuf::new())?;
                    }
                    let parts = target.as_bytes().split(|byte| *byte == b'/');
                    for part in parts.filter(|part| !part.is_empty() && *part != b".").rev() {
                        todo.push_front(OsStr::from_bytes(part).to_owned());
                    }
                    continue;
                }
                Err(errno) => return Err(Trouble::Failed { op: "open its directory", errno }),
            };
            place = Place { dir: Rc::new(dir), path: inner };
        }
        Ok(Some(place))
    }

    /// Makes a directory that has no entry of its own.
    fn make_missing(
        &mut self,
        place: &Place,
        name: &OsStr,
        path: &Path,
        budget: &mut Budget,
    ) -> Result<OwnedFd, Trouble> {
        budget.entry()?;
        budget.depth(path.iter().count())?;
        mkdirat(&place.dir, name, Mode::S_IRWXU).map_err(failed("make its directory"))?;
        let dir = open_directory(&place.dir, name).map_err(failed("open its directory"))?;
        self.inherit(dir.as_fd(), path.to_owned(), budget)?;
        Ok(dir)
    }

    /// Gives a directory the attributes that it has below: overlayfs shows those of the highest layer.
    fn inherit(&mut self, dir: BorrowedFd<'_>, path: PathBuf, budget: &mut Budget) -> Result<(), Trouble> {
        let below = self.lower.find(&path).map_err(failed("look at the layers below"))?;
        let below = below.filter(|stat| kind(stat) == SFlag::S_IFDIR);
        let (uid, gid, mode) = below.map_or((0, 0, 0o755), |stat| (stat.st_uid, stat.st_gid, stat.st_mode));
        fchown(dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed("set the owner"))?;
        fchmod(dir, Mode::from_bits_truncate(mode & 0o7777)).map_err(failed("set the mode"))?;
        match below {
            Some(stat) => self.remember_time(path, (stat.st_mtime, stat.st_mtime_nsec), budget),
            None => Ok(()),
        }
    }

    /// A directory by its path without links.
    pub(super) fn at(&self, path: PathBuf) -> Result<Place, Trouble> {
        let dir = open_directory(self.root, &path).map_err(failed("open its directory"))?;
        Ok(Place { dir: Rc::new(dir), path })
    }
}

/// What has a name in a directory.
pub(super) fn look(dir: impl AsFd, name: &OsStr) -> Result<Option<FileStat>, Trouble> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        stat => stat.map(Some).map_err(failed("look at it")),
    }
}

/// Takes out what is at a path and below it; paths are ordered by component, so that is one range.
fn forget<V>(noted: &mut BTreeMap<PathBuf, V>, path: &Path) {
    let below =
        noted.range(path.to_owned()..).map(|(below, _)| below).take_while(|below| below.starts_with(path));
    let gone: Vec<PathBuf> = below.cloned().collect();
    for below in gone {
        noted.remove(&below);
    }
}
