//! The control port: numbered records out, messages in. See the library of this crate for the conversation.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use vm_init::{Message, PORTS_DIR, Record, RecordKind};

use crate::step::{Failure, Step};

pub(crate) struct Control {
    port: File,
    next_seq: u64,
    pending: Vec<u8>,
}

impl Control {
    pub(crate) fn open(name: &str) -> Result<Self, Failure> {
        let path = Path::new(PORTS_DIR).join(name);
        let port =
            File::options().read(true).write(true).open(&path).step("open", path.display().to_string())?;
        Ok(Self { port, next_seq: 0, pending: Vec::new() })
    }

    /// Returns when QEMU has taken the whole record.
    pub(crate) fn send(&mut self, kind: RecordKind) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(&Record { seq: self.next_seq, kind }).step("encode", "record")?;
        self.next_seq += 1;
        line.push(b'\n');
        self.port.write_all(&line).step("write", "control port")
    }

    /// Waits for one message.
    pub(crate) fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return serde_json::from_slice(&line).step("parse", "message of the host");
            }
            let mut chunk = [0; 1024];
            let n_read = self.port.read(&mut chunk).step("read", "control port")?;
            if n_read == 0 {
                return Err(Failure::new("read", "control port", "closed by the host"));
            }
            self.pending.extend_from_slice(&chunk[..n_read]);
        }
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.port.as_fd()
    }
}
