//! The user's terminal as the console of the guest: raw while the machine runs, restored afterwards.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use vm_init::WindowSize;

use crate::channel::Channel;

/// Ctrl-] ends the machine, as in telnet(1): every other key belongs to the guest.
const ESCAPE: u8 = 0x1d;

/// Ctrl-D, which ends the input of a terminal.
const END_OF_INPUT: u8 = 0x04;

/// Size for a guest whose host side is no terminal.
const DEFAULT_SIZE: WindowSize = WindowSize { rows: 24, columns: 80 };

/// The host's standard input and output, joined with the guest's console.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) channel: Channel,
    saved: Option<Termios>,
    /// Typed, and not yet taken by the guest.
    typed: Vec<u8>,
    is_input_open: bool,
}

impl Console {
    pub(crate) fn attach(channel: Channel) -> io::Result<Self> {
        let stdin = io::stdin();
        let mut saved = None;
        if isatty(&stdin) {
            let normal = tcgetattr(&stdin)?;
            let mut raw = normal.clone();
            raw.make_raw();
            tcsetattr(&stdin, OptionalActions::Now, &raw)?;
            saved = Some(normal);
        }
        Ok(Self { channel, saved, typed: Vec::new(), is_input_open: true })
    }

    /// Standard input, while there is more and the guest takes it.
    pub(crate) fn input(&self) -> Option<BorrowedFd<'static>> {
        // SAFETY is not needed: the standard library hands out descriptor 0 for the life of the process.
        (self.is_input_open && self.typed.is_empty()).then(rustix::stdio::stdin)
    }

    /// Whether typed bytes wait for room.
    pub(crate) fn has_backlog(&self) -> bool {
        !self.typed.is_empty()
    }

    /// Takes what was typed; `false` when the user wants to end the machine.
    pub(crate) fn type_in(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 4096];
        let n_read = rustix::io::read(rustix::stdio::stdin(), &mut chunk)?;
        let typed = &chunk[..n_read];
        if self.saved.is_some() && typed.contains(&ESCAPE) {
            return Ok(false);
        }
        if n_read == 0 {
            self.is_input_open = false;
            self.typed.push(END_OF_INPUT);
        }
        self.typed.extend_from_slice(typed);
        self.flush()?;
        Ok(true)
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let n_sent = self.channel.send_some(&self.typed)?;
        self.typed.drain(..n_sent);
        Ok(())
    }

    /// Shows what the guest wrote.
    pub(crate) fn show(&mut self) -> io::Result<()> {
        while self.channel.receive()? {}
        let bytes = self.channel.take_bytes();
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()
    }
}

/// Size of the user's terminal.
pub(crate) fn window_size() -> WindowSize {
    match tcgetwinsize(io::stdout().as_fd()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            WindowSize { rows: size.ws_row, columns: size.ws_col }
        }
        _ => DEFAULT_SIZE,
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // Nothing can be done about a terminal that has gone away.
            tcsetattr(io::stdin(), OptionalActions::Now, saved).ok();
        }
    }
}
