//! From the root of the hierarchy down to a cgroup.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::place::Place;
use super::{Identity, Kind};

/// Who a cgroup is; `None` for what is no container and no pod: services, sessions, and what a container made below its own cgroup.
#[must_use]
pub fn identify(path: &Path) -> Option<Identity> {
    levels(path)?.last()?.1
}

/// The innermost container or pod that a cgroup is or belongs to, and its path.
#[must_use]
pub fn nearest(path: &Path) -> Option<(PathBuf, Identity)> {
    let (depth, identity) = found(path)?.last()?;
    Some((path.components().take(depth).collect(), identity))
}

/// The container that the node itself made and that a cgroup is or belongs to, and its path. It differs from [`nearest`] where an
/// engine runs in a container, or something that pretends to.
#[must_use]
pub fn outermost(path: &Path) -> Option<(PathBuf, Identity)> {
    let (depth, identity) = found(path)?.find(|(_, identity)| identity.kind != Kind::Pod)?;
    Some((path.components().take(depth).collect(), identity))
}

/// The outermost level of a path below which somebody else than the node's root makes cgroups, outside of containers.
#[must_use]
pub fn handed_over(path: &Path) -> Option<&str> {
    path.iter().filter_map(OsStr::to_str).find(|name| is_handed_over(name))
}

fn found(path: &Path) -> Option<impl Iterator<Item = (usize, Identity)>> {
    Some(levels(path)?.filter_map(|(depth, identity)| Some((depth, identity?))))
}

/// Each level below the root: how many components its path has, and what it is.
///
/// A path with `..` in it is seen from a cgroup namespace that it is outside of (cgroup_namespaces(7)), and tells nothing.
fn levels(path: &Path) -> Option<impl Iterator<Item = (usize, Option<Identity>)>> {
    if path.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let (mut place, mut is_delegated) = (Place::Root, false);
    let names = path.components().zip(1..).filter_map(|(part, depth)| match part {
        Component::Normal(name) => Some((depth, name.to_str())),
        _ => None,
    });
    Some(names.map(move |(depth, name)| {
        let (next, identity) = place.step(name);
        place = next;
        let identity = identity.map(|identity| Identity { is_delegated, ..identity });
        is_delegated |= identity.as_ref().is_some_and(|identity| identity.kind != Kind::Pod)
            || name.is_some_and(is_handed_over);
        (depth, identity)
    }))
}

/// Whoever is not the node's root makes cgroups below these: a user's service manager (user@.service(5)), and system containers.
fn is_handed_over(name: &str) -> bool {
    (name.ends_with(".service") && (name.starts_with("user@") || name.starts_with("systemd-nspawn@")))
        || name.starts_with("lxc.payload.")
}
