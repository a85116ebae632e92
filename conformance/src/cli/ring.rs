//! The ring that events wait in, as commands that trace offer it.

use clap::Args;
use podproof_ebpf::TraceOptions;

/// Options of every command that traces.
#[derive(Debug, Args)]
pub(super) struct RingArgs {
    /// Size of the ring in which events wait until they are read: a power of two, 4096 at least. A small one saves memory and
    /// loses events while much happens at once; what was lost is told, and never taken for absent.
    #[arg(long, value_name = "BYTES", default_value_t = TraceOptions::default().ring_bytes, value_parser = parse)]
    ring_bytes: u32,
}

impl RingArgs {
    /// What to trace with.
    pub(super) fn trace_options(&self) -> TraceOptions {
        TraceOptions { ring_bytes: self.ring_bytes, ..TraceOptions::default() }
    }
}

fn parse(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(bytes) if bytes >= 4096 && bytes.is_power_of_two() => Ok(bytes),
        _ => Err("must be a power of two from 4096 to 2147483648".to_owned()),
    }
}
