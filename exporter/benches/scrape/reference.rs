//! Work of the kind that a scrape is, which needs neither cgroups nor probes: small files of the kernel are read, and lines are made of
//! numbers. The time that it takes here and in a VM tells how much slower the VM is.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::measure::{Res, tell};
use crate::record::Record;

/// Files that are as small as those of a cgroup.
const FILES: [&str; 5] = [
    "/proc/loadavg",
    "/proc/uptime",
    "/proc/version",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/pid_max",
];
/// As many lines as the exporter has for a container.
const LINES: u32 = 100;
const CONTAINERS: u32 = 100;
const ROUNDS: u32 = 15;

/// Does it some times, and tells what each took.
pub(crate) fn tell_all() -> Res<()> {
    for _round in 0..ROUNDS {
        let began = cpu_time()?;
        std::hint::black_box(work()?);
        tell(&Record::Reference { cpu_ns: u64::try_from((cpu_time()? - began).as_nanos())? })?;
    }
    Ok(())
}

/// Of this thread, the only one.
fn cpu_time() -> Res<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// The text that it makes.
fn work() -> Res<String> {
    let mut text = String::new();
    for container in 0..CONTAINERS {
        let mut value = 0;
        for file in FILES {
            let said = fs::read_to_string(file)?;
            value += said.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).sum::<f64>() as u64;
        }
        for line in 0..LINES {
            let value = value + u64::from(line);
            writeln!(
                text,
                "podproof_reference_total{{namespace=\"bench\",pod=\"pod-{container}\",container=\"main\",kind=\"{line}\"}} {value}"
            )?;
        }
    }
    Ok(text)
}
