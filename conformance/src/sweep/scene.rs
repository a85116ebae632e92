//! The commands that are swept, each with what has to exist before it.

use super::SweepError;
use super::place::{ENDS, FULL, ID, JOINS, Place, SHORT_PROGRAM, STAYS};

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// `create`, with new namespaces of every common kind.
    Create,
    /// `create` of a container that joins the namespaces of a running one.
    CreateJoined,
    /// `create` with a user namespace, hooks, a filter of system calls and a terminal.
    CreateFull,
    /// `start`.
    Start,
    /// `start` of what [`Scene::CreateFull`] makes.
    StartFull,
    /// `exec` of a program that ends at once.
    Exec,
    /// `kill`, with TERM.
    Kill,
    /// `delete` of a stopped container.
    Delete,
    /// `delete` of what [`Scene::CreateFull`] makes, with hooks.
    DeleteFull,
    /// `run` of a program that ends at once.
    Run,
}

impl Scene {
    /// All, in the order of a container's life.
    pub const ALL: [Self; 10] = [
        Self::Create,
        Self::CreateJoined,
        Self::CreateFull,
        Self::Start,
        Self::StartFull,
        Self::Exec,
        Self::Kill,
        Self::Delete,
        Self::DeleteFull,
        Self::Run,
    ];

    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::CreateJoined => "create-joined",
            Self::CreateFull => "create-full",
            Self::Start => "start",
            Self::StartFull => "start-full",
            Self::Exec => "exec",
            Self::Kill => "kill",
            Self::Delete => "delete",
            Self::DeleteFull => "delete-full",
            Self::Run => "run",
        }
    }

    /// The scene of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scene| scene.name() == name)
    }

    /// The verb of the runtime.
    #[must_use]
    pub fn verb(self) -> &'static str {
        self.name().split('-').next().unwrap_or_default()
    }

    /// Makes what the command needs.
    pub(super) fn set_up(self, place: &mut Place) -> Result<(), SweepError> {
        match self {
            Self::Create | Self::CreateJoined | Self::CreateFull | Self::Run => {}
            Self::Start | Self::Exec | Self::Kill | Self::Delete => {
                place.call(&Self::Create.arguments(place))?;
            }
            Self::StartFull | Self::DeleteFull => place.call(&Self::CreateFull.arguments(place))?,
        }
        if matches!(self, Self::Exec | Self::Kill | Self::Delete | Self::DeleteFull) {
            place.call(&owned(&["start", ID]))?;
        }
        if matches!(self, Self::Delete | Self::DeleteFull) {
            // A runtime may refuse when it has ended by itself. If it lives still, the delete tells.
            let kill = owned(&["kill", ID, "KILL"]);
            place.finish(place.command(&kill), &kill)?;
            place.settle()?;
        }
        Ok(())
    }

    /// The arguments of the command, after those that every call has.
    pub(super) fn arguments(self, place: &Place) -> Vec<String> {
        let pid_file = place.pid_file();
        let with_bundle = |verb: &str, bundle: &str| {
            let bundle = place.bundle(bundle).display().to_string();
            owned(&[verb, "--bundle", &bundle, "--pid-file", &pid_file.display().to_string(), ID])
        };
        let console = place.console_socket().display().to_string();
        match self {
            Self::Create => with_bundle("create", STAYS),
            Self::CreateJoined => with_bundle("create", JOINS),
            Self::CreateFull => {
                let mut arguments = with_bundle("create", FULL);
                arguments.splice(1..1, owned(&["--console-socket", &console]));
                arguments
            }
            Self::Start | Self::StartFull => owned(&["start", ID]),
            Self::Exec => owned(&[
                "exec",
                "--pid-file",
                &pid_file.display().to_string(),
                ID,
                SHORT_PROGRAM,
                "exit",
                "0",
            ]),
            Self::Kill => owned(&["kill", ID, "TERM"]),
            Self::Delete | Self::DeleteFull => owned(&["delete", ID]),
            Self::Run => with_bundle("run", ENDS),
        }
    }
}

pub(super) fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::Scene;

    #[test]
    fn every_scene_is_found_by_its_name() {
        for scene in Scene::ALL {
            assert_eq!(Scene::find(scene.name()), Some(scene));
        }
        assert_eq!(Scene::find("restart"), None);
    }
}
