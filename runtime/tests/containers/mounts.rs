//! Mounts of real containers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{ExitCode, Stdio};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::fixture::Cell;
use crate::hooks::expect;
use crate::inside::say;
use crate::{Case, fail};

pub(crate) const CASES: &[Case] = &[
    ("mount::tmpcopyup_copies_what_was_there", copy_up),
    ("mount::a_mount_and_its_own_file_system_can_be_changed", remount),
    ("mount::recursive_options_reach_the_mounts_below", recursive),
    ("mount::files_have_the_ids_of_the_mount", id_maps),
];

/// In the container: prints what each path is.
pub(crate) fn stat(paths: &[String]) -> ExitCode {
    for path in paths {
        let line = match fs::symlink_metadata(path) {
            Err(error) => format!("{path} {error}"),
            Ok(stat) => {
                let text = if stat.is_symlink() {
                    fs::read_link(path).map(|target| target.display().to_string()).unwrap_or_default()
                } else {
                    fs::read_to_string(path).unwrap_or_default()
                };
                format!("{path} {:o} {}:{} {text}", stat.mode(), stat.uid(), stat.gid())
            }
        };
        say(&line);
    }
    ExitCode::SUCCESS
}

/// In the container: prints the options of the topmost mount at each path, those of the mount and of its file system.
pub(crate) fn mounts(paths: &[String]) -> ExitCode {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for path in paths {
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let found = text.lines().map(fields).rfind(|fields| fields.get(4) == Some(path));
        let fields = found.unwrap_or_default();
        let options = fields.get(5).cloned().unwrap_or_default();
        let line = format!("{path} {options} {}", fields.last().cloned().unwrap_or_default());
        say(&line);
    }
    ExitCode::SUCCESS
}

/// Runs a container to its end; returns its lines, or what podrt says.
pub(crate) fn run(cell: &Cell, config: &Value) -> Result<Result<Vec<String>, String>, Failed> {
    let bundle = cell.bundle(config)?;
    let child = cell
        .podrt()
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg("c")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Ok(Err(String::from_utf8(output.stderr)?));
    }
    Ok(Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect()))
}

fn add_mount(config: &mut Value, mount: Value) -> Result<(), Failed> {
    config["mounts"].as_array_mut().ok_or("no mounts")?.push(mount);
    Ok(())
}

fn copy_up() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let directory = cell.path().join("rootfs/data");
    fs::write(directory.join("file"), "text")?;
    chown(directory.join("file"), Some(5), Some(6))?;
    fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o4754))?;
    fs::create_dir_all(directory.join("below/deeper"))?;
    fs::set_permissions(directory.join("below"), fs::Permissions::from_mode(0o711))?;
    fs::write(directory.join("below/deeper/leaf"), "leaf")?;
    fs::set_permissions(directory.join("below/deeper/leaf"), fs::Permissions::from_mode(0o604))?;
    // A link to a file of the node: the link is copied, never the file.
    symlink("/etc/passwd", directory.join("link"))?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777))?;
    let paths = ["/data", "/data/file", "/data/below", "/data/below/deeper/leaf", "/data/link"];
    let mut config = cell.config("c", &[&["stat"], &paths[..]].concat());
    add_mount(
        &mut config,
        json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs",
        "options": ["ro", "nosuid", "tmpcopyup", "size=64k"]}),
    )?;
    let lines = run(&cell, &config)?;
    expect(
        "the copy",
        &json!(lines),
        json!({"Ok": ["/data 41777 0:0 ", "/data/file 104754 5:6 text",
        "/data/below 40711 0:0 ", "/data/below/deeper/leaf 100604 0:0 leaf", "/data/link 120777 0:0 /etc/passwd"]}),
    )?;
    fs::write(directory.join("big"), vec![1; 100_000])?;
    match run(&cell, &config)? {
        Err(message) if message.contains("copy what was there: ENOSPC") => {}
        other => return fail(format!("{other:?}")),
    }
    cell.expect_nothing_left()
}

fn remount() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mut config = cell.config("c", &["mounts", "/tmp", "/data"]);
    add_mount(
        &mut config,
        json!({"destination": "/tmp", "type": "tmpfs", "source": "t",
        "options": ["nosuid", "size=64k"]}),
    )?;
    add_mount(
        &mut config,
        json!({"destination": "/tmp", "type": "tmpfs", "source": "t",
        "options": ["remount", "size=128k", "noexec"]}),
    )?;
    add_mount(
        &mut config,
        json!({"destination": "/data", "type": "bind", "source": cell.path().join("data"),
        "options": ["nodev"]}),
    )?;
    add_mount(&mut config, json!({"destination": "/data", "options": ["remount", "bind", "ro"]}))?;
    match run(&cell, &config)? {
        Ok(lines) => {
            let is_changed = lines[0].starts_with("/tmp rw,nosuid,noexec,relatime rw,size=128k");
            if !is_changed || !lines[1].starts_with("/data ro,nosuid,nodev,") || !lines[1].contains(" rw") {
                return fail(format!("{lines:?}"));
            }
        }
        Err(message) => return fail(message),
    }
    let mut config = cell.config("c", &["mounts"]);
    add_mount(&mut config, json!({"destination": "/tmp", "options": ["remount", "bind", "ro"]}))?;
    match run(&cell, &config)? {
        Err(message) if message.contains("mounts[2]: change the mount on /tmp") => {}
        other => return fail(format!("{other:?}")),
    }
    cell.expect_nothing_left()
}

fn recursive() -> Result<(), Failed> {
    let mut cell = Cell::new()?;
    let below = cell.path().join("data/below");
    fs::create_dir(&below)?;
    nix::mount::mount(Some("t"), &below, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)?;
    cell.settle()?;
    let mut config = cell.config("c", &["mounts", "/data", "/data/below"]);
    add_mount(
        &mut config,
        json!({"destination": "/data", "type": "bind", "source": cell.path().join("data"),
        "options": ["rbind", "rro", "rnosuid", "rnoexec", "nodev", "rnosymfollow", "rnoatime"]}),
    )?;
    let lines = run(&cell, &config)?;
    let checked = cell.expect_nothing_left();
    nix::mount::umount(&below)?;
    checked?;
    match lines {
        Ok(lines)
            if lines[0].starts_with("/data ro,nosuid,nodev,noexec,noatime,nosymfollow ")
                && lines[1].starts_with("/data/below ro,nosuid,noexec,noatime,nosymfollow ") =>
        {
            Ok(())
        }
        other => fail(format!("{other:?}")),
    }
}

fn id_maps() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let source = cell.path().join("source");
    fs::create_dir(&source)?;
    for id in [0, 1000] {
        let file = source.join(id.to_string());
        fs::write(&file, "")?;
        chown(&file, Some(id), Some(id))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    }
    let map = |container: u32, host: u32, size: u32| json!([{"containerID": container, "hostID": host, "size": size}]);
    // The mount's own ids.
    let mut config = cell.config("c", &["stat", "/data/1000"]);
    add_mount(
        &mut config,
        json!({"destination": "/data", "type": "bind", "source": source,
        "options": ["rbind", "ridmap"], "uidMappings": map(1000, 2000, 1), "gidMappings": map(1000, 3000, 1)}),
    )?;
    match run(&cell, &config)? {
        // Before Linux 6.3 tmpfs has no mapped ids.
        Err(message) if message.contains("map 1 uid and 1 gid ranges of mounts[2], and of those below") => {
            if !message.contains("EINVAL") || !runs_before_6_3()? {
                return fail(message);
            }
            return cell.expect_nothing_left();
        }
        lines => expect("the file", &json!(lines), json!({"Ok": ["/data/1000 100644 2000:3000 "]}))?,
    }
    cell.expect_nothing_left()?;
    // Those of the container's user namespace: what root of the node owns is root's inside.
    let mut config = cell.config("c", &["stat", "/data/0", "/data/1000"]);
    let linux = &mut config["linux"];
    linux["namespaces"].as_array_mut().ok_or("no namespaces")?.push(json!({"type": "user"}));
    linux["uidMappings"] = map(0, 100_000, 65_536);
    linux["gidMappings"] = map(0, 100_000, 65_536);
    add_mount(
        &mut config,
        json!({"destination": "/data", "type": "bind", "source": source, "options": ["idmap"]}),
    )?;
    for path in ["rootfs", "rootfs/data"] {
        fs::set_permissions(cell.path().join(path), fs::Permissions::from_mode(0o755))?;
    }
    fs::set_permissions(cell.path(), fs::Permissions::from_mode(0o755))?;
    expect(
        "the files",
        &json!(run(&cell, &config)?),
        json!({"Ok": ["/data/0 100644 0:0 ", "/data/1000 100644 1000:1000 "]}),
    )?;
    cell.expect_nothing_left()
}

fn runs_before_6_3() -> Result<bool, Failed> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    Ok((numbers.next(), numbers.next()) < (Some(6), Some(3)))
}
