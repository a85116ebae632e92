//! What stays in the kernel, and in this process, of what was loaded and dropped.

use std::time::Instant;

use libtest_mimic::Completion;
use podproof_ebpf::{TraceOptions, Tracer};

use crate::held::{Held, Kind, descriptors, resident};
use crate::scene::Scene;
use crate::{Res, equal, is_short, note, truth};

/// Links that are made and dropped; and in a short run.
const LINKS: [usize; 2] = [1000, 50];
/// Times that everything is loaded and dropped; and in a short run.
const LOADS: [usize; 2] = [20, 3];
/// Of these, so many until the allocator and the libraries have what they keep: what the first gives back has the allocator keep as
/// much of the second (`M_MMAP_THRESHOLD` of mallopt(3), which grows).
const WARM_UP: [usize; 2] = [5, 2];
/// What the memory of this process may grow by: far less than one tracer takes for each of its loads.
const GROWTH: u64 = 2 << 20;

const OPTIONS: TraceOptions = TraceOptions {
    syscalls: true,
    events: true,
    counters: true,
    throttling: true,
    ring_bytes: 8 << 20,
    max_cgroups: 1024,
    max_processes: 1024,
};

/// What a tracer holds must be in the kernel's lists, or its absence there would say nothing.
fn check_alive(held: &Held) -> Res<()> {
    for (kind, least) in [(Kind::Program, 10), (Kind::Map, 10), (Kind::TypeInformation, 1), (Kind::Link, 8)] {
        truth(&format!("{} of {kind:?} are held", held.count(kind)), held.count(kind) >= least)?;
    }
    equal("held and in the kernel's lists", &held.alive()?, held)
}

/// Memory may shrink at any time, and grow by a little.
fn check_growth(before: u64) -> Res<()> {
    let grown = resident()?.saturating_sub(before);
    truth(&format!("{} KiB more in core than before", grown >> 10), grown <= GROWTH)
}

pub(crate) fn links() -> Res<Completion> {
    let begin = Instant::now();
    let tracer = Tracer::start(&OPTIONS)?;
    // While a scope is open, the hooks of system calls are attached with the others.
    let _scope = tracer.open_scope()?;
    check_alive(&Held::by_us()?)?;
    tracer.detach()?;
    let idle = Held::by_us()?;
    equal("links that are held when detached", &idle.count(Kind::Link), &0)?;
    let (fds, memory) = (descriptors()?, resident()?);

    let mut made = Held::default();
    while made.count(Kind::Link) < LINKS[usize::from(is_short())] {
        let before = made.count(Kind::Link);
        tracer.attach()?;
        made.add(&Held::by_us()?.only(Kind::Link));
        truth("every attachment makes new links", made.count(Kind::Link) > before)?;
        tracer.detach()?;
    }
    made.wait_until_gone("links that were dropped")?;
    equal("programs, maps and type information", &Held::by_us()?, &idle)?;
    equal("open descriptors", &descriptors()?, &fds)?;
    check_growth(memory)?;
    note(format!("leak: {} links made and dropped in {:.1?}", made.count(Kind::Link), begin.elapsed()));
    Ok(Completion::Completed)
}

pub(crate) fn loads() -> Res<Completion> {
    let begin = Instant::now();
    let before = Held::by_us()?;
    equal("held before the first load", &before.count(Kind::Program), &0)?;
    let fds = descriptors()?;
    let mut memory = 0;
    let mut made = Held::default();
    let (loads, warm_up) = (LOADS[usize::from(is_short())], WARM_UP[usize::from(is_short())]);
    for load in 1..=loads {
        let tracer = Tracer::start(&OPTIONS)?;
        let scope = tracer.open_scope()?;
        scope.add_thread_group(std::process::id())?;
        let held = Held::by_us()?.without(&before);
        check_alive(&held)?;
        equal("objects of an earlier load", &held.without(&made), &held)?;
        made.add(&held);
        drop(scope);
        drop(tracer);
        equal(&format!("held after load {load}"), &Held::by_us()?, &before)?;
        equal(&format!("open descriptors after load {load}"), &descriptors()?, &fds)?;
        if load == warm_up {
            memory = resident()?;
        }
    }
    made.wait_until_gone("what was loaded")?;
    check_growth(memory)?;
    let (programs, maps) = (made.count(Kind::Program), made.count(Kind::Map));
    note(format!("leak: {loads} loads, {programs} programs and {maps} maps in {:.1?}", begin.elapsed()));
    Ok(Completion::Completed)
}

pub(crate) fn killed() -> Res<Completion> {
    let loader = Scene::start(&["tracer"])?;
    let held = Held::by(loader.tgid())?;
    check_alive(&held)?;
    loader.kill()?;
    held.wait_until_gone("what a killed loader had")?;
    Ok(Completion::Completed)
}
