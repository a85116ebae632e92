//! The commands that are swept, each with what has to exist before it.

use super::SweepError;
use super::drive::Victim;
use super::place::{ENDS, FULL, ID, JOINS, Place, SHORT_PROGRAM, STAYS};
use super::pods;

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
    /// `pod create`, up to the sandbox.
    PodCreate,
    /// `pod run` of a sidecar, an init container and a main container, with volumes, hooks, limits and a link to a bridge.
    PodRun,
    /// `pod stop` of that.
    PodStop,
    /// `pod rm` of that, stopped.
    PodRm,
    /// `pod rm --force` of that, running.
    PodRmForce,
    /// The whole life of that pod, in which the main container crashes and is restarted: its supervisor is killed.
    PodLife,
}

impl Scene {
    /// All, in the order of a container's life.
    pub const ALL: [Self; 16] = [
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
        Self::PodCreate,
        Self::PodRun,
        Self::PodStop,
        Self::PodRm,
        Self::PodRmForce,
        Self::PodLife,
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
            Self::PodCreate => "pod-create",
            Self::PodRun => "pod-run",
            Self::PodStop => "pod-stop",
            Self::PodRm => "pod-rm",
            Self::PodRmForce => "pod-rm-force",
            Self::PodLife => "pod-life",
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

    /// Whether it is one of the pod layer, which runtimes need not have.
    #[must_use]
    pub fn is_of_pods(self) -> bool {
        self.verb() == "pod"
    }

    /// Who is killed, where it is not the command and its children.
    pub(super) fn only_victim(self) -> Option<Victim> {
        (self == Self::PodLife).then_some(Victim::Supervisor)
    }

    /// Makes what the command needs.
    pub(super) fn set_up(self, place: &mut Place) -> Result<(), SweepError> {
        match self {
            Self::Create | Self::CreateJoined | Self::CreateFull | Self::Run => {}
            Self::PodCreate | Self::PodRun | Self::PodLife => {}
            Self::PodStop | Self::PodRmForce => place.call(&pods::run(place))?,
            Self::PodRm => {
                place.call(&pods::run(place))?;
                place.call(&pods::stop(place))?;
            }
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

    /// What comes after the command while its processes are still counted. When nobody is killed it has to succeed.
    pub(super) fn go_on(self, place: &mut Place) -> Result<(), SweepError> {
        if self == Self::PodLife { pods::live(place) } else { Ok(()) }
    }

    /// The commands that clean up after it.
    pub(super) fn clean_up(self, place: &Place) -> Vec<Vec<String>> {
        if self.is_of_pods() {
            return pods::clean_up(place);
        }
        let mut commands = vec![owned(&["delete", "--force", ID])];
        if place.has_verb("gc") {
            commands.push(owned(&["gc"]));
        }
        commands
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
            Self::PodCreate => pods::create(place),
            Self::PodRun | Self::PodLife => pods::run(place),
            Self::PodStop => pods::stop(place),
            Self::PodRm => pods::rm(place),
            Self::PodRmForce => pods::rm_force(place),
        }
    }
}

pub(super) fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::Scene;

    #[test]
    fn every_scene_is_found_by_its_name() {
        for scene in Scene::ALL {
            assert_eq!(Scene::find(scene.name()), Some(scene));
        }
        assert_eq!(Scene::find("restart"), None);
    }

    #[test]
    fn the_document_tells_of_every_scene() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/crash-safety.md");
        let text = fs::read_to_string(path).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        assert_eq!(rows.map(|(name, _)| name).collect::<Vec<_>>(), Scene::ALL.map(Scene::name));
    }
}
