//! What a program in a container finds out about itself.
#![expect(unsafe_code, reason = "priorities, keyring and personality have no safe wrappers")]

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};
use runtime::sys::pty;
use serde_json::{Value, json};

/// Everything, as one object.
pub(crate) fn all() -> Value {
    let read =
        |path: &str| fs::read_to_string(path).unwrap_or_default().trim_end_matches(['\n', '\0']).to_owned();
    let status: BTreeMap<String, String> = read("/proc/self/status")
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let namespaces: BTreeMap<String, Value> = fs::read_dir("/proc/self/ns")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| {
            (entry.file_name().to_string_lossy().into_owned(), json!(fs::read_link(entry.path()).ok()))
        })
        .collect();
    let megaseconds = |clock| clock_gettime(clock).map_or(0, |time| time.tv_sec() / 1_000_000);
    // SAFETY: no pointers; 1 is IOPRIO_WHO_PROCESS.
    let io_priority = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) };
    // SAFETY: no pointers.
    let scheduler = unsafe { libc::sched_getscheduler(0) };
    // SAFETY: no pointers; this value only asks.
    let personality = unsafe { libc::personality(0xffff_ffff) };
    json!({
        "status": status,
        "ns": namespaces,
        "cwd": std::env::current_dir().ok(),
        "env": read("/proc/self/environ").split('\0').collect::<Vec<_>>(),
        "cgroup": read("/proc/self/cgroup").lines().find(|line| line.starts_with("0::")),
        "oom_score_adj": read("/proc/self/oom_score_adj"),
        "open_files": getrlimit(Resource::RLIMIT_NOFILE).ok(),
        "io_priority": io_priority,
        "scheduler": scheduler,
        "personality": personality,
        "clock_megaseconds": [megaseconds(ClockId::CLOCK_MONOTONIC), megaseconds(ClockId::CLOCK_BOOTTIME)],
        "apparmor": read("/proc/self/attr/apparmor/current"),
        "stdout_owner": fs::metadata("/proc/self/fd/1").map(|stdout| stdout.uid()).ok(),
        "keyring": session_keyring(),
    })
}

/// The serial number of the session keyring.
pub(crate) fn session_keyring() -> Value {
    // SAFETY: no pointers; -3 is KEY_SPEC_SESSION_KEYRING, and 1 makes it if there is none.
    json!(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, -3, 1) })
}

/// Two lines about the terminal that the standard streams are, then one about a line that was read.
pub(crate) fn terminal(say: impl Fn(&str)) {
    let stdin = std::io::stdin();
    let size = pty::size(stdin.as_fd()).map_or((0, 0), |size| (size.height, size.width));
    let name = fs::read_link("/proc/self/fd/0").unwrap_or_default();
    let own = fs::metadata(&name);
    let uid = own.as_ref().map_or(u32::MAX, MetadataExt::uid);
    say(&format!("{} {}x{} uid {uid}", name.display(), size.0, size.1));
    let rdev = own.map_or(0, |own| own.rdev());
    let console = match fs::metadata("/dev/console") {
        Ok(console) if console.rdev() == rdev => "the same",
        Ok(_) => "another",
        Err(_) => "missing",
    };
    // Its own number is that of the controlling terminal, here seen in field 7 of stat.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let tty = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(4)?.parse::<u64>().ok());
    let tty = if tty == Some(rdev) { "the same" } else { "another" };
    say(&format!("console is {console}, tty is {tty}"));
    let mut line = String::new();
    if stdin.lock().read_line(&mut line).is_ok() {
        say(&format!("read {}", line.trim_end()));
    }
}
