//! emptyDir and hostPath, and files of `/etc`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use crate::fixture::Cell;
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("volumes::an_empty_dir_is_shared", an_empty_dir_is_shared),
    ("volumes::memory_has_its_limit", memory_has_its_limit),
    ("volumes::a_host_path_is_the_node_s", a_host_path_is_the_node_s),
    ("volumes::a_host_path_must_be_what_it_says", a_host_path_must_be_what_it_says),
    ("volumes::a_sub_path_stays_in_its_volume", a_sub_path_stays_in_its_volume),
    ("volumes::sub_paths_outlive_restarts", sub_paths_outlive_restarts),
    ("volumes::a_sub_path_is_as_open_as_its_volume", a_sub_path_is_as_open_as_its_volume),
    ("volumes::a_sub_path_may_be_made_of_variables", a_sub_path_may_be_made_of_variables),
    ("volumes::what_the_node_mounts_later_is_seen_when_asked", what_the_node_mounts_later_is_seen_when_asked),
    ("volumes::mounts_below_are_read_only_when_asked", mounts_below_are_read_only_when_asked),
    ("volumes::a_group_owns_what_it_shares", a_group_owns_what_it_shares),
    ("volumes::files_of_etc_are_the_pod_s", files_of_etc_are_the_pod_s),
    ("volumes::one_hides_no_file_of_the_pod", one_hides_no_file_of_the_pod),
    ("volumes::one_that_holds_too_much_evicts_the_pod", one_that_holds_too_much_evicts_the_pod),
];

fn with_volume(cell: &Cell, name: &str, script: &str, mount: Value, volume: Value) -> Value {
    let mut container = cell.container("main", script);
    container["volumeMounts"] = json!([mount]);
    let mut pod = cell.pod(name, &[container]);
    pod["spec"]["volumes"] = json!([volume]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

fn output_of(cell: &Cell, name: &str, pod: &Value) -> Result<String, Failed> {
    let _code = cell.try_run(pod, &[])?;
    let _phase = cell.call(&["wait", name])?;
    cell.logs(name, "main")
}

fn an_empty_dir_is_shared() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    let mut writer = cell.container("writer", "echo hello > /v/new && mv /v/new /v/file; exec sleep 1000");
    writer["volumeMounts"] = mount.clone();
    let mut reader =
        cell.container("reader", "while ! cat /v/file 2>/dev/null; do sleep 0.05; done; exec sleep 1000");
    reader["volumeMounts"] = mount;
    reader["volumeMounts"][0]["readOnly"] = json!(true);
    let mut pod = cell.pod("share", &[writer, reader]);
    pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    cell.run(&pod, &[])?;
    cell.until_logged("share", "reader", "hello")?;
    let refused = cell.call(&["exec", "share", "-c", "reader", "--", "touch", "/v/x"])?;
    if !String::from_utf8_lossy(&refused.stderr).contains("Read-only") {
        return fail(format!("touch says {refused:?}"));
    }
    cell.clean(&["share"])
}

fn memory_has_its_limit() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script =
        "dd if=/dev/zero of=/v/file bs=1M count=3 2>/dev/null || echo full; grep -c '/v tmpfs' /proc/mounts";
    let volume = json!({"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}});
    let pod = with_volume(&cell, "memory", script, json!({"name": "v", "mountPath": "/v"}), volume);
    expect("output", output_of(&cell, "memory", &pod)?, "full\n1\n".to_owned())?;
    cell.clean(&["memory"])
}

fn a_host_path_is_the_node_s() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let node = cell.path().join("node");
    let volume = json!({"name": "v", "hostPath": {"path": node, "type": "DirectoryOrCreate"}});
    let pod = with_volume(&cell, "host", "echo x > /v/file", json!({"name": "v", "mountPath": "/v"}), volume);
    output_of(&cell, "host", &pod)?;
    expect("file", fs::read_to_string(node.join("file"))?, "x\n".to_owned())?;
    cell.clean(&["host"])?;
    expect("file after rm", fs::read_to_string(node.join("file"))?, "x\n".to_owned())
}

fn a_host_path_must_be_what_it_says() -> Result<(), Failed> {
    let cell = Cell::new()?;
    fs::write(cell.path().join("file"), "")?;
    for (path, kind) in [("file", "Directory"), ("absent", "File"), ("file", "Socket")] {
        let volume = json!({"name": "v", "hostPath": {"path": cell.path().join(path), "type": kind}});
        let pod = with_volume(&cell, "kind", "true", json!({"name": "v", "mountPath": "/v"}), volume);
        let said = cell.refused(&pod, &[])?;
        if !said.contains("spec.volumes[0]") || !said.contains(path) {
            return fail(format!("{path} as {kind}: {said:?}"));
        }
        cell.expect_clean()?;
    }
    Ok(())
}

fn a_sub_path_stays_in_its_volume() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let (node, secret) = (cell.path().join("node"), cell.path().join("secret"));
    fs::create_dir(&node)?;
    fs::create_dir(&secret)?;
    fs::write(secret.join("key"), "secret")?;
    symlink(&secret, node.join("absolute"))?;
    symlink("../secret", node.join("relative"))?;
    let volume = json!({"name": "v", "hostPath": {"path": node}});
    for link in ["absolute", "relative"] {
        let mount = json!({"name": "v", "mountPath": "/v", "subPath": link});
        let pod = with_volume(&cell, "escape", "cat /v/key", mount, volume.clone());
        let said = cell.refused(&pod, &[])?;
        if !said.contains("subPath") || !said.contains(link) {
            return fail(format!("{link} is not named: {said:?}"));
        }
        if !cell.container_status("escape", "main")?["state"]["running"].is_null() {
            return fail(format!("a container runs with {link}"));
        }
        cell.clean(&["escape"])?;
    }
    let mount = json!({"name": "v", "mountPath": "/v", "subPath": "made/below"});
    let pod = with_volume(&cell, "inside", "echo x > /v/file", mount, volume);
    output_of(&cell, "inside", &pod)?;
    expect("file", fs::read_to_string(node.join("made/below/file"))?, "x\n".to_owned())?;
    cell.clean(&["inside"])
}

fn sub_paths_outlive_restarts() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let node = cell.path().join("node");
    fs::create_dir_all(node.join("dir"))?;
    fs::set_permissions(node.join("dir"), fs::Permissions::from_mode(0o751))?;
    fs::write(node.join("file"), "kept")?;
    let mut container = cell.container("main", "cat /file; exit 1");
    container["volumeMounts"] = json!([
        {"name": "v", "mountPath": "/dir", "subPath": "dir"},
        {"name": "v", "mountPath": "/file", "subPath": "file", "readOnly": true},
    ]);
    let mut pod = cell.pod("again", &[container]);
    pod["spec"]["volumes"] = json!([{"name": "v", "hostPath": {"path": node}}]);
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    cell.until("again", "started three times", |document| {
        document["containers"][0]["restartCount"].as_u64() >= Some(2)
    })?;
    cell.ok(&["stop", "again", "--time", "0"])?;
    // The last run may have been stopped before it said anything.
    expect("output", cell.ok(&["logs", "--previous", "again"])?, "kept".to_owned())?;
    expect("file", fs::read_to_string(node.join("file"))?, "kept".to_owned())?;
    let mode = fs::metadata(node.join("dir"))?.permissions().mode() & 0o7777;
    expect("mode of the directory", mode, 0o751)?;
    cell.clean(&["again"])
}

fn a_sub_path_is_as_open_as_its_volume() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "stat -c '%a %g' /v; touch /v/file; stat -c '%u:%g' /v/file";
    for (medium, group, wanted) in [
        ("", None, "777 0\n1000:1001\n"),
        ("Memory", None, "777 0\n1000:1001\n"),
        ("", Some(2000), "2777 2000\n1000:2000\n"),
        ("Memory", Some(2000), "2777 2000\n1000:2000\n"),
    ] {
        let mount = json!({"name": "v", "mountPath": "/v", "subPath": "made/below"});
        let volume = json!({"name": "v", "emptyDir": {"medium": medium}});
        let mut pod = with_volume(&cell, "open", script, mount, volume);
        pod["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1001, "fsGroup": group});
        expect("directory and file", output_of(&cell, "open", &pod)?.as_str(), wanted)?;
        cell.clean(&["open"])?;
    }
    Ok(())
}

fn a_sub_path_may_be_made_of_variables() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let node = cell.path().join("node");
    fs::create_dir(&node)?;
    let mount = json!({"name": "v", "mountPath": "/v", "subPathExpr": "of/$(NAME)/$$(NAME)"});
    let volume = json!({"name": "v", "hostPath": {"path": node}});
    let mut pod = with_volume(&cell, "variable", "echo x > /v/file", mount, volume);
    pod["spec"]["containers"][0]["env"] = json!([{"name": "NAME", "value": "web"}]);
    output_of(&cell, "variable", &pod)?;
    expect("file", fs::read_to_string(node.join("of/web/$(NAME)/file"))?, "x\n".to_owned())?;
    cell.clean(&["variable"])
}

/// A file system in memory on a directory of the node; taken away on drop.
struct Memory(PathBuf);

impl Memory {
    fn mount(target: &Path) -> Result<Self, Failed> {
        fs::create_dir_all(target)?;
        mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        Ok(Self(target.to_owned()))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Best effort: what is left is found by the look at what is left.
        let _unmounted = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn what_the_node_mounts_later_is_seen_when_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let node = cell.path().join("node");
    let memory = Memory::mount(&node)?;
    mount(None::<&str>, &node, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?;
    fs::create_dir(node.join("later"))?;
    let volume = json!({"name": "v", "hostPath": {"path": node}});
    let open = json!({"name": "v", "mountPath": "/open", "mountPropagation": "HostToContainer"});
    let mut pod = with_volume(&cell, "later", "exec sleep 1000", open, volume);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        pod["spec"]["containers"][0]["volumeMounts"][0],
        {"name": "v", "mountPath": "/none", "mountPropagation": "None"},
        {"name": "v", "mountPath": "/silent"},
    ]);
    cell.run(&pod, &[])?;
    let later = Memory::mount(&node.join("later"))?;
    fs::write(node.join("later/file"), "")?;
    let script = "for name in open none silent; do [ -e /$name/later/file ] && echo $name; done; true";
    expect("where it is seen", cell.ok(&["exec", "later", "--", "sh", "-c", script])?.as_str(), "open\n")?;
    drop((later, memory));
    cell.clean(&["later"])
}

fn mounts_below_are_read_only_when_asked() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let node = cell.path().join("node");
    let memory = Memory::mount(&node.join("below"))?;
    let volume = json!({"name": "v", "hostPath": {"path": node}});
    let script = "for name in some all possible; do for file in /$name/file /$name/below/$name; do \
        touch $file 2>/dev/null && echo $file; done; done; true";
    let mount = json!({"name": "v", "mountPath": "/some", "readOnly": true});
    let mut pod = with_volume(&cell, "below", script, mount, volume);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        pod["spec"]["containers"][0]["volumeMounts"][0],
        {"name": "v", "mountPath": "/all", "readOnly": true, "recursiveReadOnly": "Enabled"},
        {"name": "v", "mountPath": "/possible", "readOnly": true, "recursiveReadOnly": "IfPossible"},
    ]);
    expect("what can be written", output_of(&cell, "below", &pod)?.as_str(), "/some/below/some\n")?;
    drop(memory);
    cell.clean(&["below"])
}

fn a_group_owns_what_it_shares() -> Result<(), Failed> {
    let cell = Cell::new()?;
    for medium in ["", "Memory"] {
        let script = "id -G; stat -c '%a %g' /v; touch /v/file; stat -c '%u:%g' /v/file";
        let volume = json!({"name": "v", "emptyDir": {"medium": medium}});
        let mut pod = with_volume(&cell, "group", script, json!({"name": "v", "mountPath": "/v"}), volume);
        pod["spec"]["securityContext"] =
            json!({"runAsUser": 1000, "runAsGroup": 1001, "fsGroup": 2000, "supplementalGroups": [3000]});
        let text = output_of(&cell, "group", &pod)?;
        let (groups, rest) = text.split_once('\n').unwrap_or_default();
        let mut groups: Vec<&str> = groups.split(' ').collect();
        groups.sort_unstable();
        expect("groups", groups, ["1001", "1002", "2000", "3000"].to_vec())?;
        expect("volume and file", rest, "2777 2000\n1000:2000\n")?;
        cell.clean(&["group"])?;
    }
    Ok(())
}

fn files_of_etc_are_the_pod_s() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "cat /etc/hostname; grep -w named /etc/hosts; grep -c web1 /etc/hosts; cat /etc/resolv.conf; hostname";
    let mut pod = cell.pod("etc", &[cell.container("main", script)]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["hostname"] = json!("web1");
    pod["spec"]["hostAliases"] = json!([{"ip": "192.0.2.1", "hostnames": ["named", "also"]}]);
    pod["spec"]["dnsPolicy"] = json!("None");
    pod["spec"]["dnsConfig"] = json!({"nameservers": ["192.0.2.53"], "searches": ["example.org"]});
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "etc"])?;
    let wanted = "web1\n192.0.2.1\tnamed\talso\n1\nnameserver 192.0.2.53\nsearch example.org\nweb1\n";
    expect("output", cell.logs("etc", "main")?, wanted.to_owned())?;
    cell.clean(&["etc"])
}

fn one_hides_no_file_of_the_pod() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "cat /etc/hostname; echo own > /etc/hosts.allow; echo done > /dev/termination-log; \
        grep -c ' /dev/shm tmpfs ' /proc/mounts";
    let mut container = cell.container("main", script);
    container["volumeMounts"] =
        json!([{"name": "v", "mountPath": "/etc"}, {"name": "w", "mountPath": "/dev"}]);
    let mut pod = cell.pod("over", &[container]);
    pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]);
    pod["spec"]["restartPolicy"] = json!("Never");
    expect("output", output_of(&cell, "over", &pod)?.as_str(), "over\n1\n")?;
    let end = cell.container_status("over", "main")?["state"]["terminated"].clone();
    expect("message", end["message"].as_str(), Some("done\n"))?;
    cell.clean(&["over"])
}

fn one_that_holds_too_much_evicts_the_pod() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "trap 'echo term; exit 0' TERM; dd if=/dev/zero of=/v/file bs=1M count=3 2>/dev/null; \
        while :; do sleep 0.05; done";
    let volume = json!({"name": "v", "emptyDir": {"sizeLimit": "1Mi"}});
    let mut pod = with_volume(&cell, "evicted", script, json!({"name": "v", "mountPath": "/v"}), volume);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(600);
    cell.run(&pod, &[])?;
    let _phase = cell.call(&["wait", "evicted"])?;
    expect("output", cell.logs("evicted", "main")?, "term\n".to_owned())?;
    let document = cell.inspect("evicted")?;
    expect("reason", document["reason"].as_str(), Some("Evicted"))?;
    if !document["message"].as_str().unwrap_or_default().contains("volume v holds") {
        return fail(format!("no message: {document}"));
    }
    cell.clean(&["evicted"])
}
