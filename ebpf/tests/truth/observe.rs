//! Plays a scenario in a scope of its own and holds the truth and the events side by side.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::Completion;
use podproof_ebpf::event::{Event, EventKind, TaskRef, TaskView};
use podproof_ebpf::{Scope, Tracer};

use crate::Res;
use crate::report::{Line, TaskTruth, say_task};

/// For things that happen at once on an idle machine; wide enough for an emulated one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

const READY: &[u8] = b"ready\n";

/// A scenario and its check.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Runs in the scenario program, single-threaded.
    pub(crate) scenario: fn() -> Res<()>,
    /// Runs in the test, when the scenario has ended.
    pub(crate) check: fn(&Observed) -> Res<()>,
}

/// What was said and what was seen.
pub(crate) struct Observed {
    pub(crate) truth: Vec<Line>,
    pub(crate) events: Vec<Event>,
    pub(crate) scope: Scope,
    /// Probes that are attached.
    pub(crate) attached: BTreeSet<String>,
}

/// The scenario program's side. Exit status 0, or 1 with the error on standard error.
pub(crate) fn play(name: &str, cases: &[Case]) -> ExitCode {
    let result = match (name, cases.iter().find(|case| case.name == name)) {
        ("noop", _) => say_task("noop").map(drop),
        ("held", _) => crate::orphans::held(),
        ("root", _) => crate::roots::say_root(),
        ("credentials", _) => crate::tasks::say_credentials(),
        (_, Some(case)) => wait_for_go().and_then(|()| (case.scenario)()),
        (_, None) => Err(format!("no scenario {name}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scenario {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says that the program runs, and waits until it may begin.
fn wait_for_go() -> Res<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(READY)?;
    stdout.flush()?;
    let mut byte = [0];
    std::io::stdin().read_exact(&mut byte)?;
    Ok(())
}

/// Starts the scenario program; it waits for [`go`].
pub(crate) fn start(name: &str) -> Res<Child> {
    start_with(name, &[])
}

/// The same with environment variables.
pub(crate) fn start_with(name: &str, environment: &[(&str, String)]) -> Res<Child> {
    let exe = std::env::current_exe()?;
    let mut command = Command::new(exe);
    command.args(["scenario", name]).envs(environment.iter().cloned());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // spawn returns in the middle of the exec, which must not fall into the scope.
    let mut word = [0; READY.len()];
    child.stdout.as_mut().ok_or("no standard output")?.read_exact(&mut word)?;
    equal("first word of the scenario", &word.as_slice(), &READY)?;
    Ok(child)
}

/// Lets a started scenario run; its standard input stays open.
pub(crate) fn go(child: &mut Child) -> Res<()> {
    child.stdin.as_mut().ok_or("no standard input")?.write_all(b"!")?;
    Ok(())
}

/// Waits for its end and reads what it said.
pub(crate) fn finish(child: Child) -> Res<Vec<Line>> {
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Plays a case and checks it.
pub(crate) fn judge(tracer: &Tracer, case: &Case) -> Res<Completion> {
    let scope = tracer.open_scope()?;
    let mut child = start(case.name)?;
    scope.add_thread_group(child.id())?;
    go(&mut child)?;
    let truth = finish(child)?;
    if let Some(reason) = truth.iter().find_map(|line| match line {
        Line::Skip(reason) => Some(reason.clone()),
        _ => None,
    }) {
        return Ok(Completion::ignored_with(reason));
    }
    scope.fence(PATIENCE)?;
    let probes = tracer.probes();
    let attached = probes.iter().filter(|probe| probe.attached).map(|probe| probe.name.clone()).collect();
    let observed = Observed { truth, events: scope.events(), scope, attached };
    if let Err(error) = (case.check)(&observed) {
        return Err(format!("{error}\n{}", observed.story()).into());
    }
    equal("lost records", &observed.scope.lost(), &0)?;
    Ok(Completion::Completed)
}

impl Observed {
    /// Whether releases are seen as such, and not by the return of a wait.
    pub(crate) fn has_release_task(&self) -> bool {
        self.attached.contains("release_task")
    }

    /// All that was said under one label.
    pub(crate) fn tasks(&self, label: &str) -> Vec<&TaskTruth> {
        let lines = self.truth.iter();
        let of_label = lines.filter_map(|line| match line {
            Line::Task(name, truth) if name == label => Some(truth),
            _ => None,
        });
        of_label.collect()
    }

    /// What the scenario said of a task.
    pub(crate) fn task(&self, label: &str) -> Res<&TaskTruth> {
        let found = self.truth.iter().find_map(|line| match line {
            Line::Task(name, truth) if name == label => Some(truth),
            _ => None,
        });
        found.ok_or_else(|| format!("the scenario said nothing of task {label}").into())
    }

    /// A number that it said.
    pub(crate) fn number(&self, label: &str) -> Res<i64> {
        let found = self.truth.iter().find_map(|line| match line {
            Line::Number(name, value) if name == label => Some(*value),
            _ => None,
        });
        found.ok_or_else(|| format!("the scenario did not say {label}").into())
    }

    /// A text that it said.
    pub(crate) fn text(&self, label: &str) -> Res<&str> {
        let found = self.truth.iter().find_map(|line| match line {
            Line::Text(name, text) if name == label => Some(text.as_str()),
            _ => None,
        });
        found.ok_or_else(|| format!("the scenario did not say {label}").into())
    }

    /// All texts under one label.
    pub(crate) fn texts(&self, label: &str) -> Vec<&str> {
        let lines = self.truth.iter();
        let of_label = lines.filter_map(|line| match line {
            Line::Text(name, text) if name == label => Some(text.as_str()),
            _ => None,
        });
        of_label.collect()
    }

    /// All events that `pick` makes something of.
    pub(crate) fn all<'a, T>(&'a self, pick: impl Fn(&'a Event) -> Option<T>) -> Vec<T> {
        self.events.iter().filter_map(pick).collect()
    }

    /// The one event that `pick` makes something of; none or several is an error.
    pub(crate) fn one<'a, T>(&'a self, what: &str, pick: impl Fn(&'a Event) -> Option<T>) -> Res<T> {
        let mut found = self.all(pick);
        match (found.pop(), found.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(format!("no {what}").into()),
            (Some(_), more) => Err(format!("{} times {what}", more + 1).into()),
        }
    }

    /// The creation of a task: event, view, flags, exit signal.
    pub(crate) fn birth(&self, task: &TaskTruth) -> Res<(&Event, &TaskView, u64, i32)> {
        self.one(&format!("birth of {}", task.tid), |event| match &event.kind {
            EventKind::NewTask { child, flags, exit_signal } if task.is(&child.task) => {
                Some((event, child, *flags, *exit_signal))
            }
            _ => None,
        })
    }

    /// The end of a process: event, view, status.
    pub(crate) fn death(&self, task: &TaskTruth) -> Res<(&Event, &TaskView, u32)> {
        self.one(&format!("end of {}", task.tid), |event| match &event.kind {
            EventKind::Exit { task: view, status, group_dead: true, .. } if task.is(&view.task) => {
                Some((event, view, *status))
            }
            _ => None,
        })
    }

    /// The starts of its zombie: event, parent, code.
    pub(crate) fn zombies(&self, task: &TaskTruth) -> Vec<(&Event, TaskRef, i32)> {
        self.all(|event| match &event.kind {
            EventKind::ZombieStart { task: dead, parent, si_code } if task.is(dead) => {
                Some((event, *parent, *si_code))
            }
            _ => None,
        })
    }

    /// The reaps of a process.
    pub(crate) fn reaps(&self, task: &TaskTruth) -> Vec<&Event> {
        self.all(|event| match &event.kind {
            EventKind::Reap { task: gone, .. } if task.is(gone) => Some(event),
            _ => None,
        })
    }

    /// Checks that the one reap was done by `reaper`, with all the child's numbers and the best source that this
    /// kernel has.
    pub(crate) fn reaped_by(&self, task: &TaskTruth, reaper: &TaskTruth) -> Res<&Event> {
        let reaps = self.reaps(task);
        let [event] = reaps.as_slice() else {
            return Err(format!("{} was reaped {} times", task.tid, reaps.len()).into());
        };
        let EventKind::Reap { ns_pids, .. } = &event.kind else { return Err("not a reap".into()) };
        equal("numbers of the reaped", ns_pids, &task.ns_pids)?;
        truth("the reaper is the current task", reaper.is(&event.current))?;
        let source = if self.has_release_task() { "fentry/release_task" } else { "tp_btf/sys_exit" };
        equal("source of the reap", &event.source.as_str(), &source)?;
        Ok(event)
    }

    /// Checks that the task was not freed before `event`. That it was freed at all is up to the kernel's convenience.
    pub(crate) fn not_freed_before(&self, task: &TaskTruth, event: &Event) -> Res<()> {
        let frees = self.all(|event| match &event.kind {
            EventKind::Free { task: gone } if task.is(gone) => Some(event.seq),
            _ => None,
        });
        truth(&format!("{} is freed once at most", task.tid), frees.len() <= 1)?;
        truth(&format!("{} is freed at its end", task.tid), frees.iter().all(|seq| *seq > event.seq))
    }

    fn story(&self) -> String {
        let mut text = format!("lost: {}\nsaid:\n", self.scope.lost());
        for line in &self.truth {
            text.push_str(&format!("  {}\n", serde_json::to_string(line).unwrap_or_default()));
        }
        text.push_str("seen:\n");
        for event in self.scope.events() {
            text.push_str(&format!("  {}\n", serde_json::to_string(&event).unwrap_or_default()));
        }
        text
    }
}

/// Compares, and names what differs.
pub(crate) fn equal<T: PartialEq + Debug>(what: &str, seen: &T, said: &T) -> Res<()> {
    if seen == said { Ok(()) } else { Err(format!("{what}: seen {seen:?}, expected {said:?}").into()) }
}

/// Fails with `what` unless it holds.
pub(crate) fn truth(what: &str, holds: bool) -> Res<()> {
    if holds { Ok(()) } else { Err(format!("does not hold: {what}").into()) }
}

/// Compares a task as it was seen with what it said of itself; the parent is named apart.
pub(crate) fn same_task(seen: &TaskView, said: &TaskTruth, parent: &TaskTruth) -> Res<()> {
    truth(&format!("{:?} is task {}", seen.task, said.tid), said.is(&seen.task))?;
    equal("numbers", &seen.ns_pids, &said.ns_pids)?;
    equal("namespaces", &seen.ns, &said.ns)?;
    if let Some(cgroup_id) = said.cgroup_id {
        equal("cgroup id", &seen.cgroup_id, &cgroup_id)?;
    }
    truth(&format!("{:?} is the parent {}", seen.parent, parent.tid), parent.is(&seen.parent))?;
    equal("pid namespace of the parent", &seen.parent_pid_ns, &parent.ns.pid)
}

/// Fails unless the events stand in this order.
pub(crate) fn in_order(events: &[&Event]) -> Res<()> {
    let ordered =
        events.windows(2).all(|pair| pair[0].seq < pair[1].seq && pair[0].time_ns <= pair[1].time_ns);
    truth("the events are in order", ordered)
}
