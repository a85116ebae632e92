//! Names that somebody chose to mislead.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::paths::{A, fill};
use crate::identity::{Kind, identify, nearest, outermost};

#[test]
fn what_a_container_makes_is_its_own() {
    let container = fill("/kubepods/burstable/pod{U}/{N}");
    for inner in [
        "{A}",
        "init.scope",
        "container",
        "pod{U}",
        "burstable/pod{U}/{A}",
        "docker-{A}.scope",
        "cri-containerd-{A}.scope",
        "crio-{A}.scope",
        "libpod-{A}",
        "system.slice:docker:{A}",
        ":runc:web",
        "runc-web.scope",
        "default/{A}",
        "k8s.io/{A}",
        "podrt/web",
        "system.slice/{A}",
        "system.slice/sshd.service",
        "user@0.service/{A}",
        "docker",
        "docker/short",
        "kubepods/pod/",
        "kubepods.slice/kubepods-podx.slice",
        "podrt-pods/_classic/web",
    ] {
        let path = container.join(fill(inner));
        assert_eq!(identify(&path), None, "{inner}");
        assert_eq!(nearest(&path).map(|(path, _)| path), Some(container.clone()), "{inner}");
    }
}

#[test]
fn a_container_that_plays_a_node_is_told_from_the_node() {
    let container = fill("/system.slice/docker-{N}.scope");
    for inner in ["kubepods/pod{U}/{A}", "docker/{A}", "machine.slice/libpod-{A}.scope", "podrt-pods/p/c"] {
        let path = container.join(fill(inner));
        assert!(identify(&path).unwrap().is_delegated, "{inner}");
        let (outer, identity) = outermost(&path).unwrap();
        assert_eq!((outer, identity.is_delegated), (container.clone(), false), "{inner}");
    }
    // A pod is handed over with the container that it is in, and no earlier.
    let pod = identify(&container.join(fill("kubepods/pod{U}"))).unwrap();
    assert_eq!((pod.kind, pod.is_delegated), (Kind::Pod, true));
}

#[test]
fn what_a_user_makes_is_delegated() {
    let session = "/user.slice/user-1000.slice/user@1000.service";
    for inner in ["kubepods/burstable/pod{U}/{A}", "{A}", "docker/{A}"] {
        assert!(identify(&Path::new(session).join(fill(inner))).unwrap().is_delegated, "{inner}");
    }
}

#[test]
fn a_level_without_a_uid_is_no_pod() {
    for name in ["pod", "pod-", "podweb", "pod..", "pod2c48913c-b29f-11e7-9350"] {
        let path = Path::new("/kubepods/burstable").join(name);
        assert_eq!(nearest(&path), None, "{name}");
        let identity = identify(&path.join(A)).unwrap();
        assert_eq!((identity.runtime, identity.pod_uid), ("cri", None), "{name}");
    }
}

#[test]
fn ids_of_another_length_are_none() {
    for id in ["", "9bca8d63d5fa", &A[1..], &format!("{A}0"), &A.to_uppercase(), &"a".repeat(100_000)] {
        for parent in ["/docker", "/system.slice", "/kubepods/burstable"] {
            assert_eq!(nearest(&Path::new(parent).join(id)), None, "{parent} {id:.80}");
            let scope = Path::new(parent).join(format!("docker-{id}.scope"));
            let is_full = nearest(&scope).is_some();
            // With a digit more, the prefix is `docker-9`, which lacks its dash.
            assert!(!is_full, "{parent} {id:.80}");
        }
    }
    assert_eq!(nearest(&Path::new("/default").join("x".repeat(256))), None);
}

#[test]
fn bytes_that_are_no_text_make_unknown_names() {
    let odd = OsStr::from_bytes(b"docker-\xff\xfe.scope");
    assert_eq!(nearest(&Path::new("/system.slice").join(odd)), None);
    let container = fill("/docker/{A}");
    assert_eq!(nearest(&container.join(odd)).map(|(path, _)| path), Some(container));
    assert_eq!(nearest(&PathBuf::from("/default").join("a\nb")), None);
    assert_eq!(nearest(&PathBuf::from("/podrt-pods").join("a\"} 1\n")), None);
}

#[test]
fn a_path_from_outside_a_namespace_tells_nothing() {
    assert_eq!(nearest(&fill("/../{A}")), None);
    assert_eq!(nearest(&fill("/docker/{A}/..")), None);
}

#[test]
fn depth_is_no_danger() {
    let mut path = fill("/docker/{A}");
    let container = path.clone();
    path.extend(std::iter::repeat_n("x", 20_000));
    assert_eq!(nearest(&path).map(|(path, _)| path), Some(container));
}
