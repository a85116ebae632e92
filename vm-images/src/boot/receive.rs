//! What arrives from a running machine, source by source, and what is answered.

use std::time::Instant;

use nix::sys::signal::Signal;
use vm_init::{Message, PROTOCOL, Record, RecordKind};

use super::{BootError, Phase, REFERENCE_HELLO, Session, io_error};
use crate::console;
use crate::observer::Event;
use crate::outcome::CommandEnd;
use crate::qmp::{self, QmpCommand, QmpMessage};
use crate::signals::SignalGuard;

impl Session<'_> {
    pub(super) fn signals(&mut self, signals: &SignalGuard) -> Result<(), BootError> {
        while let Some(signal) = signals.next() {
            if signal != Signal::SIGWINCH {
                self.facts.interrupted = Some(signal as i32);
                self.kill()?;
            } else if self.console.is_some() && matches!(self.phase, Phase::Command { .. }) {
                self.tell(&Message::Resize(console::window_size()))?;
            }
        }
        Ok(())
    }

    /// Like the next three: takes what has arrived; `false` when there is nothing left at the moment.
    pub(super) fn serial(&mut self) -> Result<bool, BootError> {
        let has_more = self.serial.receive().map_err(io_error("read the serial line"))?;
        for line in self.serial.lines() {
            self.log.line(&line)?;
            self.observer.kernel_line(&line);
        }
        Ok(has_more)
    }

    pub(super) fn qmp(&mut self) -> Result<bool, BootError> {
        let has_more = self.qmp.receive().map_err(io_error("read the monitor"))?;
        for line in self.qmp.lines() {
            match qmp::parse(&line) {
                QmpMessage::Greeting => self.command(QmpCommand::Capabilities)?,
                QmpMessage::Shutdown { reason } => self.facts.shutdown_reason = Some(reason),
                // At the end of a machine it may stand still, too.
                QmpMessage::Stop if self.facts.shutdown_reason.is_some() => {}
                QmpMessage::Stop => {
                    self.facts.is_stopped = true;
                    self.kill()?;
                }
                QmpMessage::Status(status) => {
                    self.log.line(format!("[host] QEMU's state: {status}").as_bytes())?
                }
                QmpMessage::Refused(why) => self.log.line(format!("[host] QEMU refused {why}").as_bytes())?,
                QmpMessage::Other => {}
            }
        }
        Ok(has_more)
    }

    pub(super) fn control(&mut self) -> Result<bool, BootError> {
        let has_more = self.control.receive().map_err(io_error("read the control port"))?;
        for line in self.control.lines() {
            self.last_sign = Instant::now();
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) if record.seq == self.next_seq => {
                    self.next_seq += 1;
                    self.control_record(record.kind)?;
                }
                Ok(record) => {
                    self.garbled(format!("record {} came after record {}", record.seq, self.next_seq))
                }
                Err(error) => self.garbled(format!("record {} cannot be read: {error}", self.next_seq)),
            }
        }
        if self.facts.garbled.is_some() && !matches!(self.phase, Phase::Dying) {
            self.kill()?;
        }
        Ok(has_more)
    }

    fn garbled(&mut self, detail: String) {
        self.facts.garbled.get_or_insert(detail);
    }

    fn control_record(&mut self, record: RecordKind) -> Result<(), BootError> {
        match record {
            RecordKind::Hello { protocol, .. } if protocol != PROTOCOL => {
                self.garbled(format!(
                    "vm-init speaks version {protocol}, this program {PROTOCOL}; build both again"
                ));
            }
            RecordKind::Hello { kernel, controllers, degraded, .. } => {
                self.hello(kernel, controllers, degraded)?
            }
            RecordKind::Start { .. } | RecordKind::Beat { .. } => {}
            RecordKind::Refused { program, errno } => {
                self.facts.refused = Some((program, errno));
                self.phase = Phase::Ending { since: Instant::now() };
            }
            RecordKind::Out { stream, bytes } => match bytes.decode() {
                Some(bytes) => self.observer.output(stream, &bytes),
                None => self.garbled("output with damaged digits".to_owned()),
            },
            RecordKind::Exit { code, signal } => {
                match (code.map(u8::try_from), signal) {
                    (Some(Ok(code)), None) => self.facts.exit = Some(CommandEnd::Code(code)),
                    (None, Some(signal)) => self.facts.exit = Some(CommandEnd::Signal(signal)),
                    _ => self.garbled(format!("exit record with code {code:?} and signal {signal:?}")),
                }
                if matches!(self.phase, Phase::Command { .. }) {
                    self.phase = Phase::Ending { since: Instant::now() };
                }
            }
        }
        Ok(())
    }

    fn hello(
        &mut self,
        kernel: String,
        controllers: Vec<String>,
        degraded: Vec<String>,
    ) -> Result<(), BootError> {
        let after = self.started.elapsed();
        self.facts.has_hello = true;
        self.hello_after = Some(after);
        self.deadline_factor = (after.as_secs_f64() / REFERENCE_HELLO.as_secs_f64()).max(1.0);
        if matches!(self.phase, Phase::Boot) {
            self.phase = Phase::Command { since: Instant::now() };
        }
        self.kernel = Some(kernel.clone());
        let deadline_factor = self.deadline_factor;
        self.observer.event(&Event::Hello { kernel, after, deadline_factor, controllers, degraded });
        self.tell(&Message::Go { deadline_factor })
    }

    pub(super) fn records(&mut self) -> Result<bool, BootError> {
        let has_more = self.records.receive().map_err(io_error("read the records port"))?;
        for line in self.records.lines() {
            self.n_records += 1;
            self.observer.record(&line);
        }
        Ok(has_more)
    }

    pub(super) fn show(&mut self) -> Result<(), BootError> {
        let Some(console) = &mut self.console else { return Ok(()) };
        console.flush().and_then(|()| console.show()).map_err(io_error("serve the console"))
    }

    pub(super) fn type_in(&mut self) -> Result<(), BootError> {
        let Some(console) = &mut self.console else { return Ok(()) };
        if !console.type_in().map_err(io_error("read standard input for the console"))? {
            self.facts.interrupted = Some(Signal::SIGINT as i32);
            self.kill()?;
        }
        Ok(())
    }
}
