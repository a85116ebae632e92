//! What measuring programs have in common: their command line and end, commands that are timed, the memory of processes, the
//! machine, and records.

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use serde::Serialize;

/// Any error of a measurement.
pub(crate) type Res<T> = Result<T, Box<dyn Error>>;

/// The options of a command line, all of which have a value.
pub(crate) fn options(args: &[String]) -> Res<Vec<(&str, &str)>> {
    let mut options = Vec::new();
    let mut args = args.iter();
    while let Some(name) = args.next() {
        // cargo bench adds it.
        if name == "--bench" {
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        options.push((name.as_str(), value.as_str()));
    }
    Ok(options)
}

/// What to exit with; tells what went wrong.
pub(crate) fn exit(result: Res<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Where it is measured.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) n_cpus: usize,
}

/// Prints a record, one JSON object a line.
pub(crate) fn tell(record: &impl Serialize) -> Res<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, record)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Runs a command, which must succeed; how long it took from the fork on.
pub(crate) fn timed(command: &mut Command) -> Res<u64> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // Not a pipe: the processes of containers would keep it open.
    let errors = tempfile::tempfile()?;
    command.stderr(errors.try_clone()?);
    let started = Instant::now();
    let status = command.status()?;
    let ns = u64::try_from(started.elapsed().as_nanos())?;
    if !status.success() {
        let mut said = String::new();
        let mut errors = errors;
        io::Seek::rewind(&mut errors)?;
        io::Read::read_to_string(&mut errors, &mut said)?;
        return Err(format!("{:?} {status}: {}", command.get_program(), said.trim_end()).into());
    }
    Ok(ns)
}

/// Bytes of these fields of a process's smaps_rollup together.
pub(crate) fn memory(pid: u32, fields: &[&str]) -> Res<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let of = |line: &str| {
        let (field, rest) = line.split_once(':')?;
        fields.contains(&field).then(|| rest.split_whitespace().next()?.parse::<u64>().ok())?
    };
    Ok(rollup.lines().filter_map(of).sum::<u64>() << 10)
}

/// Describes the machine.
pub(crate) fn machine() -> Res<Machine> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(Machine {
        kernel: kernel.trim().to_owned(),
        cpu: cpu.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
        n_cpus: std::thread::available_parallelism()?.get(),
    })
}
