//! Runs one command in a virtual machine, under a chosen kernel, and tells how it ended.
//!
//! ```no_run
//! use std::path::Path;
//! use vm_images::{Event, Kernel, Observer, Rootfs, Stream, Vm};
//!
//! struct Print;
//!
//! impl Observer for Print {
//!     fn output(&mut self, _stream: Stream, bytes: &[u8]) {
//!         print!("{}", String::from_utf8_lossy(bytes));
//!     }
//!     fn record(&mut self, line: &[u8]) {
//!         println!("record: {}", String::from_utf8_lossy(line));
//!     }
//!     fn event(&mut self, event: &Event) {
//!         eprintln!("{event}");
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let work = Path::new("target/vm");
//! let kernel = Kernel::from_package(Path::new("target/tools/kernel-6.12"), work)?;
//! let mut rootfs = Rootfs::new();
//! rootfs.busybox(Path::new("target/tools/busybox/bin/busybox"))?;
//! rootfs.program("/usr/sbin/runc", Path::new("/usr/sbin/runc"), &[])?;
//! let init = Path::new("target/x86_64-unknown-linux-gnu/release/vm-init");
//! let command = vec!["runc".to_owned(), "--version".to_owned()];
//! let report = Vm::new(kernel, rootfs, init, command, work).run(&mut Print)?;
//! eprintln!("{}", report.explain());
//! std::process::exit(report.outcome.exit_status().into());
//! # }
//! ```
//!
//! Data flows one way: [`Kernel`] and [`Rootfs`] -> image -> QEMU -> records -> [`Report`].
//!
//! - The command's standard output and error arrive at [`Observer::output`]. What it writes to
//!   `/dev/virtio-ports/podproof.records` arrives at [`Observer::record`], line by line and uninterpreted; a write
//!   that is blocking has arrived when it returns, also if the guest dies in the next moment.
//! - The command finds cgroup v2 with all its controllers enabled at the root, bpffs, tracefs and debugfs mounted,
//!   a tmpfs (or a disk image under an overlay) as root with shared propagation, and the loopback interface up.
//! - All deadlines are the host's. The command gets a factor for its own in [`DEADLINE_FACTOR_ENV`].
//! - Nothing is written but the kernel's log, and in the cache directory the unpacked kernel and the verdict on
//!   KVM. QEMU dies with this process, however that dies.

mod accel;
mod boot;
mod channel;
mod console;
mod containers;
mod cpio;
mod kernel;
mod libraries;
mod observer;
mod outcome;
mod process;
mod qemu;
mod qmp;
mod rootfs;
mod serial;
mod signals;
mod vm;

pub use accel::{Accel, UnknownAccel};
pub use boot::{BootError, Deadlines};
pub use containers::POD_MODULES;
pub use cpio::TooLarge;
pub use kernel::{DecompressError, ExtractError, Kernel, KernelError, ModuleError, ModuleTree};
pub use libraries::LibraryError;
pub use observer::{Event, Observer, Silent, Stream};
pub use outcome::{Hang, OomVictim, Outcome, STATUS_INCONCLUSIVE};
pub use process::QemuError;
pub use qemu::Engine;
pub use rootfs::{Rootfs, RootfsError};
pub use serial::LogError;
pub use vm::{Report, Vm, VmError};
pub use vm_init::{DEADLINE_FACTOR_ENV, MountSpec, PORTS_DIR, RECORDS_PORT};
