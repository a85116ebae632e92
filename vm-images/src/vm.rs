//! A virtual machine for one command: image, accelerator, boot, and what to do when a boot fails.
//!
//! Before hello a failure says nothing about the command: a machine that KVM cannot run is started again under
//! emulation, and one whose emulated processors died is started once more. After hello nothing is repeated: what
//! happens then is a result.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use vm_init::{CONFIG_PATH, CONTROL_PORT, InitConfig, MODULES_DIR, MountSpec, RECORDS_PORT};

use crate::accel::{self, Accel};
use crate::boot::{BootError, BootPlan, Booted, Deadlines, boot};
use crate::console;
use crate::kernel::{Kernel, ModuleError};
use crate::observer::{Event, Observer};
use crate::outcome::Outcome;
use crate::process::{self, QemuError};
use crate::qemu::Engine;
use crate::rootfs::{Rootfs, RootfsError};
use crate::signals::SignalGuard;

/// What the ports need, and what container engines mount.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_console", "overlay"];

/// What an image on a disk needs.
const DISK_MODULES: [&str; 2] = ["virtio_blk", "erofs"];

/// Where the guest sees its only disk.
const DISK: &str = "/dev/vda";

/// Memory that the kernel and an idle guest need beside the image.
const KERNEL_MIB: u64 = 160;

/// A machine and its command. Made by [`Vm::new`]; every field may be changed before [`Vm::run`].
#[derive(Debug, Clone)]
pub struct Vm {
    /// The kernel.
    pub kernel: Kernel,
    /// The guest's files, without PID 1; see [`Rootfs::over_image`] for those that lie over a disk.
    pub rootfs: Rootfs,
    /// A file with an erofs image of a root file system. It is not written: what the guest writes is kept in memory.
    pub disk: Option<PathBuf>,
    /// The static program `vm-init` on the host.
    pub init: PathBuf,
    /// The command; a name without a slash is looked up in the guest's `PATH`.
    pub argv: Vec<String>,
    /// Environment of the command, on top of `PATH`, `HOME` and [`vm_init::DEADLINE_FACTOR_ENV`].
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: String,
    /// Mounts beside the customary ones.
    pub mounts: Vec<MountSpec>,
    /// Modules beside those for the ports and overlayfs.
    pub modules: Vec<String>,
    /// Program in the guest that is PID 1 while the command runs, such as systemd, if orphans are not only to be reaped.
    pub service_manager: Option<String>,
    /// Name of the machine.
    pub hostname: String,
    /// Which accelerator to use.
    pub accel: Accel,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u32,
    /// How long it may take.
    pub deadlines: Deadlines,
    /// Joins the command's terminal with this process's standard input and output.
    pub is_interactive: bool,
    /// Where the verdict on KVM is remembered.
    pub cache_dir: PathBuf,
    /// File for the kernel's log; written anew at each boot.
    pub log_path: PathBuf,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Report {
    /// The end.
    pub outcome: Outcome,
    /// What executed the guest.
    pub engine: Engine,
    /// `uname -r` of the guest, once it said hello.
    pub kernel: Option<String>,
    /// Start of QEMU to hello.
    pub hello_after: Option<Duration>,
    /// By how much slower this machine is than the one that deadlines are chosen for; at least 1. The command
    /// has it in its environment.
    pub deadline_factor: f64,
    /// Time for everything, failed boots included.
    pub wall: Duration,
    /// Boots that ended before hello and were repeated, with their reasons.
    pub repeated: Vec<String>,
    /// Lines handed to [`Observer::record`].
    pub n_records: u64,
    /// Whether the records ended in the middle of a line, which was dropped.
    pub has_torn_record: bool,
    /// The last lines of the kernel's log.
    pub last_lines: Vec<String>,
    /// The whole log.
    pub log_path: PathBuf,
}

/// Why there was no machine at all.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU is missing or cannot be watched.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// The files for the guest.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// The kernel's modules.
    #[error(transparent)]
    Modules(#[from] ModuleError),
    /// KVM was demanded and is not usable.
    #[error("KVM is not usable here: {reason}; use --accel tcg, or auto")]
    Kvm {
        /// Why.
        reason: String,
    },
    /// The image does not fit.
    #[error(
        "an image of {image_mib} MiB needs a machine of {needed_mib} MiB, this one has {memory_mib}; give it more with --memory"
    )]
    TooSmall {
        /// Size of the image.
        image_mib: u64,
        /// What it takes: the image lies in memory twice while the kernel unpacks it.
        needed_mib: u64,
        /// What was given.
        memory_mib: u32,
    },
    /// The image could not be handed to QEMU.
    #[error("{op} for the image")]
    Image {
        /// What was tried.
        op: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The machine could not be watched.
    #[error(transparent)]
    Boot(#[from] BootError),
}

impl VmError {
    /// The status for a command line: wrong usage or set-up.
    pub const EXIT_STATUS: u8 = 2;
}

impl Vm {
    /// A machine with 1 GiB of memory, two processors and the default deadlines, whose log and cache are in
    /// `work_dir`.
    #[must_use]
    pub fn new(kernel: Kernel, rootfs: Rootfs, init: &Path, argv: Vec<String>, work_dir: &Path) -> Self {
        Self {
            kernel,
            rootfs,
            disk: None,
            service_manager: None,
            init: init.to_owned(),
            argv,
            env: Vec::new(),
            cwd: "/".to_owned(),
            mounts: Vec::new(),
            modules: Vec::new(),
            hostname: "podproof".to_owned(),
            accel: Accel::Auto,
            memory_mib: 1024,
            cpus: 2,
            deadlines: Deadlines::default(),
            is_interactive: false,
            cache_dir: work_dir.to_owned(),
            log_path: work_dir.join("kernel.log"),
        }
    }

    /// Boots, runs the command, and ends the machine. Blocks. While it runs, SIGINT, SIGTERM and SIGHUP to this
    /// thread end the machine and give [`Outcome::Interrupted`]; call it from the main thread.
    ///
    /// # Errors
    /// When there is no machine to speak of: QEMU, a file of the image or a demanded accelerator is missing. How a
    /// machine ended, well or badly, is in the report.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<Report, VmError> {
        let begun = Instant::now();
        let program = process::find()?;
        let choice =
            accel::choose(self.accel, &program, &self.cache_dir).map_err(|reason| VmError::Kvm { reason })?;
        observer.event(&Event::Engine { engine: choice.engine, reason: choice.reason });
        let initrd = self.image()?;
        let signals =
            SignalGuard::block().map_err(|source| VmError::Image { op: "block signals", source })?;
        let mut engine = choice.engine;
        let mut repeated = Vec::new();
        let mut is_second = false;
        loop {
            let mut deadlines = self.deadlines;
            if engine == Engine::Kvm && self.accel == Accel::Auto {
                deadlines.hello = deadlines.hello.min(accel::KVM_HELLO);
            }
            let plan = BootPlan {
                program: &program,
                engine,
                memory_mib: self.memory_mib,
                cpus: self.cpus,
                kernel: self.kernel.image(),
                initrd: &initrd,
                disk: self.disk.as_deref(),
                deadlines,
                log_path: &self.log_path,
                is_interactive: self.is_interactive,
            };
            let booted = boot(&plan, &signals, observer)?;
            let has_hello = booted.hello_after.is_some();
            let next = next_engine(engine, self.accel, has_hello, is_second, &booted.outcome);
            let Some(next) = next else {
                return Ok(self.report(booted, engine, begun.elapsed(), repeated));
            };
            let reason = format!("{}{}", booted.outcome, last_words(&booted.last_lines));
            if engine == Engine::Kvm {
                accel::remember_failure(&program, &self.cache_dir, &booted.outcome.to_string());
            }
            observer.event(&Event::Retry { reason: reason.clone() });
            observer.event(&Event::Engine { engine: next, reason: None });
            repeated.push(reason);
            is_second = engine == Engine::Tcg;
            engine = next;
        }
    }

    fn report(&self, booted: Booted, engine: Engine, wall: Duration, repeated: Vec<String>) -> Report {
        Report {
            outcome: booted.outcome,
            engine,
            kernel: booted.kernel,
            hello_after: booted.hello_after,
            deadline_factor: booted.deadline_factor,
            wall,
            repeated,
            n_records: booted.n_records,
            has_torn_record: booted.has_torn_record,
            last_lines: booted.last_lines,
            log_path: self.log_path.clone(),
        }
    }

    /// Builds the initramfs in anonymous memory: no file is left behind, whatever ends this process.
    fn image(&self) -> Result<OwnedFd, VmError> {
        let mut rootfs = self.rootfs.clone();
        let mut names = Vec::new();
        if let Some(tree) = self.kernel.modules() {
            let disk = DISK_MODULES.into_iter().filter(|_| self.disk.is_some());
            let wanted: Vec<&str> =
                MODULES.into_iter().chain(disk).chain(self.modules.iter().map(String::as_str)).collect();
            for (number, module) in tree.closure(&wanted)?.into_iter().enumerate() {
                let name = format!("{number:03}-{}.ko", module.name);
                rootfs.content(&format!("{MODULES_DIR}/{name}"), module.elf, 0o644);
                names.push(name);
            }
        }
        let config = InitConfig {
            modules: names,
            root_device: self.disk.is_some().then(|| DISK.to_owned()),
            hostname: self.hostname.clone(),
            mounts: self.mounts.clone(),
            ports: vec![CONTROL_PORT.to_owned(), RECORDS_PORT.to_owned()],
            service_manager: self.service_manager.clone(),
            argv: self.argv.clone(),
            env: self.environment(),
            cwd: self.cwd.clone(),
            console: self.is_interactive.then(console::window_size),
        };
        let config = serde_json::to_vec(&config)
            .map_err(|error| VmError::Image { op: "encode the configuration", source: error.into() })?;
        rootfs.content(CONFIG_PATH, config, 0o644);
        rootfs.program("/init", &self.init, &[])?;
        let archive = rootfs.archive()?;

        let image_mib = (archive.len() as u64) >> 20;
        let needed_mib = 2 * image_mib + KERNEL_MIB;
        if u64::from(self.memory_mib) < needed_mib {
            return Err(VmError::TooSmall { image_mib, needed_mib, memory_mib: self.memory_mib });
        }
        let failed = |op| move |source| VmError::Image { op, source };
        let fd = memfd_create("podproof-image", MFdFlags::MFD_CLOEXEC)
            .map_err(|errno| failed("create anonymous memory")(errno.into()))?;
        let mut file = File::from(fd);
        file.write_all(&archive).map_err(failed("write anonymous memory"))?;
        file.as_fd().try_clone_to_owned().map_err(failed("duplicate the descriptor"))
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut env = self.env.clone();
        if self.is_interactive && !env.iter().any(|(name, _)| name == "TERM") {
            env.push(("TERM".to_owned(), std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned())));
        }
        env
    }
}

/// What to try after a boot, if it may be repeated at all; `is_second` says that emulation has been tried before.
fn next_engine(
    engine: Engine,
    accel: Accel,
    has_hello: bool,
    is_second: bool,
    outcome: &Outcome,
) -> Option<Engine> {
    if has_hello || matches!(outcome, Outcome::Interrupted { .. }) {
        return None;
    }
    match engine {
        Engine::Kvm => (accel == Accel::Auto).then_some(Engine::Tcg),
        // A processor exception in the guest; anything that would only repeat itself is not tried again.
        Engine::Tcg => {
            let died = matches!(outcome, Outcome::Panicked { .. } | Outcome::PoweredOff { is_reset: true });
            (died && !is_second).then_some(Engine::Tcg)
        }
    }
}

fn last_words(lines: &[String]) -> String {
    lines.last().map_or_else(String::new, |line| format!(" ({line})"))
}

impl Report {
    /// The end in words, with the last lines of the kernel when they explain it.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = self.outcome.to_string();
        if self.outcome.is_result() || matches!(self.outcome, Outcome::Interrupted { .. }) {
            return text;
        }
        for reason in &self.repeated {
            text.push_str(&format!("\nan earlier boot of this machine failed too: {reason}"));
        }
        if self.last_lines.is_empty() {
            text.push_str("\nthe kernel logged nothing");
        } else {
            text.push_str("\nlast lines of the kernel:");
            for line in &self.last_lines {
                text.push_str("\n  | ");
                text.push_str(line);
            }
        }
        text.push_str(&format!("\nwhole log: {}", self.log_path.display()));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Hang;

    #[test]
    fn only_what_died_before_hello_is_repeated() {
        let panicked = Outcome::Panicked { reason: "early".into() };
        let hung = Outcome::Hung(Hang::Boot(Duration::from_secs(10)));
        let next = |has_hello, is_second, outcome| {
            next_engine(Engine::Tcg, Accel::Auto, has_hello, is_second, outcome)
        };
        assert_eq!(next(false, false, &panicked), Some(Engine::Tcg));
        assert_eq!(next(false, true, &panicked), None);
        assert_eq!(next(false, false, &hung), None);
        assert_eq!(next(true, false, &panicked), None);
        assert_eq!(next_engine(Engine::Kvm, Accel::Auto, true, false, &Outcome::Stopped), None);
    }

    #[test]
    fn kvm_gives_way_to_emulation_unless_it_was_demanded() {
        let hung = Outcome::Hung(Hang::Boot(Duration::from_secs(10)));
        for outcome in [Outcome::Stopped, hung, Outcome::Panicked { reason: "early".into() }] {
            assert_eq!(next_engine(Engine::Kvm, Accel::Auto, false, false, &outcome), Some(Engine::Tcg));
            assert_eq!(next_engine(Engine::Kvm, Accel::Kvm, false, false, &outcome), None);
        }
        let interrupted = Outcome::Interrupted { signal: 2 };
        assert_eq!(next_engine(Engine::Kvm, Accel::Auto, false, false, &interrupted), None);
    }
}
