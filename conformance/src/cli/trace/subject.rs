//! What is traced: found before anything is loaded, and added to the scope after it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use podproof_ebpf::Scope;

use super::command::{Traced, locate};
use super::output::Output;
use super::{TraceArgs, Watched};
use crate::observe::process;
use crate::trace::V2;

/// A pass over the children of a process is repeated until it finds no new ones, at most this often: who is born after its
/// parent was added belongs to the scope anyway.
const MAX_PASSES: usize = 8;

/// What is to be traced.
pub(super) enum Subject<'a> {
    Command { program: PathBuf, arguments: &'a [OsString] },
    Process { tgid: u32 },
    Cgroup { v2: V2, dir: PathBuf },
}

impl<'a> Subject<'a> {
    pub(super) fn find(args: &'a TraceArgs) -> Result<Self> {
        match (&args.cgroup, args.pid) {
            (Some(path), _) => cgroup(path),
            (None, Some(tgid)) => one_process(tgid),
            (None, None) => {
                let name = args.command.first().context("no command; give one after --")?;
                Ok(Self::Command { program: locate(name)?, arguments: &args.command })
            }
        }
    }

    /// Adds it to the scope, and starts it if it is a command.
    pub(super) fn begin(self, scope: &Scope, output: &mut Output, args: &TraceArgs) -> Result<Watched> {
        match self {
            Self::Command { program, arguments } => {
                let traced = Traced::start(scope, &program, arguments, args.output.is_some())?;
                output.expect(traced.tgid());
                Ok(Watched::Command(traced))
            }
            Self::Process { tgid } => {
                let n_added = add_tree(scope, tgid)?;
                let others = match n_added {
                    1 => String::new(),
                    2 => " and 1 descendant".to_owned(),
                    n => format!(" and {} descendants", n - 1),
                };
                eprintln!("podproof: tracing {}{others} until it ends; Ctrl-C stops", output.name(tgid));
                Ok(Watched::Process(tgid))
            }
            Self::Cgroup { v2, dir } => {
                let all = v2.below(&dir);
                let (id, path) = all.first().cloned().context("the cgroup was removed just now")?;
                for (id, _) in &all {
                    scope.add_cgroup(*id)?;
                }
                eprintln!("podproof: tracing cgroup {path} until it is removed; Ctrl-C stops");
                Ok(Watched::Cgroup { id, dir })
            }
        }
    }
}

fn one_process(tgid: u32) -> Result<Subject<'static>> {
    let status = |name| process::status_line(tgid.cast_signed(), name);
    let Some(leader) = status("Tgid") else { bail!("process {tgid}: there is none; `ps -e` lists all") };
    ensure!(
        leader == tgid.to_string(),
        "process {tgid}: that is a thread of process {leader}; use --pid {leader}"
    );
    // A leader that ended before other threads of its process counts them here.
    let is_dead =
        process::state(tgid.cast_signed()) == Some('Z') && status("Threads").as_deref() == Some("1");
    ensure!(!is_dead, "process {tgid}: it has ended and only waits to be reaped; trace its parent");
    ensure!(tgid != std::process::id(), "process {tgid}: that is this podproof");
    Ok(Subject::Process { tgid })
}

fn cgroup(path: &Path) -> Result<Subject<'static>> {
    let v2 = V2::find().context(
        "--cgroup: no cgroup v2 hierarchy is mounted here; mount one (mount -t cgroup2 none DIR), or use --pid",
    )?;
    match v2.directory(path) {
        Ok(dir) => Ok(Subject::Cgroup { v2, dir }),
        Err(dir) => bail!(
            "cgroup {}: {} is no directory of cgroup v2, which is mounted at {}; give the path of the cgroup as the line \
             0:: of /proc/PID/cgroup shows it",
            path.display(),
            dir.display(),
            v2.mount().display()
        ),
    }
}

/// Adds a process and all its descendants but this program; how many there are.
fn add_tree(scope: &Scope, tgid: u32) -> Result<usize> {
    scope.add_thread_group(tgid)?;
    let mut added = BTreeSet::from([tgid, std::process::id()]);
    for _pass in 0..MAX_PASSES {
        let mut n_new = 0;
        let known: Vec<u32> = added.iter().copied().filter(|pid| *pid != std::process::id()).collect();
        for parent in known {
            let children = process::children(parent.cast_signed()).context("list /proc")?;
            for child in children.into_iter().map(i32::cast_unsigned) {
                // One that is gone by now has nothing to show.
                if added.insert(child) && scope.add_thread_group(child).is_ok() {
                    n_new += 1;
                }
            }
        }
        if n_new == 0 {
            break;
        }
    }
    Ok(added.len() - 1)
}
