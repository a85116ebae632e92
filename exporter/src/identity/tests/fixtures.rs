//! What the paths of real hierarchies are taken for.

use std::path::Path;

use super::paths::{CONTAINERS, OTHERS, PODS, fill};
use crate::identity::{Identity, Kind, identify, nearest};

fn option(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[test]
fn containers_are_recognised() {
    for (template, runtime, id, uid, qos_class) in CONTAINERS {
        let delegated_runtime = runtime.strip_suffix(" D");
        let expected = Identity {
            runtime: delegated_runtime.unwrap_or(runtime),
            container_id: option(id),
            pod_uid: option(uid),
            kind: Kind::Container,
            qos_class: *qos_class,
            is_delegated: delegated_runtime.is_some(),
        };
        let path = fill(template);
        assert_eq!(identify(&path), Some(expected.clone()), "{template}");
        assert_eq!(nearest(&path), Some((path.clone(), expected.clone())), "{template}");
        // Relative, and as people write it.
        assert_eq!(identify(path.strip_prefix("/").unwrap()), Some(expected.clone()), "{template}");
        assert_eq!(identify(Path::new(&format!("/.{}//", path.display()))), Some(expected), "{template}");
    }
}

#[test]
fn pods_are_recognised() {
    for (template, below, runtime, uid, qos_class) in PODS {
        let expected = Identity {
            runtime,
            container_id: None,
            pod_uid: option(uid),
            kind: Kind::Pod,
            qos_class: *qos_class,
            is_delegated: false,
        };
        let (pod, path) = (fill(template), fill(template).join(fill(below)));
        assert_eq!(identify(&path), below.is_empty().then(|| expected.clone()), "{template} {below}");
        assert_eq!(nearest(&path), Some((pod, expected)), "{template} {below}");
    }
}

#[test]
fn a_sandbox_of_podrt_is_told_by_its_name() {
    let identity = identify(Path::new("/podrt-pods/classic/_sandbox")).unwrap();
    assert_eq!((identity.kind, identity.container_id.as_deref()), (Kind::Sandbox, Some("_sandbox")));
}

#[test]
fn the_rest_is_nobodys() {
    for template in OTHERS {
        assert_eq!(nearest(&fill(template)), None, "{template}");
    }
}
