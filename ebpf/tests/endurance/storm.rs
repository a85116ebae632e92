//! Two processes on two CPUs fork flat out, with the default ring: nothing may be lost, and every count be exact.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libtest_mimic::Completion;
use podproof_ebpf::counters::Counter;
use podproof_ebpf::event::{Event, EventKind};
use podproof_ebpf::{TraceOptions, Tracer};

use crate::cgroup::Cgroup;
use crate::scene::Scene;
use crate::{PATIENCE, Res, equal, note};

/// How long it takes, and with `PODPROOF_TEST_FULL`.
const LENGTH: Duration = Duration::from_secs(10);
const FULL_LENGTH: Duration = Duration::from_secs(60);
/// How often the log of the scope is emptied.
const TAKE: Duration = Duration::from_millis(50);

/// What the scope saw of the children.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    births: u64,
    ends: u64,
    zombies: u64,
    reaps: u64,
}

impl Seen {
    fn add(&mut self, events: &[Event], workers: &[u32]) {
        for event in events {
            match &event.kind {
                EventKind::NewTask { .. } => self.births += 1,
                EventKind::Exit { task, .. } if !workers.contains(&task.task.tgid) => self.ends += 1,
                EventKind::ZombieStart { task, .. } if !workers.contains(&task.tgid) => self.zombies += 1,
                EventKind::Reap { task, .. } if !workers.contains(&task.tgid) => self.reaps += 1,
                _ => {}
            }
        }
    }
}

pub(crate) fn flat_out() -> Res<Completion> {
    let length = if std::env::var_os("PODPROOF_TEST_FULL").is_some() { FULL_LENGTH } else { LENGTH };
    let tracer = Tracer::start(&TraceOptions { counters: true, ..TraceOptions::default() })?;
    let cgroup = Cgroup::make("storm");
    let scope = tracer.open_scope()?;
    let ms = length.as_millis().to_string();
    let mut workers = [Scene::start(&["storm", &ms])?, Scene::start(&["storm", &ms])?];
    for worker in &workers {
        scope.add_thread_group(worker.tgid())?;
        if let Ok(cgroup) = &cgroup {
            cgroup.add(worker.tgid())?;
        }
    }
    let tgids = [workers[0].tgid(), workers[1].tgid()];

    let start = Instant::now();
    for worker in &mut workers {
        worker.go()?;
    }
    let mut seen = Seen::default();
    while let Some(left) = length.checked_sub(start.elapsed()) {
        seen.add(&scope.take(left.min(TAKE)), &tgids);
    }
    let mut forks = 0;
    for worker in workers {
        forks += worker.finish()?.trim().parse::<u64>()?;
    }
    let took = start.elapsed().as_secs_f64();
    scope.fence(PATIENCE)?;
    seen.add(&scope.take(Duration::ZERO), &tgids);

    let ring: BTreeMap<_, _> = tracer.ring().into_iter().collect();
    let events: u64 = ring.values().map(|count| count.received).sum();
    note(format!(
        "storm: {:.0} events/s, {:.0} forks/s, {} of {events} events lost in {took:.1} s, ring of {} MiB",
        events as f64 / took,
        forks as f64 / took,
        scope.lost(),
        TraceOptions::default().ring_bytes >> 20,
    ));
    equal("lost", &scope.lost(), &0)?;
    equal("lost by all", &tracer.events_lost(), &0)?;
    for (kind, count) in &ring {
        equal(&format!("{kind}: lost"), &count.lost, &0)?;
        // Tasks are freed after a grace period, so that some are still to come.
        if *kind != "free" {
            equal(&format!("{kind}: received of those that were emitted"), &count.received, &count.emitted)?;
        }
        equal(&format!("malformed {kind}"), &count.malformed, &0)?;
    }
    equal("children", &seen, &Seen { births: forks, ends: forks, zombies: forks, reaps: forks })?;
    if let Ok(cgroup) = &cgroup {
        let snapshot = tracer.counters()?;
        let counts = snapshot.cgroups.get(&cgroup.id).ok_or("the cgroup is not counted")?;
        equal("forks of the cgroup", &counts.get(Counter::ForksProcess), &Some(forks))?;
        equal("ends in the cgroup", &counts.get(Counter::ExitsSuccess), &Some(forks + 2))?;
    }
    Ok(Completion::Completed)
}
