//! Where the trace goes, in which form, and who of it lives.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};

use anyhow::{Context, Result};
use clap::ColorChoice;
use podproof_ebpf::event::{Event, EventKind};
use serde::Serialize;

use super::{Format, TraceArgs};
use crate::observe::process;
use crate::observe::trace::CLONE_THREAD;
use crate::trace::chrome::Chrome;
use crate::trace::{Look, Machine, Narrator, is_detail};

/// An event with its words.
#[derive(Debug, Serialize)]
struct Told<'e> {
    #[serde(flatten)]
    event: &'e Event,
    /// Who acts, with which `text` begins.
    who: &'e str,
    text: String,
    /// The text format shows it to those only who ask for details.
    detail: bool,
}

/// The writer of the trace.
pub(super) struct Output {
    out: BufWriter<Box<dyn Write>>,
    format: Format,
    look: Look,
    verbose: bool,
    narrator: Narrator,
    chrome: Chrome,
    living: BTreeSet<u32>,
    ended: HashSet<u32>,
    removed: HashSet<u64>,
}

impl Output {
    pub(super) fn open(args: &TraceArgs) -> Result<Self> {
        let out: Box<dyn Write> = match &args.output {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("--output {}", path.display()))?;
                Box::new(file)
            }
            None => Box::new(io::stdout()),
        };
        let narrator = Narrator::on(Machine::here());
        Ok(Self {
            out: BufWriter::new(out),
            format: args.format,
            look: Look { colour: is_coloured(args), source: args.verbose },
            verbose: args.verbose,
            narrator: if args.verbose { narrator.detailed() } else { narrator },
            chrome: Chrome::default(),
            living: BTreeSet::new(),
            ended: HashSet::new(),
            removed: HashSet::new(),
        })
    }

    /// Notes a process whose birth is not in the trace.
    pub(super) fn expect(&mut self, tgid: u32) {
        self.living.insert(tgid);
    }

    /// Writes these events, to the last byte.
    pub(super) fn show(&mut self, events: &[Event]) -> Result<()> {
        for event in events {
            self.note(event);
            let line = self.narrator.tell(event);
            let detail = is_detail(event.current, &event.kind);
            match self.format {
                Format::Text if self.verbose || !detail => {
                    writeln!(self.out, "{}", line.render(self.look))?;
                }
                Format::Text => {}
                Format::Json => {
                    let told = Told { event, who: &line.who, text: line.sentence(), detail };
                    // As an error of output, for which a reader who left is none.
                    serde_json::to_writer(&mut self.out, &told).map_err(io::Error::from)?;
                    writeln!(self.out)?;
                }
                Format::Chrome => self.chrome.add(event, &line),
            }
        }
        self.out.flush()?;
        Ok(())
    }

    /// Writes what can only be written at the end.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.format == Format::Chrome {
            let document = std::mem::take(&mut self.chrome).finish();
            serde_json::to_writer(&mut self.out, &document).map_err(io::Error::from)?;
            writeln!(self.out)?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn note(&mut self, event: &Event) {
        match &event.kind {
            EventKind::NewTask { child, flags, .. } if flags & CLONE_THREAD == 0 => {
                self.living.insert(child.task.tgid);
                self.ended.remove(&child.task.tgid);
            }
            EventKind::Exit { task, group_dead: true, .. } => {
                self.living.remove(&task.task.tgid);
                self.ended.insert(task.task.tgid);
            }
            EventKind::CgroupRmdir { id, hierarchy: 0, .. } => {
                self.removed.insert(*id);
            }
            _ => {}
        }
    }

    /// Name and number of a process.
    pub(super) fn name(&mut self, tgid: u32) -> String {
        self.narrator.process(tgid)
    }

    /// Whether the trace showed the end of a process.
    pub(super) fn has_ended(&self, tgid: u32) -> bool {
        self.ended.contains(&tgid)
    }

    /// Whether the trace showed the end of a cgroup.
    pub(super) fn is_removed(&self, id: u64) -> bool {
        self.removed.contains(&id)
    }

    /// Whether a process of the trace lives; with `checked` also by the node's own list, as an end may have been lost.
    pub(super) fn anyone_lives(&mut self, checked: bool) -> bool {
        if checked {
            self.living.retain(|tgid| process::state(tgid.cast_signed()).is_some());
        }
        !self.living.is_empty()
    }

    /// Names of the processes that live.
    pub(super) fn living(&mut self) -> Vec<String> {
        self.anyone_lives(true);
        let living: Vec<u32> = self.living.iter().copied().collect();
        living.into_iter().map(|tgid| self.narrator.process(tgid)).collect()
    }
}

/// `auto` is for a terminal whose user did not ask for no colours (NO_COLOR, or TERM=dumb).
fn is_coloured(args: &TraceArgs) -> bool {
    match args.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if args.output.is_some() || !io::stdout().is_terminal() => false,
        ColorChoice::Auto => anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never,
    }
}
