//! The witness: entry point of every container of the suite, PID 1 in most of them.
//!
//! A command line is a chain of steps, done from left to right:
//!
//! ```text
//! touch BYTES                          touch that much fresh memory
//! mark FILE                            append one line to FILE
//! orphan                               leave a process behind that sleeps until it is killed, and print its number
//! beside NAME PROGRAM [ARGUMENT]...    serve under that name in a child, and become the program
//! exit CODE                            end with this code
//! sleep                                sleep until a signal ends it
//! serve --name NAME [--socket PATH]    report the birth state, connect to the suite, obey it
//! ```
//!
//! A chain without a last word of `exit`, `sleep`, `serve` or `beside` ends with code 0. The program has a C entry point,
//! because the start of the Rust runtime ignores SIGPIPE and opens missing standard descriptors, which would
//! spoil what the birth report is to show.

#![no_main]

mod birth;
mod cpu;
mod failure;
mod files;
mod ipc;
mod memory;
mod net;
mod orphans;
mod posix;
mod process;
mod serve;
mod signal;
mod sys;
mod sysv;
mod thread;
mod time;

use std::ffi::CStr;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use podproof_witness::{EXIT_STEP_FAILED, EXIT_USAGE, SOCKET_DIR, SOCKET_NAME};

use crate::failure::{During, Failure};
use crate::sys::Words;

const USAGE: &str = "usage: witness [touch BYTES] [mark FILE] [orphan] [exit CODE | sleep | serve --name NAME [--socket PATH] | \
     beside NAME PROGRAM [ARGUMENT]...]";

/// Why the chain of steps ended early.
enum Stop {
    Usage(String),
    Step(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Step(failure)
    }
}

/// Runs the chain of steps and returns the exit code. Called by the C entry point.
fn run(mut words: Words) -> i32 {
    // The program's own name.
    words.next();
    match steps(words) {
        Ok(code) => code,
        Err(Stop::Usage(problem)) => {
            complain(&format!("{problem}\n{USAGE}"));
            EXIT_USAGE
        }
        Err(Stop::Step(failure)) => {
            complain(&failure.to_string());
            EXIT_STEP_FAILED
        }
    }
}

fn steps(mut words: Words) -> Result<i32, Stop> {
    let Some(mut step) = words.next() else { return Err(Stop::Usage("nothing to do".to_owned())) };
    loop {
        match step.to_bytes() {
            // First in the match and free of allocation before it: the memory must be touched by the first
            // statements of the program.
            b"touch" => memory::touch(parsed(words.next(), "touch BYTES")?)?,
            b"mark" => files::mark(Path::new(text(words.next(), "mark FILE")?))?,
            b"orphan" => orphans::leave()?,
            b"beside" => return beside(words),
            b"exit" => return parsed(words.next(), "exit CODE"),
            b"sleep" => sys::sleep_until_killed(),
            b"serve" => return serve(words),
            _ => return Err(Stop::Usage(format!("unknown step {step:?}"))),
        }
        match words.next() {
            Some(next) => step = next,
            None => return Ok(0),
        }
    }
}

fn serve(mut words: Words) -> Result<i32, Stop> {
    let (mut name, mut socket) = (None, None);
    while let Some(option) = words.next() {
        match option.to_bytes() {
            b"--name" => name = Some(text(words.next(), "--name NAME")?),
            b"--socket" => socket = Some(text(words.next(), "--socket PATH")?),
            _ => return Err(Stop::Usage(format!("unknown option {option:?}"))),
        }
    }
    let Some(name) = name else { return Err(Stop::Usage("serve needs --name NAME".to_owned())) };
    Ok(serve_as(name, socket))
}

/// Makes the program the parent of a witness.
fn beside(mut words: Words) -> Result<i32, Stop> {
    let name = text(words.next(), "beside NAME")?;
    let Some(program) = words.next() else {
        return Err(Stop::Usage("missing: beside NAME PROGRAM".to_owned()));
    };
    let arguments: Vec<&CStr> = std::iter::once(program).chain(words).collect();
    sys::fork(&[], || serve_as(name, None)).during(|| "fork the witness beside a program".to_owned())?;
    let Err(errno) = nix::unistd::execv(program, &arguments);
    Err(Stop::Step(Failure::new(format!("execute {}", program.to_string_lossy()), errno)))
}

fn serve_as(name: &str, socket: Option<&str>) -> i32 {
    // Before the connection exists: the report must not list it.
    let birth = birth::report();
    let path = socket.map_or_else(|| format!("{SOCKET_DIR}/{SOCKET_NAME}"), str::to_owned);
    serve::run(name.to_owned(), birth, Path::new(&path))
}

fn text(word: Option<&'static CStr>, what: &str) -> Result<&'static str, Stop> {
    word.and_then(|word| word.to_str().ok())
        .ok_or_else(|| Stop::Usage(format!("missing or not UTF-8: {what}")))
}

fn parsed<T: FromStr>(word: Option<&'static CStr>, what: &str) -> Result<T, Stop> {
    text(word, what)?.parse().map_err(|_not_a_number| Stop::Usage(format!("not a number: {what}")))
}

/// Writes one message to standard error. Its absence is no reason to fail.
fn complain(message: &str) {
    writeln!(std::io::stderr(), "witness: {message}").unwrap_or_default();
}
