//! Who has which address: one file per pod.
//!
//! ```text
//! DIR/                locked with flock(2) while a lease is given or taken back
//! DIR/POD@ADDRESS     a lease, as JSON; the name alone tells which addresses are taken; of a long name of a pod, that
//!                     is its begin, `~` and its digest
//! DIR/.new            a lease that is being written, for rename(2)
//! ```
//!
//! A lease is there before anything of the kernel is made for it, and is removed after that is gone. So what carries the mark
//! of this directory and has no lease is a remainder, and may be removed by whoever has the lock.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bridge::VETH_PREFIX;
use super::{Bridge, NetError};

const NEW: &str = ".new";
/// The longest name that the API gives a pod.
const POD_MAX: usize = 253;
/// The longest that is in the name of a file as it is: with separator and address that has at most 255 bytes.
const PLAIN_MAX: usize = 200;
/// How much of a longer one is, beside its digest: for people.
const BEGIN: usize = 100;
/// Between begin and digest; no name of a pod has it.
const CUT: char = '~';

/// The address of a pod, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose it is.
    pub pod: String,
    /// Address of the pod's `eth0`.
    pub address: Ipv4Addr,
    /// The bridge behind which the pod is, with the subnet.
    pub bridge: Bridge,
    /// Name of the pod's interface on the node: made of the address, so no two leases of a node have the same.
    pub host_interface: String,
    /// The group of the interfaces that are made for this directory.
    pub mark: Mark,
}

impl Lease {
    /// The way out of the pod.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.bridge.gateway()
    }

    /// Length of the prefix of the address.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.bridge.subnet().prefix()
    }
}

/// Tells podrt's interfaces from others, and those of one lease directory from those of another. It is an interface group
/// (`ip link show group NUMBER`), because that, unlike an alias, is set in the moment in which an interface is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark(u32);

impl Mark {
    const OF_PODRT: u32 = 0x7200_0000;

    fn new(dir: &Path) -> Self {
        let digest = Sha256::digest(dir.as_os_str().as_bytes());
        let number = u32::from_be_bytes([0, digest[0], digest[1], digest[2]]);
        Self(Self::OF_PODRT | number)
    }

    /// The interface group.
    #[must_use]
    pub fn group(self) -> u32 {
        self.0
    }

    /// True for the groups of this and of any other lease directory.
    pub(super) fn is_of_podrt(group: u32) -> bool {
        group & 0xff00_0000 == Self::OF_PODRT
    }
}

/// Gives a pod an address, the lowest that is free; or the one that it has.
///
/// # Errors
/// [`NetError::Exhausted`]; [`NetError::OtherBridge`] when the pod has an address of another bridge; [`NetError::Damaged`];
/// else the failed operation.
pub fn lease(dir: &Path, pod: &str, bridge: &Bridge) -> Result<Lease, NetError> {
    check_pod(pod)?;
    LeaseDir::make(dir)?.lease(pod, bridge)
}

/// Finds the lease of a pod, without the lock.
///
/// # Errors
/// [`NetError::Damaged`], else the failed operation. A directory that does not exist has none.
pub fn find(dir: &Path, pod: &str) -> Result<Option<Lease>, NetError> {
    match leases(dir)?.into_iter().find(|entry| entry.is_of(pod)) {
        Some(entry) => read(dir, &entry).map(Some),
        None => Ok(None),
    }
}

/// A lease by the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseEntry {
    /// Whose it is: the pod's name, or of a long one the begin and its digest. Every function here that takes a name takes this.
    pub pod: String,
    /// Address of the pod.
    pub address: Ipv4Addr,
}

impl LeaseEntry {
    fn parse(name: &OsStr) -> Option<Self> {
        let (pod, address) = name.to_str()?.rsplit_once('@')?;
        let (begin, digest) =
            pod.split_once(CUT).map_or((pod, None), |(begin, digest)| (begin, Some(digest)));
        check_pod(begin).ok()?;
        let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digest.is_none_or(is_digest).then_some(())?;
        Some(Self { pod: pod.to_owned(), address: address.parse().ok()? })
    }

    /// True when the lease is that of the pod of this name.
    #[must_use]
    pub fn is_of(&self, pod: &str) -> bool {
        self.pod == short(pod)
    }

    fn file(&self) -> String {
        format!("{}@{}", self.pod, self.address)
    }
}

/// Lists the leases, sorted by address, damaged ones too. What else is in the directory is nobody's lease.
///
/// # Errors
/// The failed operation. A directory that does not exist has none.
pub fn leases(dir: &Path) -> Result<Vec<LeaseEntry>, NetError> {
    let mut entries = Vec::new();
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(entries),
        Err(error) => return Err(NetError::file("list", dir)(error)),
        Ok(files) => {
            for file in files {
                let file = file.map_err(NetError::file("list", dir))?;
                entries.extend(LeaseEntry::parse(&file.file_name()));
            }
        }
    }
    entries.sort_by_key(|entry| entry.address);
    Ok(entries)
}

/// The name of a pod as it is in that of a file; what is short already stays as it is.
fn short(pod: &str) -> Cow<'_, str> {
    match pod.get(..BEGIN).filter(|_| pod.len() > PLAIN_MAX) {
        None => pod.into(),
        Some(begin) => {
            let digest: String =
                Sha256::digest(pod.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{begin}{CUT}{digest}").into()
        }
    }
}

/// The name must be one of a file, and unlike all other names here.
fn check_pod(pod: &str) -> Result<(), NetError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if pod.is_empty() || pod.len() > POD_MAX || pod.starts_with('.') || !pod.chars().all(is_fine) {
        return Err(NetError::PodName { pod: pod.to_owned() });
    }
    Ok(())
}

fn read(dir: &Path, entry: &LeaseEntry) -> Result<Lease, NetError> {
    let path = dir.join(entry.file());
    let text = fs::read(&path).map_err(NetError::file("read", &path))?;
    let damaged = |reason: String| NetError::Damaged { path: path.clone(), reason };
    let lease: Lease = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    if !entry.is_of(&lease.pod) || lease.address != entry.address {
        return Err(damaged(format!("it is that of {} with {}", lease.pod, lease.address)));
    }
    if !lease.bridge.subnet().has_pod(lease.address) || lease.host_interface != host_interface(lease.address)
    {
        return Err(damaged("address, bridge and interface do not belong together".to_owned()));
    }
    Ok(lease)
}

/// 13 bytes, and no two pods of a node have the same: subnets of two bridges do not overlap.
fn host_interface(address: Ipv4Addr) -> String {
    format!("{VETH_PREFIX}{:08x}", address.to_bits())
}

/// The directory, locked until this is dropped.
#[derive(Debug)]
pub(super) struct LeaseDir {
    path: PathBuf,
    mark: Mark,
    _lock: File,
}

impl LeaseDir {
    fn make(path: &Path) -> Result<Self, NetError> {
        let mut builder = DirBuilder::new();
        builder.mode(0o700).recursive(true).create(path).map_err(NetError::file("make", path))?;
        Self::lock(path)
    }

    /// Locks the directory; `None` when it does not exist.
    pub(super) fn lock_existing(path: &Path) -> Result<Option<Self>, NetError> {
        match Self::lock(path) {
            Err(NetError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some),
        }
    }

    fn lock(path: &Path) -> Result<Self, NetError> {
        // By whichever way it was named, it is the same directory.
        let path = fs::canonicalize(path).map_err(NetError::file("find", path))?;
        let lock = File::open(&path).map_err(NetError::file("open", &path))?;
        lock.lock().map_err(NetError::file("lock", &path))?;
        Ok(Self { mark: Mark::new(&path), path, _lock: lock })
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    fn lease(&self, pod: &str, bridge: &Bridge) -> Result<Lease, NetError> {
        let entries = leases(&self.path)?;
        if let Some(entry) = entries.iter().find(|entry| entry.is_of(pod)) {
            let lease = read(&self.path, entry)?;
            if lease.bridge != *bridge {
                let (has, wanted) = (lease.bridge, bridge.clone());
                return Err(NetError::OtherBridge { pod: pod.to_owned(), has, wanted });
            }
            return Ok(lease);
        }
        let address = lowest_free(bridge, entries.iter().map(|entry| entry.address).collect())?;
        let lease = Lease {
            pod: pod.to_owned(),
            address,
            bridge: bridge.clone(),
            host_interface: host_interface(address),
            mark: self.mark,
        };
        self.save(&lease)?;
        Ok(lease)
    }

    fn save(&self, lease: &Lease) -> Result<(), NetError> {
        let new = self.path.join(NEW);
        let entry = LeaseEntry { pod: short(&lease.pod).into_owned(), address: lease.address };
        let path = self.path.join(entry.file());
        let text = serde_json::to_vec_pretty(lease)
            .map_err(|error| NetError::Damaged { path: path.clone(), reason: error.to_string() })?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).map_err(NetError::file("make", &new))?;
        file.write_all(&text).map_err(NetError::file("write", &new))?;
        fs::rename(&new, &path).map_err(NetError::file("make", path))
    }

    /// The lease of a pod, by name.
    pub(super) fn find(&self, pod: &str) -> Result<Option<LeaseEntry>, NetError> {
        Ok(leases(&self.path)?.into_iter().find(|entry| entry.is_of(pod)))
    }

    pub(super) fn read(&self, entry: &LeaseEntry) -> Result<Lease, NetError> {
        read(&self.path, entry)
    }

    /// The leases that can be read, and how many there are in all.
    pub(super) fn all(&self) -> Result<(Vec<Lease>, usize), NetError> {
        let entries = leases(&self.path)?;
        let readable = entries.iter().filter_map(|entry| read(&self.path, entry).ok()).collect();
        Ok((readable, entries.len()))
    }

    /// Removes a lease; what was made for it must be gone.
    pub(super) fn remove(&self, entry: &LeaseEntry) -> Result<(), NetError> {
        self.remove_file(&entry.file())
    }

    /// Removes what an interrupted [`lease`] left. Nobody is writing, as we have the lock.
    pub(super) fn remove_unfinished(&self) -> Result<(), NetError> {
        self.remove_file(NEW)
    }

    fn remove_file(&self, name: &str) -> Result<(), NetError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NetError::file("remove", path)(error))
            }
            _ => Ok(()),
        }
    }
}

fn lowest_free(bridge: &Bridge, taken: BTreeSet<Ipv4Addr>) -> Result<Ipv4Addr, NetError> {
    let subnet = bridge.subnet();
    (subnet.first() + 2..subnet.last())
        .map(Ipv4Addr::from_bits)
        .find(|address| !taken.contains(address))
        .ok_or_else(|| NetError::Exhausted { bridge: bridge.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn addresses(dir: &Path) -> Vec<String> {
        leases(dir).unwrap().iter().map(|entry| entry.address.to_string()).collect()
    }

    #[test]
    fn a_pod_keeps_its_lease_and_the_lowest_address_is_next() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("deep/net");
        assert_eq!(leases(&dir).unwrap(), []);
        assert_eq!(find(&dir, "a").unwrap(), None);
        let bridge: Bridge = "b,10.0.0.0/29".parse().unwrap();
        let first = lease(&dir, "a", &bridge).unwrap();
        assert_eq!((first.address, first.gateway()), ([10, 0, 0, 2].into(), [10, 0, 0, 1].into()));
        assert_eq!((first.host_interface.as_str(), first.prefix()), ("podrt0a000002", 29));
        lease(&dir, "b", &bridge).unwrap();
        assert_eq!(lease(&dir, "a", &bridge).unwrap(), first);
        assert_eq!(find(&dir, "a").unwrap(), Some(first.clone()));
        let locked = LeaseDir::lock(&dir).unwrap();
        let entry = locked.find("a").unwrap().unwrap();
        locked.remove(&entry).unwrap();
        locked.remove(&entry).unwrap();
        drop(locked);
        assert_eq!(addresses(&dir), ["10.0.0.3"]);
        assert_eq!(lease(&dir, "c", &bridge).unwrap().address, first.address);
    }

    #[test]
    fn a_full_subnet_is_an_error_that_says_how_many_it_holds() {
        let temp = tempfile::tempdir().unwrap();
        let bridge: Bridge = "b,10.0.0.0/30".parse().unwrap();
        lease(temp.path(), "a", &bridge).unwrap();
        let error = lease(temp.path(), "b", &bridge).unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/30") && error.contains("1 pods"), "{error}");
    }

    #[test]
    fn a_pod_with_an_address_of_another_bridge_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        lease(temp.path(), "a", &Bridge::default()).unwrap();
        let error = lease(temp.path(), "a", &"other,10.1.0.0/16".parse().unwrap()).unwrap_err();
        assert!(matches!(error, NetError::OtherBridge { .. }), "{error}");
    }

    #[test]
    fn names_that_are_no_names_of_files_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let long = "x".repeat(POD_MAX + 1);
        for pod in ["", ".", "..", ".new", "a/b", "a@b", "a\0", "ä", "a b", &long] {
            let error = lease(temp.path(), pod, &Bridge::default()).unwrap_err();
            assert!(matches!(error, NetError::PodName { .. }), "{pod:?}: {error}");
        }
        lease(temp.path(), &"x".repeat(POD_MAX), &Bridge::default()).unwrap();
    }

    #[test]
    fn long_names_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let name = |length: usize, end: &str| format!("{}{end}", "x".repeat(length - end.len()));
        let names = [name(200, "a"), name(201, "a"), name(201, "b"), name(POD_MAX, "a"), name(POD_MAX, "b")];
        for pod in &names {
            let lease = lease(temp.path(), pod, &Bridge::default()).unwrap();
            assert_eq!(find(temp.path(), pod).unwrap(), Some(lease));
        }
        let entries = leases(temp.path()).unwrap();
        assert_eq!(entries.len(), names.len());
        for (pod, entry) in names.iter().zip(&entries) {
            assert!(entry.is_of(pod) && entry.is_of(&entry.pod), "{entry:?}");
            assert_eq!(names.iter().filter(|pod| entry.is_of(pod)).count(), 1, "{entry:?}");
            // It is found by what its file is called, too.
            assert_eq!(find(temp.path(), &entry.pod).unwrap().unwrap().pod, *pod);
        }
        let locked = LeaseDir::lock(temp.path()).unwrap();
        locked.remove(&locked.find(&names[3]).unwrap().unwrap()).unwrap();
        drop(locked);
        assert_eq!(find(temp.path(), &names[3]).unwrap(), None);
        assert_eq!(leases(temp.path()).unwrap().len(), names.len() - 1);
    }

    #[test]
    fn an_interrupted_write_takes_no_address_and_a_damaged_lease_keeps_its_own() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(NEW), "{").unwrap();
        fs::write(temp.path().join("stray"), "").unwrap();
        fs::write(temp.path().join("b@10.89.0.2"), "{").unwrap();
        assert_eq!(lease(temp.path(), "a", &Bridge::default()).unwrap().address.to_string(), "10.89.0.3");
        assert!(!temp.path().join(NEW).exists());
        let error = lease(temp.path(), "b", &Bridge::default()).unwrap_err().to_string();
        assert!(error.contains("b@10.89.0.2"), "{error}");
        // Of another pod, address or interface than the name says.
        let good = fs::read_to_string(temp.path().join("a@10.89.0.3")).unwrap();
        for (from, to) in [("\"a\"", "\"c\""), ("10.89.0.3", "10.89.0.9"), ("podrt0a", "podrt0b")] {
            fs::write(temp.path().join("a@10.89.0.3"), good.replace(from, to)).unwrap();
            let error = find(temp.path(), "a").unwrap_err();
            assert!(matches!(error, NetError::Damaged { .. }), "{error}");
        }
        fs::write(temp.path().join("a@10.89.0.3"), good.replace("podrt0,10.89", "podrt0,10.90")).unwrap();
        assert!(matches!(find(temp.path(), "a"), Err(NetError::Damaged { .. })));
    }

    #[test]
    fn the_mark_is_that_of_the_directory_however_it_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let (one, two) = (temp.path().join("one"), temp.path().join("two"));
        let first = lease(&one, "a", &Bridge::default()).unwrap();
        std::os::unix::fs::symlink(&one, temp.path().join("link")).unwrap();
        assert_eq!(lease(&temp.path().join("link"), "b", &Bridge::default()).unwrap().mark, first.mark);
        assert_ne!(lease(&two, "a", &Bridge::default()).unwrap().mark, first.mark);
        assert!(Mark::is_of_podrt(first.mark.group()) && !Mark::is_of_podrt(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_two_pods_have_an_address_and_none_is_reserved(steps in prop::collection::vec((0..12u8, any::<bool>()), 0..60)) {
            let temp = tempfile::tempdir().unwrap();
            let bridge: Bridge = "b,10.0.0.8/29".parse().unwrap();
            let mut expected: BTreeMap<String, Ipv4Addr> = BTreeMap::new();
            for (pod, is_given) in steps {
                let pod = format!("pod-{pod}");
                if is_given {
                    let free = (10..15).map(|last| Ipv4Addr::new(10, 0, 0, last))
                        .find(|address| !expected.values().any(|taken| taken == address));
                    match (lease(temp.path(), &pod, &bridge), expected.get(&pod).copied().or(free)) {
                        (Ok(lease), Some(address)) => {
                            prop_assert_eq!(lease.address, address);
                            expected.insert(pod, address);
                        }
                        (Err(NetError::Exhausted { .. }), None) => {}
                        (result, address) => prop_assert!(false, "{result:?} in place of {address:?}"),
                    }
                } else {
                    let locked = LeaseDir::lock(temp.path()).unwrap();
                    if let Some(entry) = locked.find(&pod).unwrap() {
                        locked.remove(&entry).unwrap();
                    }
                    expected.remove(&pod);
                }
                let listed: BTreeMap<_, _> =
                    leases(temp.path()).unwrap().into_iter().map(|entry| (entry.pod, entry.address)).collect();
                prop_assert_eq!(&listed, &expected);
            }
        }
    }
}
