//! What cgroups go through: filled, frozen, thawed, emptied; and what is written to their files.

use std::fs::{self, File};
use std::io::{IoSlice, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use podproof_ebpf::event::EventKind;

use crate::Res;
use crate::cgroups::{CLONE_INTO_CGROUP, Cgroup, say_cgroup};
use crate::observe::{Case, Observed, PATIENCE, equal, truth};
use crate::report::{say_number, say_skip, say_task, say_text};
use crate::sys;
use crate::sys::program::wait_to_be_killed;
use crate::sys::timing::has_changed;
use crate::waits::wait_for_end;

pub(crate) const CASES: &[Case] = &[
    Case { name: "cgroup::freeze_and_thaw", scenario: freeze, check: check_freeze },
    Case { name: "cgroup::freeze_from_above", scenario: freeze_above, check: check_freeze_above },
    Case { name: "cgroup::populated", scenario: populate, check: check_populated },
    Case { name: "cgroup::writes", scenario: writes, check: check_writes },
];

/// `cgroup.events` of a cgroup.
struct Events(File);

impl Events {
    fn open(cgroup: &Cgroup) -> Res<Self> {
        Ok(Self(File::open(cgroup.dir.join("cgroup.events"))?))
    }

    /// Waits until it holds this line.
    fn wait_for(&mut self, line: &str) -> Res<()> {
        let start = Instant::now();
        loop {
            let mut text = String::new();
            self.0.rewind()?;
            self.0.read_to_string(&mut text)?;
            if text.lines().any(|found| found == line) {
                return Ok(());
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            truth(&format!("cgroup.events shows {line:?} in time, not {text:?}"), !left.is_zero())?;
            has_changed(&self.0, left)?;
        }
    }
}

/// A child in a cgroup, which waits for a signal.
fn sleeper(cgroup: &Cgroup) -> Res<Pid> {
    let (ready, tell) = std::io::pipe()?;
    let dir = File::open(&cgroup.dir)?;
    let child = sys::clone3(CLONE_INTO_CGROUP, libc::SIGCHLD, Some(dir.as_fd()), move || {
        say_task("child")?;
        drop(tell);
        wait_to_be_killed()
    })?;
    wait_for_end(ready)?;
    Ok(child)
}

fn end(child: Pid) -> Res<()> {
    kill(child, Signal::SIGKILL)?;
    equal("killed", &sys::wait(child)?, &-9)
}

fn set(cgroup: &Cgroup, file: &str, value: &str) -> Res<()> {
    Ok(fs::OpenOptions::new().write(true).open(cgroup.dir.join(file))?.write_all(value.as_bytes())?)
}

fn freeze() -> Res<()> {
    let cgroup = match Cgroup::make("freeze") {
        Ok(cgroup) => cgroup,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&cgroup)?;
    say_task("parent")?;
    let mut events = Events::open(&cgroup)?;
    let child = sleeper(&cgroup)?;
    set(&cgroup, "cgroup.freeze", "1")?;
    events.wait_for("frozen 1")?;
    set(&cgroup, "cgroup.freeze", "0")?;
    events.wait_for("frozen 0")?;
    end(child)?;
    events.wait_for("populated 0")
}

/// What happened to one cgroup, of these three kinds.
fn states(seen: &Observed, id: u64, path: &str) -> Res<Vec<(&'static str, bool)>> {
    let wrong = seen.all(|event| match &event.kind {
        EventKind::CgroupFreeze { id: of, hierarchy, path: at, .. }
        | EventKind::CgroupFrozen { id: of, hierarchy, path: at, .. }
        | EventKind::CgroupPopulated { id: of, hierarchy, path: at, .. }
            if *of == id && (*hierarchy != 0 || at != path) =>
        {
            Some(event)
        }
        _ => None,
    });
    equal("events of the cgroup with another path or hierarchy", &wrong, &vec![])?;
    Ok(seen.all(|event| match event.kind {
        EventKind::CgroupFreeze { id: of, freeze, .. } if of == id => Some(("freeze", freeze)),
        EventKind::CgroupFrozen { id: of, frozen, .. } if of == id => Some(("frozen", frozen)),
        EventKind::CgroupPopulated { id: of, populated, .. } if of == id => Some(("populated", populated)),
        _ => None,
    }))
}

fn own_states(seen: &Observed) -> Res<Vec<(&'static str, bool)>> {
    states(seen, u64::try_from(seen.number("id")?)?, seen.text("path")?)
}

fn check_freeze(seen: &Observed) -> Res<()> {
    let said = vec![
        ("populated", true),
        ("freeze", true),
        ("frozen", true),
        ("freeze", false),
        ("frozen", false),
        ("populated", false),
    ];
    equal("states", &own_states(seen)?, &said)?;
    let parent = seen.task("parent")?;
    let told = seen.all(|event| matches!(event.kind, EventKind::CgroupFreeze { .. }).then_some(event));
    truth("the parent told it", told.iter().all(|event| parent.is(&event.current)))
}

/// The ancestor is told, and the cgroup with it.
fn freeze_above() -> Res<()> {
    let made = Cgroup::make("freeze-above").and_then(|outer| {
        let inner = Cgroup::make_in(&outer.dir, "inner")?;
        Ok((outer, inner))
    });
    // The inner one is dropped first.
    let (outer, inner) = match made {
        Ok(made) => made,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&outer)?;
    say_number("inner", i64::try_from(inner.id)?)?;
    let mut events = Events::open(&outer)?;
    let child = sleeper(&inner)?;
    set(&outer, "cgroup.freeze", "1")?;
    events.wait_for("frozen 1")?;
    set(&outer, "cgroup.freeze", "0")?;
    events.wait_for("frozen 0")?;
    end(child)?;
    events.wait_for("populated 0")?;
    drop(inner);
    Ok(())
}

fn check_freeze_above(seen: &Observed) -> Res<()> {
    let outer = own_states(seen)?;
    let inner =
        states(seen, u64::try_from(seen.number("inner")?)?, &format!("{}/inner", seen.text("path")?))?;
    let said = vec![
        ("populated", true),
        ("freeze", true),
        ("frozen", true),
        ("freeze", false),
        ("frozen", false),
        ("populated", false),
    ];
    equal("states of the ancestor", &outer, &said)?;
    equal("states of the cgroup", &inner, &said)
}

/// Two children: only the first fills it, and only the last empties it.
fn populate() -> Res<()> {
    let cgroup = match Cgroup::make("populate") {
        Ok(cgroup) => cgroup,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&cgroup)?;
    let mut events = Events::open(&cgroup)?;
    for _ in 0..2 {
        let children = [sleeper(&cgroup)?, sleeper(&cgroup)?];
        events.wait_for("populated 1")?;
        for child in children {
            end(child)?;
        }
        events.wait_for("populated 0")?;
    }
    Ok(())
}

fn check_populated(seen: &Observed) -> Res<()> {
    let said = vec![("populated", true), ("populated", false), ("populated", true), ("populated", false)];
    equal("states", &own_states(seen)?, &said)
}

/// File, value, return value.
type Written = (String, String, i64);

fn write(cgroup: &Cgroup, file: &str, value: &str) -> Res<()> {
    let mut open = fs::OpenOptions::new().write(true).open(cgroup.dir.join(file))?;
    // One call, whatever it brings.
    let ret = match open.write(value.as_bytes()) {
        Ok(written) => i64::try_from(written)?,
        Err(error) => -i64::from(error.raw_os_error().ok_or("an error without a number")?),
    };
    let shown: String = value.strip_suffix('\n').unwrap_or(value).chars().take(63).collect();
    let written: Written = (file.into(), shown, ret);
    say_text("written", &serde_json::to_string(&written)?)
}

/// By writev(2), as one part.
fn write_vector(cgroup: &Cgroup, file: &str, value: &str) -> Res<()> {
    let mut open = fs::OpenOptions::new().write(true).open(cgroup.dir.join(file))?;
    let written = open.write_vectored(&[IoSlice::new(value.as_bytes())])?;
    let written: Written = (file.into(), value.trim_end().into(), i64::try_from(written)?);
    say_text("written", &serde_json::to_string(&written)?)
}

fn writes() -> Res<()> {
    let cgroup = match Cgroup::make("writes") {
        Ok(cgroup) => cgroup,
        Err(reason) => return say_skip(&reason),
    };
    say_cgroup(&cgroup)?;
    say_task("parent")?;
    let child = sys::fork(wait_to_be_killed)?;
    write(&cgroup, "cgroup.max.depth", "3\n")?;
    write(&cgroup, "cgroup.max.descendants", "12")?;
    write(&cgroup, "cgroup.procs", &format!("{child}\n"))?;
    write(&cgroup, "cgroup.subtree_control", "+nosuch")?;
    write(&cgroup, "cgroup.max.depth", &"9".repeat(100))?;
    write(&cgroup, "cgroup.freeze", "2")?;
    write_vector(&cgroup, "cgroup.max.depth", "5\n")?;
    // A file of no cgroup.
    fs::OpenOptions::new().write(true).open("/dev/null")?.write_all(b"7")?;
    end(child)?;
    Events::open(&cgroup)?.wait_for("populated 0")
}

fn check_writes(seen: &Observed) -> Res<()> {
    let id = u64::try_from(seen.number("id")?)?;
    let parent = seen.task("parent")?;
    let written = seen.all(|event| match &event.kind {
        EventKind::CgroupWrite { cgroup_id, file, value, ret } if parent.is(&event.current) => {
            Some((*cgroup_id, (file.clone(), value.clone(), *ret)))
        }
        _ => None,
    });
    let said: Vec<(u64, Written)> = seen
        .texts("written")
        .into_iter()
        .map(|text| Ok((id, serde_json::from_str(text)?)))
        .collect::<Result<_, serde_json::Error>>()?;
    equal("some were refused", &said.iter().filter(|(_, (.., ret))| *ret < 0).count(), &3)?;
    equal("writes", &written, &said)
}
