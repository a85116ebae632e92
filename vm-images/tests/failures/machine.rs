//! The machine that the tests run: busybox, one command, its own log file; and what was seen of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use vm_images::{Event, Kernel, Observer, Report, Rootfs, Stream, Vm};

/// A kernel and the files for its guests.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) series: String,
    pub(crate) tree: PathBuf,
    pub(crate) busybox: PathBuf,
    pub(crate) init: PathBuf,
    /// For the unpacked kernels and the logs.
    pub(crate) work: PathBuf,
    /// Tells this test's log from others.
    pub(crate) name: String,
}

impl Site {
    /// One site for each kernel, or what is missing.
    pub(crate) fn all() -> Result<Vec<Self>, String> {
        let var = |name: &str| {
            std::env::var(name).map_err(|_absent| format!("{name} is not set; run cargo xtask test"))
        };
        let trees = var("PODPROOF_TEST_KERNEL_TREES")?;
        let busybox = PathBuf::from(var("PODPROOF_TEST_BUSYBOX")?);
        let init = PathBuf::from(var("PODPROOF_TEST_INIT")?);
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|dir| dir.join("qemu-system-x86_64").is_file()) {
            return Err("qemu-system-x86_64 is not in PATH".to_owned());
        }
        // Beside the folder for temporary files, which must be empty after the tests: kernels are worth keeping.
        let work = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vm");
        let site = |(series, tree): (&str, &str)| Self {
            series: series.to_owned(),
            tree: PathBuf::from(tree),
            busybox: busybox.clone(),
            init: init.clone(),
            work: work.clone(),
            name: String::new(),
        };
        let sites: Vec<Self> = trees.split(':').filter_map(|entry| entry.split_once('=')).map(site).collect();
        if sites.is_empty() {
            Err("PODPROOF_TEST_KERNEL_TREES names no kernel".to_owned())
        } else {
            Ok(sites)
        }
    }

    pub(crate) fn named(&self, name: &str) -> Self {
        Self { name: name.replace("::", "-"), ..self.clone() }
    }

    /// A machine whose command is this shell script.
    pub(crate) fn script(&self, script: &str) -> Result<Vm, Failed> {
        self.machine(&["sh", "-c", script])
    }

    pub(crate) fn machine(&self, argv: &[&str]) -> Result<Vm, Failed> {
        let kernel = Kernel::from_package(&self.tree, &self.work)?;
        let mut rootfs = Rootfs::new();
        rootfs.busybox(&self.busybox)?;
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        let mut vm = Vm::new(kernel, rootfs, &self.init, argv, &self.work);
        vm.memory_mib = 320;
        vm.deadlines.command = Some(Duration::from_secs(120));
        vm.log_path = self.work.join("logs").join(format!("{}-{}.log", self.series, self.name));
        Ok(vm)
    }
}

/// Everything that a machine gave.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) records: Vec<Vec<u8>>,
    pub(crate) events: Vec<Event>,
}

impl Observer for Seen {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
    }

    fn record(&mut self, line: &[u8]) {
        self.records.push(line.to_vec());
    }

    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

/// A machine that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) report: Report,
    pub(crate) seen: Seen,
    /// From hello to the end.
    pub(crate) after_hello: Duration,
}

/// Runs a machine to its end.
pub(crate) fn run(vm: &Vm) -> Result<Ended, Failed> {
    let mut seen = Seen::default();
    let begun = Instant::now();
    let report = vm.run(&mut seen)?;
    let after_hello = begun.elapsed().saturating_sub(report.hello_after.unwrap_or_default());
    Ok(Ended { report, seen, after_hello })
}

impl Ended {
    /// Fails with everything that is known when the condition does not hold.
    pub(crate) fn check(&self, what: &str, holds: bool) -> Result<(), Failed> {
        if holds {
            return Ok(());
        }
        let Seen { stdout, stderr, records, events } = &self.seen;
        let (stdout, stderr) = (String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr));
        let n_records = records.len();
        Err(format!(
            "expected: {what}\n{}\n{:#?}\nstdout: {stdout:.2000}\nstderr: {stderr:.2000}\n{n_records} records\n{events:?}",
            self.report.explain(),
            self.report.outcome,
        )
        .into())
    }

    /// A failure of the machine: status 3, its own words, and the kernel's words that show it.
    pub(crate) fn failed_with(&self, words: &str, kernel_words: &str) -> Result<(), Failed> {
        let message = self.report.explain();
        self.check("exit status 3", self.report.outcome.exit_status() == 3)?;
        self.check(&format!("a message with {words:?}"), message.contains(words))?;
        let (_, kernel) = message.split_once("last lines of the kernel:").unwrap_or_default();
        self.check(&format!("kernel lines with {kernel_words:?}"), kernel.contains(kernel_words))?;
        let log = std::fs::read_to_string(&self.report.log_path)?;
        self.check("the same in the log file", log.contains(kernel_words))
    }
}
