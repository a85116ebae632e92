//! What holds for all paths.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::paths::{A, CONTAINERS, U, fill};
use crate::identity::{identify, nearest, outermost};

/// Parts of names, which a hostile name is put together from.
const PARTS: &[&str] = &[
    "pod",
    "kubepods",
    "kubepods-",
    "burstable",
    "besteffort",
    "-",
    "_",
    ":",
    ".",
    ".slice",
    ".scope",
    ".service",
    "docker",
    "docker-",
    "crio-",
    "crio-conmon-",
    "libpod-",
    "libpod_pod_",
    "libpod_parent",
    "cri-containerd-",
    "runc",
    "youki",
    "podrt",
    "podrt-pods",
    "_sandbox",
    "default",
    "k8s.io",
    "user@1000",
    "system",
    "ä",
    "\u{0}",
    " ",
    A,
    U,
];

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..80),
        vec(select(PARTS), 0..6).prop_map(|parts| parts.concat().into_bytes()),
    ]
}

fn join(base: &Path, names: &[Vec<u8>]) -> PathBuf {
    names.iter().fold(base.to_owned(), |mut path, name| {
        path.as_mut_os_string().push("/");
        path.as_mut_os_string().push(OsStr::from_bytes(name));
        path
    })
}

/// What opens a level of another engine, and `..`.
fn is_harmless(name: &[u8]) -> bool {
    let levels: [&[u8]; 4] = [b"docker", b"libpod_parent", b"podrt-pods", b".."];
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    // A slash makes two names of one.
    !levels.contains(&name) && !has(b"kubepods") && !has(b".slice") && !has(b"/")
}

proptest! {
    #[test]
    fn no_path_does_harm(names in vec(name(), 0..12)) {
        let path = join(Path::new(""), &names);
        let near = nearest(&path);
        // One is found exactly when the other is, apart from pods, and both are ancestors.
        if let Some((ancestor, identity)) = &near {
            prop_assert!(path.starts_with(ancestor));
            prop_assert_eq!(identify(ancestor), Some(identity.clone()));
            let texts = identity.container_id.iter().chain(&identity.pod_uid);
            let mut bytes = texts.flat_map(|text| text.bytes());
            prop_assert!(bytes.all(|byte| byte.is_ascii_graphic() && !b"\"\\/".contains(&byte)));
        }
        if let Some((outer, identity)) = outermost(&path) {
            prop_assert!(near.is_some_and(|(ancestor, _)| ancestor.starts_with(&outer)));
            prop_assert_eq!(identify(&outer), Some(identity));
        }
        if let Some(identity) = identify(&path) {
            prop_assert_eq!(nearest(&path).map(|(_, near)| near), Some(identity));
        }
    }

    #[test]
    fn inner_groups_are_the_containers(
        fixture in select(CONTAINERS),
        names in vec(name().prop_filter("opens a level", |name| is_harmless(name)), 0..6),
    ) {
        let container = fill(fixture.0);
        let path = join(&container, &names);
        let (ancestor, identity) = nearest(&path).unwrap();
        prop_assert_eq!(&ancestor, &container);
        prop_assert_eq!(Some(identity), identify(&container));
    }

    #[test]
    fn any_inner_group_is_told_from_the_nodes(fixture in select(CONTAINERS), names in vec(name(), 1..6)) {
        let container = fill(fixture.0);
        let path = join(&container, &names);
        if let Some((ancestor, identity)) = nearest(&path) && ancestor != container {
            prop_assert!(identity.is_delegated);
        }
        if !names.iter().any(|name| name.windows(2).any(|two| two == b"..")) {
            prop_assert_eq!(outermost(&path), outermost(&container));
        }
    }
}
