//! One command after the other: count its calls, then cut by cut.

use std::collections::BTreeSet;
use std::time::Instant;

use podproof_ebpf::inject::{Injector, Outcome, Plan, Position};

use super::place::{PROGRAM, Place};
use super::report::{Leak, Row, Unplayed};
use super::scene::Scene;
use super::{SweepError, points};
use crate::duration::millis;
use crate::observe::snapshot::{Object, Snapshot};

/// Which of its processes is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The command.
    Command,
    /// A process that the command has made, by the order of making, from 1; up to the exec of the container's program.
    Child(u32),
    /// The process that stays with a pod.
    Supervisor,
}

impl Victim {
    fn index(self) -> u32 {
        match self {
            Self::Command => 0,
            // A pod's command makes it first.
            Self::Supervisor => 1,
            Self::Child(n) => n,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Command => "itself".to_owned(),
            Self::Child(n) => format!("its child {n}"),
            Self::Supervisor => "supervisor".to_owned(),
        }
    }
}

/// Where in a call a process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// As it returns.
    Exit,
    /// As it begins.
    Entry,
    /// First the one, then the other.
    Both,
}

impl Positions {
    fn list(self) -> &'static [Position] {
        match self {
            Self::Exit => &[Position::Exit],
            Self::Entry => &[Position::Entry],
            Self::Both => &[Position::Exit, Position::Entry],
        }
    }
}

/// How thoroughly.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// So many cut points per row at most; `None` tries all.
    pub sample: Option<usize>,
    /// Where in a call.
    pub positions: Positions,
    /// Kills each process that the command makes, too.
    pub children: bool,
}

/// Sweeps these commands of the place's runtime; tells of each row when it is done. A verb that the runtime does not have is
/// passed over, and so is the rest of a command that fails without being killed: the second list tells of those.
///
/// # Errors
/// When the node refuses something.
pub fn sweep(
    place: &mut Place,
    injector: &mut Injector,
    scenes: &[Scene],
    options: &Options,
    mut done: impl FnMut(&Row),
) -> Result<(Vec<Row>, Vec<Unplayed>), SweepError> {
    let (mut rows, mut unplayed) = (Vec::new(), Vec::new());
    for scene in scenes.iter().copied() {
        if !place.has_verb(scene.verb()) {
            continue;
        }
        let before = place.snapshot();
        let joined = scene == Scene::CreateJoined;
        let swept = if joined { place.run_sandbox() } else { Ok(()) }.and_then(|()| {
            let mut sweeper = Sweeper {
                place: &mut *place,
                injector: &mut *injector,
                scene,
                baseline: Snapshot::default(),
            };
            sweeper.all(options, |row| {
                done(&row);
                rows.push(row);
            })
        });
        if joined {
            place.end_sandbox()?;
        }
        match swept {
            Err(error @ SweepError::Runtime { .. }) => {
                place.clean_up(&scene.clean_up(place))?;
                let left = place.snapshot().beyond(&before);
                place.scrub(&left)?;
                unplayed.push(Unplayed { command: scene.name().to_owned(), reason: error.to_string() });
            }
            swept => swept?,
        }
    }
    Ok((rows, unplayed))
}

/// How often a cut point is tried in a row, until the victim comes as far as that.
const TRIES: usize = 5;

/// How often that is repeated at most, while runs that nobody kills do come as far as that.
const ROUNDS: usize = 3;

struct Sweeper<'a> {
    place: &'a mut Place,
    injector: &'a mut Injector,
    scene: Scene,
    /// What there is between two cuts.
    baseline: Snapshot,
}

impl Sweeper<'_> {
    fn all(&mut self, options: &Options, mut done: impl FnMut(Row)) -> Result<(), SweepError> {
        // The first time, files may be made that every later time finds.
        self.baseline = self.place.snapshot();
        let only = self.scene.only_victim();
        let counted = self.count(only.unwrap_or(Victim::Command))?;
        let mut victims = vec![only.unwrap_or(Victim::Command)];
        if options.children && !self.scene.is_of_pods() {
            let n = u32::try_from(counted.processes.len()).unwrap_or(u32::MAX);
            victims.extend((1..n).map(Victim::Child));
        }
        for victim in victims {
            for position in options.positions.list() {
                done(self.row(victim, *position, options.sample)?);
            }
        }
        Ok(())
    }

    /// The command in full, and what it and the clean-up leave when nobody is killed.
    fn count(&mut self, victim: Victim) -> Result<Outcome, SweepError> {
        let outcome = self.play(victim, None)?;
        self.clean_up()?;
        self.baseline = self.place.snapshot();
        Ok(outcome)
    }

    fn row(&mut self, victim: Victim, position: Position, sample: Option<usize>) -> Result<Row, SweepError> {
        let began = Instant::now();
        let before = self.baseline.clone();
        let counted = self.count(victim)?;
        let n_calls = calls_of(&counted, victim, position);
        let mut row = Row {
            command: self.scene.name().to_owned(),
            victim: victim.name(),
            position: if position == Position::Exit { "exit" } else { "entry" }.to_owned(),
            calls: n_calls,
            is_sampled: false,
            cut_points: 0,
            killed: 0,
            left_unkilled: words(&self.baseline.beyond(&before)),
            leaks: Vec::new(),
            wall_ms: 0,
        };
        let mut reached = 0;
        for point in points::choose(n_calls, &counted.calls, sample) {
            if point > row.calls {
                break;
            }
            match self.cut_or_count(victim, position, point, &mut row.leaks)? {
                None => {
                    reached = point;
                    row.killed += 1;
                    row.cut_points += 1;
                }
                Some(usual) if usual < point => row.calls = usual.max(reached),
                Some(_) => row.cut_points += 1,
            }
        }
        row.is_sampled = row.cut_points < row.calls;
        row.wall_ms = millis(began.elapsed());
        Ok(row)
    }

    /// Tries one cut point; how many calls the victim makes now, when it did not come as far as that.
    fn cut_or_count(
        &mut self,
        victim: Victim,
        position: Position,
        point: u64,
        leaks: &mut Vec<Leak>,
    ) -> Result<Option<u64>, SweepError> {
        let mut usual = 0;
        for _round in 0..ROUNDS {
            if self.cut(victim, position, point, leaks)? {
                return Ok(None);
            }
            // The run that was counted may have waited longer than others do.
            usual = calls_of(&self.count(victim)?, victim, position);
            if usual < point {
                break;
            }
        }
        Ok(Some(usual))
    }

    /// Tries one cut point; true when the victim came as far as that.
    fn cut(
        &mut self,
        victim: Victim,
        position: Position,
        point: u64,
        leaks: &mut Vec<Leak>,
    ) -> Result<bool, SweepError> {
        // A process that waits for another may make a call more or less than when it was counted.
        for _try in 0..TRIES {
            let outcome = self.play(victim, Some((position, point)))?;
            let name = outcome.killed.map_or_else(|| "none".to_owned(), |killed| points::name(killed.nr));
            leaks.extend(self.compare(point, name)?);
            if outcome.killed.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The command, with what it needs. It has to succeed when nobody kills.
    fn play(&mut self, victim: Victim, kill: Option<(Position, u64)>) -> Result<Outcome, SweepError> {
        self.scene.set_up(self.place)?;
        let arguments = self.scene.arguments(self.place);
        let mut command = self.place.command(&arguments);
        let plan = Plan { process: victim.index(), kill, follows: true, program: PROGRAM };
        self.injector.arm(&plan, &mut command)?;
        let ended = self.place.finish(command, &arguments)?;
        let went_on = if ended.is_good() { self.scene.go_on(self.place) } else { Err(ended.error()) };
        let outcome = self.injector.disarm()?;
        match went_on {
            // Of what is killed nothing else is expected.
            Err(SweepError::Runtime { .. }) if kill.is_some() => Ok(outcome),
            went_on => went_on.map(|()| outcome),
        }
    }

    fn clean_up(&mut self) -> Result<Vec<String>, SweepError> {
        let commands = self.scene.clean_up(self.place);
        self.place.clean_up(&commands)
    }

    /// Cleans up, and looks for what is left or gone.
    fn compare(&mut self, call: u64, name: String) -> Result<Option<Leak>, SweepError> {
        let clean_up = self.clean_up()?;
        let now = self.place.snapshot();
        let (left, gone) = (now.beyond(&self.baseline), self.baseline.beyond(&now));
        if left.is_empty() && gone.is_empty() && clean_up.is_empty() {
            return Ok(None);
        }
        self.place.scrub(&left)?;
        self.baseline = self.place.snapshot();
        Ok(Some(Leak { call, name, left: words(&left), gone: words(&gone), clean_up }))
    }
}

/// How many calls a process made.
fn calls_of(counted: &Outcome, victim: Victim, position: Position) -> u64 {
    counted.processes.get(victim.index() as usize).map_or(0, |calls| match position {
        Position::Exit => calls.returned,
        Position::Entry => calls.entered,
    })
}

fn words(objects: &BTreeSet<Object>) -> Vec<String> {
    objects.iter().map(ToString::to_string).collect()
}
