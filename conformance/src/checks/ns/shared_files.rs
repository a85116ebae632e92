//! A file system that the containers of a pod share: which one it is, and what is in it.

use std::collections::BTreeSet;
use std::fs;

use podproof_witness::Command;
use serde_json::Value;

use crate::cell::{Cell, Container, Obstacle};
use crate::checks::facts;
use crate::evidence::{Evidence, Gap, Side};
use crate::judge::Finding;
use crate::observe::process::{Mount, mounts};

/// Adds device and type of what is mounted at a place, and the names in it, as the witness sees them and as they are seen
/// from outside: `device.NAME`, `type.NAME`, `names.NAME`.
pub(super) fn look(
    cell: &Cell<'_>,
    evidence: &mut Evidence,
    container: &mut Container,
    place: &str,
) -> Result<(), Obstacle> {
    let (name, pid) = (container.name.clone(), container.outer_pid());
    let timeout = cell.deadline(5.0);
    let witness = container.witness()?;
    let own = witness.hello.birth.mountinfo.as_deref().and_then(|text| mounted_at(text, place));
    if let Some(mount) = own {
        let source = format!("witness {name}: /proc/self/mountinfo");
        evidence.inside(&format!("device.{name}"), mount.device, source.clone());
        evidence.inside(&format!("type.{name}"), mount.fstype, source);
    }
    let listed: Vec<String> = witness.ask_as(Command::ListDir { path: place.to_owned() }, timeout)?;
    evidence.inside(&format!("names.{name}"), listed, format!("witness {name}: list {place}"));

    let path = format!("/proc/{pid}/mountinfo");
    let outside = fs::read_to_string(&path).ok().and_then(|text| mounted_at(&text, place));
    if let Some(mount) = outside {
        evidence.kernel(&format!("device.{name}"), mount.device, format!("{path} read on the node"));
        evidence.kernel(&format!("type.{name}"), mount.fstype, format!("{path} read on the node"));
    }
    let path = format!("/proc/{pid}/root{place}");
    let failed = |source| Obstacle::Node { op: "list", path: path.clone().into(), source };
    let listed: BTreeSet<String> = fs::read_dir(&path)
        .map_err(failed)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    evidence.kernel(
        &format!("names.{name}"),
        listed.into_iter().collect::<Vec<_>>(),
        format!("list {path} on the node"),
    );
    Ok(())
}

/// What is on top at a place: the last one of several mounts.
fn mounted_at(mountinfo: &str, place: &str) -> Option<Mount> {
    mounts(mountinfo).into_iter().rfind(|mount| mount.target == place)
}

/// Adds what a look for a text brought: `errno.NAME`, `text.NAME`.
pub(super) fn read(evidence: &mut Evidence, name: &str, found: &Value, source: &str) {
    evidence.inside(&format!("errno.{name}"), found["errno"].clone(), format!("witness {name}: {source}"));
    if let Value::String(text) = &found["text"] {
        evidence.inside(&format!("text.{name}"), text.clone(), format!("witness {name}: {source}"));
    }
}

/// a and b see one file system of this type, which is not the one that c sees; what a made is in it, and nothing of this is
/// in c's. The names that a made are the fact `made`.
pub(super) fn rule(side: &Side<'_>, fstype: &str) -> Result<Finding, Gap> {
    let text = |fact: &str| ["a", "b", "c"].map(|name| side.text(&format!("{fact}.{name}")));
    let ([a, b, c], [type_a, type_b, _]) = (text("device"), text("type"));
    let (a, b, c, type_a, type_b) = (a?, b?, c?, type_a?, type_b?);
    let one = Finding::new(
        a == b && a != c && [type_a, type_b] == [fstype; 2],
        format!("a and b have one {fstype}, which is not c's"),
        format!("a has {type_a} {a}, b has {type_b} {b}, c has {c}"),
    );
    let made = side.texts("made")?;
    let (a, b, c) = (side.texts("names.a")?, side.texts("names.b")?, side.texts("names.c")?);
    let listed = Finding::new(
        made.iter().all(|name| a.contains(name) && b.contains(name) && !c.contains(name)),
        format!("{} in that of a and b, and not in c's", made.join(", ")),
        format!("listed in a: [{}], b: [{}], c: [{}]", a.join(", "), b.join(", "), c.join(", ")),
    );
    Ok(one.and(listed))
}

/// Names that a check gives to what it makes; no other check and no other run uses them.
pub(super) fn name(check: &str) -> String {
    format!("podproof-{}-{check}", std::process::id())
}

/// Adds the names that a made.
pub(super) fn made(evidence: &mut Evidence, names: &[&str]) {
    facts::told(evidence, "made", names.to_vec(), "the suite's own choice");
}
