//! Words for system calls that need no memory of who is who.

use podproof_ebpf::event::{Creds, NsKind, TaskRef, WaitCall};

use super::line::{Ink, Text};
use super::words;

const SECCOMP_STRICT: u32 = 1;
const SECCOMP_FILTER: u32 = 2;

const MS_REMOUNT: u64 = 0x20;
const MS_BIND: u64 = 0x1000;
const MS_MOVE: u64 = 0x2000;
const MS_REC: u64 = 0x4000;
const PROPAGATIONS: [(u64, &str); 4] =
    [(0x2_0000, "unbindable"), (0x4_0000, "private"), (0x8_0000, "slave"), (0x10_0000, "shared")];
/// `AT_RECURSIVE`: a mount with all below it.
pub(super) const AT_RECURSIVE: u64 = 0x8000;

/// A verb with a space: what is done, or what could not be done.
pub(super) fn does(ret: i64, done: &str, attempted: &str) -> Text {
    if ret < 0 { Text::of(&format!("cannot {attempted} ")) } else { Text::of(&format!("{done} ")) }
}

pub(super) fn result(ret: i64) -> Text {
    words::failure(ret).unwrap_or_default()
}

pub(super) fn descriptor(ret: i64) -> Text {
    words::failure(ret).unwrap_or_else(|| Text::default().ink(Ink::Dim, &format!(" (fd {ret})")))
}

/// Namespaces are a thread's own.
pub(super) fn only_thread(current: TaskRef) -> String {
    if current.tid == current.tgid { String::new() } else { format!(", its thread {} alone", current.tid) }
}

pub(super) fn credentials(creds: &Creds, of_root: u64) -> String {
    let n_capabilities = creds.cap_effective.count_ones();
    let mut parts = Vec::new();
    if creds.uid != 0 {
        parts.push(format!(" as uid {}", creds.uid));
    }
    // Root has all and others have none, commonly.
    let expected = if creds.uid == 0 { of_root & !creds.cap_effective == 0 } else { n_capabilities == 0 };
    match n_capabilities {
        _ if expected => {}
        0 => parts.push(" without capabilities".into()),
        1 => parts.push(" with 1 capability".into()),
        n => parts.push(format!(" with {n} capabilities")),
    }
    if creds.no_new_privs {
        parts.push(" no_new_privs".into());
    }
    match creds.seccomp_mode {
        SECCOMP_STRICT => parts.push(" strict seccomp".into()),
        SECCOMP_FILTER => parts.push(" a seccomp filter".into()),
        _ => {}
    }
    parts.join(",")
}

pub(super) fn unshare(current: TaskRef, flags: u64, ret: i64) -> Text {
    let new = words::new_namespaces(flags);
    let text = match (new.is_empty(), ret < 0) {
        (false, false) => Text::of("moves into ").then(words::new_ones(&new)),
        (false, true) => Text::of("cannot move into ").then(words::new_ones(&new)),
        (true, failed) => {
            let verb = if failed { "cannot stop sharing " } else { "stops sharing " };
            Text::of(verb).say(&words::unshared(flags).join(", "))
        }
    };
    let children = match new.as_slice() {
        [NsKind::Pid | NsKind::Time] if ret >= 0 => " for its children",
        kinds if ret >= 0 && kinds.iter().any(|kind| matches!(kind, NsKind::Pid)) => {
            " (pid for its children)"
        }
        _ => "",
    };
    text.say(children).say(&only_thread(current)).then(result(ret))
}

pub(super) fn mount(from: &str, target: &str, fstype: &str, flags: u64, ret: i64) -> Text {
    let below = if flags & MS_REC == 0 { "" } else { " with all below it" };
    let on = |text: Text| text.say(" on ").ink(Ink::Path, target);
    let source = || Text::default().ink(Ink::Path, from);
    if flags & MS_REMOUNT != 0 {
        let options = words::mount_options(flags).join(",");
        let options = if options.is_empty() { "rw".to_owned() } else { options };
        return does(ret, "remounts", "remount").ink(Ink::Path, target).say(&format!(" as {options}"));
    }
    if flags & MS_BIND != 0 {
        return on(does(ret, "bind-mounts", "bind-mount").then(source()).say(below));
    }
    if let Some((_, name)) = PROPAGATIONS.iter().find(|(bit, _)| flags & bit != 0) {
        return does(ret, "makes", "make")
            .say("the mount at ")
            .ink(Ink::Path, target)
            .say(below)
            .say(&format!(" {name}"));
    }
    if flags & MS_MOVE != 0 {
        return does(ret, "moves", "move")
            .say("the mount at ")
            .then(source())
            .say(" to ")
            .ink(Ink::Path, target);
    }
    let mut text = does(ret, "mounts", "mount").say(fstype);
    if !from.is_empty() && from != fstype && from != "none" {
        text = text.say(" ").then(source());
    }
    let options = words::mount_options(flags);
    let options = if options.is_empty() { String::new() } else { format!(" ({})", options.join(",")) };
    on(text).ink(Ink::Dim, &options)
}

/// A mount by its path; without one, the call names it by a descriptor.
pub(super) fn mount_at(path: &str) -> Text {
    match path {
        "" => Text::of("an open mount"),
        path => Text::of("the mount at ").ink(Ink::Path, path),
    }
}

pub(super) fn mount_setattr(path: &str, set: u64, clear: u64, flags: u64, ret: i64) -> Text {
    let below = if flags & AT_RECURSIVE == 0 { "" } else { " and all below it" };
    let set = words::mount_attributes(set).join(",");
    let cleared = words::mount_attributes(clear & !words::MOUNT_ATTR_ATIME).join(",");
    let text = match (set.is_empty(), cleared.is_empty()) {
        (false, true) => does(ret, "sets", "set").say(&set).say(" on "),
        (true, false) => does(ret, "clears", "clear").say(&cleared).say(" on "),
        (false, false) => does(ret, "sets", "set").say(&format!("{set} and not {cleared} on ")),
        // Nothing else is left that the call can do.
        (true, true) => does(ret, "changes", "change").say("the propagation of "),
    };
    text.then(mount_at(path)).say(below)
}

pub(super) fn wait(call: WaitCall, options: u32, ret: i64, child: Option<u32>, status: Option<u32>) -> Text {
    let name = match call {
        WaitCall::Wait4 => "wait4",
        WaitCall::Waitid => "waitid",
    };
    let options = words::wait_options(options);
    let options = if options.is_empty() { String::new() } else { format!(" with {}", options.join("|")) };
    let text = Text::of(&format!("calls {name}{options}"));
    if let Some(failure) = words::failure(ret) {
        return text.then(failure);
    }
    match (child, call, status) {
        (None, _, _) => text.say(": nothing yet"),
        (Some(child), WaitCall::Wait4, Some(status)) if status & 0xff != 0x7f && status != 0xffff => {
            text.say(&format!(": its child {child} ")).then(words::end(status))
        }
        (Some(child), WaitCall::Waitid, Some(si_code @ 1..=3)) => {
            let how = ["ended", "was killed", "was killed and dumped core"];
            let how = how.get(si_code as usize - 1).copied().unwrap_or_default();
            text.say(&format!(": its child {child} {how}"))
        }
        (Some(child), _, Some(_)) => text.say(&format!(": its child {child} stopped or went on")),
        (Some(child), _, None) => text.say(&format!(": its child {child}")),
    }
}
