//! Names that carry a container's id.
//!
//! runc, crun and youki turn `linux.cgroupsPath` of the form `SLICE:PREFIX:NAME` into `PREFIX-NAME.scope` below the slice (runc,
//! `docs/systemd.md`), with the engine's name as the prefix. Without systemd the path is taken as it is: CRI-O and podman
//! put their prefix into it, and an engine that was set up for systemd while its runtime was not leaves a directory with the
//! colons in its name.

use super::id;
use super::kube::{self, Level};

/// What a name with an id in it means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unit<'a> {
    /// A container.
    Container {
        /// Who made it.
        runtime: &'static str,
        /// Its id.
        id: &'a str,
    },
    /// The process that watches a container from outside: no container.
    Monitor,
}

/// Prefixes of engines, which use full ids.
const ENGINES: [(&str, &str); 7] = [
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("docker", "docker"),
    ("libpod", "podman"),
    // podman run --cgroups=split
    ("libpod-payload", "podman"),
    ("containerd", "containerd"),
];

/// Prefixes of runtimes that were asked for by hand, with ids of any form.
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];

/// A scope of systemd.
pub(super) fn scope(name: &str) -> Option<Unit<'_>> {
    let stem = name.strip_suffix(".scope")?;
    match id::split_full(stem) {
        Some(("", id)) => Some(Unit::Container { runtime: "oci", id }),
        Some((prefix, id)) => Some(of(prefix.strip_suffix('-')?, id)),
        None => {
            let (prefix, id) = stem.split_once('-')?;
            by_hand(prefix, id)
        }
    }
}

/// A directory that an engine named itself.
pub(super) fn folder(name: &str) -> Option<Unit<'_>> {
    let (prefix, id) = id::split_full(name)?;
    match prefix {
        "" => Some(Unit::Container { runtime: "oci", id }),
        "crio-" | "crio-conmon-" | "libpod-" | "libpod-payload-" | "libpod-conmon-" => {
            Some(of(prefix.strip_suffix('-')?, id))
        }
        _ => None,
    }
}

/// A directory with colons in its name, and the level that its slice is, if it is one of the kubelet's.
pub(super) fn colons(name: &str) -> Option<(Option<Level>, Unit<'_>)> {
    let mut parts = name.split(':');
    let (slice, prefix, id) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let unit = if id::is_full(id) { of(prefix, id) } else { by_hand(prefix, id)? };
    Some((kube::anywhere(slice), unit))
}

/// The pod of podman that a slice is (`machine-libpod_pod_ID.slice`, `user-libpod_pod_ID.slice`).
pub(super) fn podman_pod(name: &str) -> Option<&str> {
    let (above, id) = id::split_full(name.strip_suffix(".slice")?)?;
    (above == "libpod_pod_" || above.ends_with("-libpod_pod_")).then_some(id)
}

fn of<'a>(prefix: &str, id: &'a str) -> Unit<'a> {
    if prefix == "conmon" || prefix.ends_with("-conmon") {
        return Unit::Monitor;
    }
    let engine = ENGINES.iter().find(|(known, _)| *known == prefix).map(|(_, runtime)| *runtime);
    let runtime = engine.or_else(|| RUNTIMES.into_iter().find(|known| *known == prefix)).unwrap_or("oci");
    Unit::Container { runtime, id }
}

fn by_hand<'a>(prefix: &str, id: &'a str) -> Option<Unit<'a>> {
    let runtime = RUNTIMES.into_iter().find(|known| *known == prefix)?;
    id::is_oci(id).then_some(Unit::Container { runtime, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";

    #[test]
    fn prefixes_tell_the_engine() {
        let runtime = |prefix: &str| match scope(&format!("{prefix}{ID}.scope")) {
            Some(Unit::Container { runtime, id }) => {
                assert_eq!(id, ID);
                Some(runtime)
            }
            _ => None,
        };
        assert_eq!(runtime("libpod-payload-"), Some("podman"));
        assert_eq!(runtime("my-engine-"), Some("oci"));
        assert_eq!(runtime(""), Some("oci"));
        assert_eq!(runtime("docker"), None);
        assert_eq!(runtime("libpod-conmon-"), None);
    }

    #[test]
    fn other_units_are_not_scopes() {
        // podman's timers of health checks have the id in their names.
        for name in
            [format!("{ID}.service"), format!("{ID}-4c1f.timer"), "docker-9bca8d63d5fa.scope".to_owned()]
        {
            assert_eq!(scope(&name), None, "{name}");
        }
        assert_eq!(folder(&format!("docker-{ID}.mount")), None);
        assert_eq!(scope("runc-.scope"), None);
    }

    #[test]
    fn colons_are_two() {
        assert_eq!(colons(":youki:web"), Some((None, Unit::Container { runtime: "youki", id: "web" })));
        for name in [":", "::", "a:b:c", ":youki:", ":youki:a:b", ":docker:web"] {
            assert_eq!(colons(name), None, "{name}");
        }
    }
}
