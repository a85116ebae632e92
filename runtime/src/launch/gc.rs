//! Removing what interrupted commands left.
//!
//! | found | taken for | done |
//! |---|---|---|
//! | a directory that a command has locked | at work | nothing |
//! | one without a state file | an interrupted create, or delete | removed |
//! | a state without a process | an interrupted create | removed, with its cgroup and pid file |
//! | a stopped container whose cgroup is gone, or another's | an interrupted delete | removed |
//! | `state.json.new` | an interrupted write | removed |
//! | a damaged or foreign state file | perhaps a container that lives | told |
//! | a cgroup whose state directory is gone | removed by hand | removed when empty, else told |
//! | any other container, file or cgroup | somebody's | nothing |

use crate::cgroup::owner::{self, Claim};
use crate::cgroup::{CgroupError, remove};
use crate::spec::ContainerId;
use crate::state::{ContainerDir, StateError, StateRoot, Status};

use super::{LaunchError, lifecycle};

/// What a clean-up did, in words.
#[derive(Debug, Default)]
pub struct Collected {
    /// What was removed, and why.
    pub removed: Vec<String>,
    /// What needs a decision, or could not be removed.
    pub left: Vec<String>,
}

/// Cleans up below one state root, and the cgroups of its containers. No process is ended but those of a create that was
/// interrupted before its container existed.
///
/// # Errors
/// When the state root or the hierarchy cannot be read; a failure on one container is told in the result.
pub fn gc(root: &StateRoot) -> Result<Collected, LaunchError> {
    let mut collected = Collected::default();
    let (ids, others) = root.entries()?;
    collected.left.extend(others.iter().map(|path| format!("{}: not podrt's, not touched", path.display())));
    for id in ids {
        let directory = match root.try_lock(&id) {
            Ok(Some(directory)) => directory,
            // At work, or deleted meanwhile.
            Ok(None) | Err(StateError::Unknown { .. }) => continue,
            Err(error) => {
                collected.left.push(format!("container {id}: {}", text_of(&error)));
                continue;
            }
        };
        match collect(root, &id, directory) {
            Ok(None) => {}
            Ok(Some(what)) => collected.removed.push(format!("container {id}: {what}")),
            Err(error) => collected.left.push(format!("container {id}: {}", text_of(&error))),
        }
    }
    collect_cgroups(root, &mut collected)?;
    Ok(collected)
}

fn collect(
    root: &StateRoot,
    id: &ContainerId,
    directory: ContainerDir,
) -> Result<Option<String>, LaunchError> {
    let state = match root.load(id) {
        Ok(state) => state,
        Err(StateError::Unknown { .. }) => {
            directory.remove()?;
            return Ok(Some("a directory without a state file".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    match lifecycle::status(root, id, &state)? {
        Status::Creating => {
            let warnings = lifecycle::destroy(root, id, directory, &state)?;
            Ok(Some(with_warnings("its create was interrupted", &warnings)))
        }
        Status::Stopped if matches!(root.owner(id).claim(&state.cgroup), Ok(Claim::Gone | Claim::Others)) => {
            let warnings = lifecycle::destroy(root, id, directory, &state)?;
            Ok(Some(with_warnings("its delete was interrupted", &warnings)))
        }
        _ => Ok(directory.remove_unfinished()?.then(|| "an unfinished state file".to_owned())),
    }
}

/// What was removed, and which hooks failed on the way.
fn with_warnings(what: &str, warnings: &[String]) -> String {
    std::iter::once(what).chain(warnings.iter().map(String::as_str)).collect::<Vec<_>>().join("; ")
}

/// Cgroups of containers of this root whose state directory is gone.
fn collect_cgroups(root: &StateRoot, collected: &mut Collected) -> Result<(), CgroupError> {
    let root = root.canonical();
    for (path, owner) in owner::marked()? {
        if owner.directory().parent() != Some(root.as_path()) || owner.directory().exists() {
            continue;
        }
        let of = owner.directory().display();
        if owner::is_populated(&path.directory())? {
            collected.left.push(format!(
                "cgroup {path}: has processes, and {of} is gone; end them, or write 1 to its cgroup.kill, then podrt gc"
            ));
            continue;
        }
        match remove::remove_empty(&path) {
            Ok(()) => collected.removed.push(format!("cgroup {path}: {of} is gone")),
            Err(error) => collected.left.push(format!("cgroup {path}: {}", text_of(&error))),
        }
    }
    Ok(())
}

/// An error with its causes on one line.
fn text_of(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
