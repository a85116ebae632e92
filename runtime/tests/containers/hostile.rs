//! Root file systems that are made to lead out of the container. Nothing on the node may be touched.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::Failed;
use nix::sys::wait::{WaitPidFlag, waitpid};
use serde_json::{Value, json};

use crate::fixture::{Cell, Lines};
use crate::hooks::expect;
use crate::inside::say;
use crate::mounts::run;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("hostile::links_lead_nothing_out_of_the_root", links),
    ("hostile::links_of_proc_are_not_followed", links_of_proc),
    ("hostile::a_link_that_comes_and_goes_changes_nothing", racing_link),
    ("hostile::a_working_directory_outside_is_refused", working_directory),
    ("hostile::the_runtime_cannot_be_written_from_inside", runtime_from_inside),
];

/// In the container: holds a file, and opens it for writing as soon as nobody executes it; prints what that gives.
pub(crate) fn write(paths: &[String]) -> ExitCode {
    for path in paths {
        let held = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
        let Ok(held) = held else { return ExitCode::FAILURE };
        say("held");
        let again = format!("/proc/self/fd/{}", held.as_raw_fd());
        let errno = loop {
            match fs::OpenOptions::new().write(true).open(&again).map_err(|error| error.raw_os_error()) {
                Err(Some(libc::ETXTBSY)) => std::thread::yield_now(),
                Err(errno) => break errno.unwrap_or_default(),
                Ok(_) => break 0,
            }
        };
        say(&errno.to_string());
    }
    ExitCode::SUCCESS
}

/// In the container: prints the working directory, and whether going up ends at the root.
pub(crate) fn whereabouts() -> ExitCode {
    let here = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
    let id = |path: &str| fs::metadata(path).map(|stat| (stat.dev(), stat.ino())).ok();
    let is_inside = id(&"../".repeat(64)) == id("/") && Path::new("/program").exists();
    say(&format!("{here} {is_inside}"));
    ExitCode::SUCCESS
}

/// A directory of the node with one file of each kind that a container could change, and how they look.
struct Node {
    directory: PathBuf,
    before: Vec<String>,
}

impl Node {
    fn new(cell: &mut Cell) -> Result<Self, Failed> {
        let directory = cell.path().join("data");
        fs::write(directory.join("file"), "of the node")?;
        fs::create_dir(directory.join("directory"))?;
        cell.settle()?;
        let before = Self::look(&directory)?;
        Ok(Self { directory, before })
    }

    fn look(directory: &Path) -> Result<Vec<String>, Failed> {
        let mut lines = Vec::new();
        for path in [
            directory,
            &directory.join("file"),
            &directory.join("directory"),
            Path::new("/dev"),
            Path::new("/dev/null"),
            Path::new("/proc/sys/kernel"),
        ] {
            let stat = fs::symlink_metadata(path)?;
            let mut names: Vec<_> = match stat.is_dir() {
                true => {
                    fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_, Failed>>()?
                }
                false => Vec::new(),
            };
            names.sort();
            let content = if path.ends_with("file") { fs::read(path)? } else { Vec::new() };
            lines.push(format!(
                "{} {} {:o} {}:{} {} {} {names:?} {content:?}",
                path.display(),
                stat.ino(),
                stat.mode(),
                stat.uid(),
                stat.gid(),
                stat.ctime(),
                stat.rdev()
            ));
        }
        Ok(lines)
    }

    fn expect_untouched(&self, cell: &Cell) -> Result<(), Failed> {
        let now = Self::look(&self.directory)?;
        if now != self.before {
            return fail(format!("{:#?}\nnow:\n{now:#?}", self.before));
        }
        cell.expect_nothing_left()
    }
}

/// A change that makes podrt do something at `/trap`, which is a link.
type Use = (&'static str, fn(&mut Value));

const USES: [Use; 9] = [
    ("a mount", |config| add(config, json!({"destination": "/trap", "type": "tmpfs"}))),
    ("a mount below", |config| add(config, json!({"destination": "/trap/new/er", "type": "tmpfs"}))),
    ("a bind of a file", |config| {
        add(config, json!({"destination": "/trap/file", "type": "bind", "source": "/proc/version"}));
    }),
    ("a copy", |config| {
        add(config, json!({"destination": "/trap", "type": "tmpfs", "options": ["tmpcopyup"]}));
    }),
    ("a device", |config| {
        config["linux"]["devices"] = json!([{"path": "/trap/device", "type": "c", "major": 1, "minor": 3}]);
    }),
    ("a masked path", |config| config["linux"]["maskedPaths"] = json!(["/trap", "/trap/file"])),
    ("a read-only path", |config| config["linux"]["readonlyPaths"] = json!(["/trap", "/trap/file"])),
    ("a working directory", |config| config["process"]["cwd"] = json!("/trap/made")),
    ("/proc and /dev", |config| {
        config["mounts"] = json!([{"destination": "/trap/proc", "type": "proc"}, {"destination": "/trap/dev",
            "type": "tmpfs"}]);
    }),
];

fn add(config: &mut Value, mount: Value) {
    if let Some(mounts) = config["mounts"].as_array_mut() {
        mounts.push(mount);
    }
}

fn links() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let node = Node::new(&mut cell)?;
    let up = "../".repeat(20);
    let absolute = node.directory.display().to_string();
    let targets =
        [absolute.clone(), format!("{up}{}", &absolute[1..]), "/proc/1/root".to_owned(), "/".to_owned()];
    for target in &targets {
        for (what, change) in USES {
            let trap = cell.path().join("rootfs/trap");
            symlink(target, &trap)?;
            let mut config = cell.config("c", &["exit", "0"]);
            change(&mut config);
            // Whether it can be done inside the root, or not at all, is the same to the node.
            let result = run(&cell, &config)?;
            node.expect_untouched(&cell).map_err(|error| {
                format!("{what} at a link to {target} ({result:?}): {}", error.message().unwrap_or_default())
            })?;
            fs::remove_file(&trap)?;
        }
    }
    // The directories of every container.
    for name in ["proc", "dev", "tmp"] {
        for target in &targets {
            let path = cell.path().join("rootfs").join(name);
            if path.is_symlink() {
                fs::remove_file(&path)?
            } else {
                fs::remove_dir_all(&path)?
            }
            symlink(target, &path)?;
            let mut config = cell.config("c", &["exit", "0"]);
            add(&mut config, json!({"destination": "/tmp/x", "type": "tmpfs"}));
            let result = run(&cell, &config)?;
            node.expect_untouched(&cell).map_err(|error| {
                format!("/{name} linked to {target} ({result:?}): {}", error.message().unwrap_or_default())
            })?;
        }
        fs::remove_file(cell.path().join("rootfs").join(name))?;
        fs::create_dir(cell.path().join("rootfs").join(name))?;
    }
    Ok(())
}

fn links_of_proc() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let node = Node::new(&mut cell)?;
    for place in ["/proc/self/root", "/proc/1/cwd", "/proc/self/fd/3", "/proc/self/exe"] {
        for (what, config) in [
            (
                "mount",
                json!([{"destination": "/proc", "type": "proc"}, {"destination": place, "type": "tmpfs"}]),
            ),
            (
                "bind",
                json!([{"destination": "/proc", "type": "proc"},
                {"destination": format!("{place}/file"), "type": "bind", "source": "/proc/version"}]),
            ),
        ] {
            let mut changed = cell.config("c", &["exit", "0"]);
            changed["mounts"] = config;
            if let Ok(lines) = run(&cell, &changed)? {
                return fail(format!("{what} at {place} was made: {lines:?}"));
            }
            node.expect_untouched(&cell)?;
        }
    }
    Ok(())
}

/// The image is changed while the container is made: by a container that shares it, for instance (CVE-2021-30465).
fn racing_link() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let node = Node::new(&mut cell)?;
    let rootfs = cell.path().join("rootfs");
    symlink(&node.directory, rootfs.join("link"))?;
    let mut racer =
        Command::new("/proc/self/exe").arg("--race").arg(&rootfs).stdout(Stdio::piped()).spawn()?;
    Lines::of(&mut racer)?.expect("ready")?;
    cell.settle()?;
    let mut checked = Ok(());
    for _ in 0..15 {
        let mut config = cell.config("c", &["exit", "0"]);
        add(&mut config, json!({"destination": "/data/below/it", "type": "tmpfs"}));
        config["linux"]["devices"] = json!([{"path": "/data/device", "type": "c", "major": 1, "minor": 3}]);
        config["linux"]["maskedPaths"] = json!(["/data/file"]);
        drop(run(&cell, &config)?);
        checked = node.expect_untouched(&cell);
        if checked.is_err() {
            break;
        }
    }
    racer.kill()?;
    racer.wait()?;
    checked
}

/// Exchanges a directory and a link again and again.
pub(crate) fn race(rootfs: &str) -> ExitCode {
    let rootfs = Path::new(rootfs);
    let (one, other) = (rootfs.join("data"), rootfs.join("link"));
    say("ready");
    loop {
        let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
        let here = nix::fcntl::AT_FDCWD;
        if nix::fcntl::renameat2(here, &one, here, &other, flags).is_err() {
            return ExitCode::FAILURE;
        }
    }
}

fn working_directory() -> Result<(), Failed> {
    let cell = Cell::new()?;
    symlink("/proc/self/fd/7", cell.path().join("rootfs/fd"))?;
    symlink("/proc/1/root", cell.path().join("rootfs/up"))?;
    symlink("../".repeat(20), cell.path().join("rootfs/top"))?;
    let mut directories: Vec<String> = (3..=30).map(|fd| format!("/proc/self/fd/{fd}")).collect();
    directories.extend(
        ["/fd", "/up", "/proc/1/cwd", "/proc/self/root/tmp", "/proc/thread-self/cwd"].map(str::to_owned),
    );
    for cwd in directories {
        let mut config = cell.config("c", &["where"]);
        config["process"]["cwd"] = json!(cwd);
        match run(&cell, &config)? {
            Err(message) if message.contains("enter process.cwd") => {}
            other => return fail(format!("{cwd}: {other:?}")),
        }
        cell.expect_nothing_left()?;
    }
    let mut config = cell.config("c", &["where"]);
    config["process"]["cwd"] = json!("/top");
    expect("a link to above the root", &json!(run(&cell, &config)?), json!({"Ok": ["/ true"]}))?;
    cell.expect_nothing_left()
}

fn runtime_from_inside() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let program = cell.podrt().get_program().to_owned();
    let before = fs::read(&program)?;
    // A program that makes the runtime execute itself, in the container.
    fs::write(cell.path().join("rootfs/self"), "#!/proc/self/exe\n")?;
    let mut permissions = fs::metadata(cell.path().join("rootfs/self"))?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(cell.path().join("rootfs/self"), permissions)?;
    let mut config = cell.config("c", &[]);
    config["process"]["args"] = json!(["/self"]);
    if let Ok(lines) = run(&cell, &config)? {
        return fail(format!("the runtime has run as a program: {lines:?}"));
    }
    // A neighbour that sees the process before its exec, with every capability.
    let mut held = cell.create("c", &cell.config("c", &["hold"]))?;
    let pid = cell.pid("c")?;
    let mut config = cell.config("writer", &["write", "/proc/1/exe"]);
    let all: Vec<String> = runtime::spec::capabilities::names();
    config["process"]["capabilities"] = json!({"bounding": all, "permitted": all, "effective": all});
    for ns in config["linux"]["namespaces"].as_array_mut().ok_or("no namespaces")? {
        if ns["type"] == "pid" {
            ns["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
    let mut output = cell.create("writer", &config)?;
    let writer = cell.pid("writer")?;
    cell.ok(&["start", "writer"])?;
    output.expect("held")?;
    cell.ok(&["start", "c"])?;
    held.expect("ready")?;
    output.expect(&libc::EROFS.to_string())?;
    cell.ok(&["delete", "--force", "writer"])?;
    // PID 1 of the namespace ends after all others in it are reaped, this one by its new parent.
    waitpid(writer, Some(WaitPidFlag::__WALL))?;
    cell.ok(&["delete", "--force", "c"])?;
    if fs::read(&program)? != before {
        return fail("the runtime has changed");
    }
    cell.expect_nothing_left()
}
