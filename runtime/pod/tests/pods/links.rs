//! Links where a path leads: of a volume, of the node, of an image. Nothing of the node is reached through any of them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::fixture::{Cell, status};
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("links::none_of_a_volume_leads_out_of_it", none_of_a_volume_leads_out_of_it),
    ("links::nor_does_one_that_the_run_before_has_left", nor_does_one_that_the_run_before_has_left),
    ("links::those_inside_of_a_volume_are_followed", those_inside_of_a_volume_are_followed),
    ("links::what_a_sub_path_is_may_change", what_a_sub_path_is_may_change),
    ("links::a_host_path_may_be_one", a_host_path_may_be_one),
    ("links::nothing_is_made_through_a_host_path_to_nowhere", nothing_is_made_through_a_host_path_to_nowhere),
    ("links::those_of_an_image_stay_in_its_root", those_of_an_image_stay_in_its_root),
];

/// A directory of the node with the file `key`, which nobody may see or change.
struct Outside(PathBuf);

impl Outside {
    fn new(cell: &Cell) -> Result<Self, Failed> {
        let path = cell.path().join("outside");
        fs::create_dir(&path)?;
        fs::write(path.join("key"), "secret")?;
        Ok(Self(path))
    }

    /// The path from the root, without the slash at its begin.
    fn below_root(&self) -> &Path {
        self.0.strip_prefix("/").unwrap_or(&self.0)
    }

    /// The path, up to the root first from any directory that there is.
    fn relative(&self) -> PathBuf {
        Path::new(&"../".repeat(32)).join(self.below_root())
    }

    fn expect_untouched(&self) -> Result<(), Failed> {
        let names: Vec<_> = fs::read_dir(&self.0)?.flatten().map(|entry| entry.file_name()).collect();
        expect("files outside", names, vec!["key".into()])?;
        expect("the file outside", fs::read_to_string(self.0.join("key"))?, "secret".to_owned())
    }
}

/// A container with the emptyDir `v` at `/v`, and a `subPath` of it at `/s`.
fn container(cell: &Cell, name: &str, sub_path: &str, script: &str) -> Value {
    let mut container = cell.container(name, script);
    container["volumeMounts"] =
        json!([{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/s", "subPath": sub_path}]);
    container
}

/// A pod of these containers, whose emptyDir an init container has filled by a script.
fn planted(cell: &Cell, name: &str, plant: &str, containers: &[Value]) -> Value {
    let mut init = cell.container("plant", &format!("set -e; cd /v; {plant}"));
    init["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    let mut pod = cell.pod(name, containers);
    pod["spec"]["initContainers"] = json!([init]);
    pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

/// The emptyDir of a pod, as the node has it.
fn volume(cell: &Cell, pod: &str) -> PathBuf {
    cell.root().join("pods").join(pod).join("volumes/v")
}

/// Waits until a container is refused its `subPath`, and checks that the reason is told.
fn until_refused(cell: &Cell, pod: &str, name: &str, wanted: &str) -> Result<Value, Failed> {
    let document = cell.until(pod, &format!("without {name}"), |document| {
        status(document, name)["state"]["waiting"]["reason"] == "CreateContainerError"
    })?;
    let status = status(&document, name);
    let message = status["state"]["waiting"]["message"].as_str().unwrap_or_default();
    if !message.contains(wanted) {
        return fail(format!("container {name} is told {message:?}, not {wanted:?}"));
    }
    Ok(status.clone())
}

fn none_of_a_volume_leads_out_of_it() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let outside = Outside::new(&cell)?;
    let (target, up) = (outside.0.display(), outside.relative());
    let plant = format!(
        "ln -s / root; ln -s {target} absolute; mkdir dir; ln -s {up} dir/relative; ln -s ../../.. up",
        up = up.display()
    );
    let missing = format!("root/{}/made", outside.below_root().display());
    let sub_paths = [
        ("root", "root"),
        ("below", "root/etc"),
        ("absolute", "absolute"),
        ("relative", "dir/relative"),
        ("file", "dir/relative/key"),
        ("up", "up"),
        ("missing", &missing),
    ];
    let containers: Vec<Value> = sub_paths
        .iter()
        .map(|(name, sub_path)| container(&cell, name, sub_path, "ls /s; exec sleep 1000"))
        .collect();
    let said = cell.refused(&planted(&cell, "escape", &plant, &containers), &[])?;
    for (name, sub_path) in sub_paths {
        let wanted = format!("volumeMounts[1].subPath {sub_path}: a link leads out of the volume");
        if !said.contains(&wanted) {
            return fail(format!("run does not say {wanted:?}: {said}"));
        }
        let status = until_refused(&cell, "escape", name, &wanted)?;
        expect("an end of a run", &status["lastState"], &Value::Null)?;
    }
    outside.expect_untouched()?;
    // Nor does the removal follow them.
    cell.clean(&["escape"])?;
    outside.expect_untouched()
}

fn nor_does_one_that_the_run_before_has_left() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let outside = Outside::new(&cell)?;
    let containers =
        [("absolute", outside.0.clone()), ("relative", outside.relative())].map(|(name, target)| {
            let script = format!("cat /s/key; rm -r /v/{name}; ln -s {} /v/{name}; exit 7", target.display());
            container(&cell, name, name, &script)
        });
    let mut pod = planted(&cell, "later", "true", &containers);
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    for name in ["absolute", "relative"] {
        let wanted = format!("volumeMounts[1].subPath {name}: a link leads out of the volume");
        until_refused(&cell, "later", name, &wanted)?;
        if cell.logs("later", name)?.contains("secret") {
            return fail(format!("container {name} has seen what is outside"));
        }
    }
    outside.expect_untouched()?;
    cell.clean(&["later"])?;
    outside.expect_untouched()
}

fn those_inside_of_a_volume_are_followed() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let volume = volume(&cell, "inside");
    let plant = format!(
        "mkdir a b; ln -s ../b a/link; ln -s a/link chain; mkfifo fifo; ln -s nowhere dangling; ln -s loop loop; ln -s {}/b absolute",
        volume.display()
    );
    let containers = [
        // What is missing is made where the links lead.
        container(&cell, "made", "chain/new/below", "echo text > /s/file"),
        container(&cell, "absolute", "absolute/other", "echo text > /s/file"),
        container(&cell, "fifo", "fifo", "[ -p /s ] && [ /s -ef /v/fifo ]"),
        container(&cell, "dangling", "dangling", "true"),
        container(&cell, "loop", "loop", "true"),
    ];
    cell.refused(&planted(&cell, "inside", &plant, &containers), &[])?;
    for (name, wanted) in [
        ("dangling", "volumeMounts[1].subPath dangling: a link leads to nothing"),
        ("loop", "volumeMounts[1].subPath loop: ELOOP"),
    ] {
        until_refused(&cell, "inside", name, wanted)?;
    }
    let document = cell.until("inside", "done", |document| {
        ["made", "absolute", "fifo"]
            .iter()
            .all(|name| !status(document, name)["state"]["terminated"].is_null())
    })?;
    for name in ["made", "absolute", "fifo"] {
        let code = status(&document, name)["state"]["terminated"]["exitCode"].as_i64();
        expect(&format!("exit code of {name}"), code, Some(0))?;
    }
    for file in ["b/new/below/file", "b/other/file"] {
        expect(file, fs::read_to_string(volume.join(file))?, "text\n".to_owned())?;
    }
    expect("the end of the dangling link is made", volume.join("nowhere").exists(), false)?;
    cell.clean(&["inside"])
}

fn what_a_sub_path_is_may_change() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let script = "if [ -d /s ]; then echo directory >> /v/kinds; rm -r /v/spot; echo x > /v/spot; \
         else echo file >> /v/kinds; rm /v/spot; mkdir /v/spot; fi; exit 1";
    let mut pod = planted(&cell, "kinds", "true", &[container(&cell, "main", "spot", script)]);
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    let _code = cell.try_run(&pod, &["--restart-backoff", "0"])?;
    cell.until("kinds", "started four times", |document| {
        status(document, "main")["restartCount"].as_u64() >= Some(3)
    })?;
    cell.ok(&["stop", "kinds", "--time", "0"])?;
    let kinds = fs::read_to_string(volume(&cell, "kinds").join("kinds"))?;
    let first: Vec<&str> = kinds.lines().take(3).collect();
    expect("kinds", first, vec!["directory", "file", "directory"])?;
    cell.clean(&["kinds"])
}

/// A hostPath volume.
fn host_path(name: &str, path: &Path, kind: &str) -> Value {
    json!({"name": name, "hostPath": {"path": path, "type": kind}})
}

fn a_host_path_may_be_one() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let node = cell.path().join("node");
    fs::create_dir_all(node.join("real"))?;
    fs::write(node.join("real/file"), "text\n")?;
    symlink("real", node.join("directory"))?;
    symlink(node.join("real/file"), node.join("file"))?;
    // As the kubelet has it: the type is that of what the link leads to.
    let volumes = [
        ("a", "directory", ""),
        ("b", "directory", "Directory"),
        ("c", "directory", "DirectoryOrCreate"),
        ("d", "file", "File"),
        ("e", "file", "FileOrCreate"),
    ];
    let mut main = cell.container("main", "cat /a/file /b/file /c/file /d /e");
    main["volumeMounts"] =
        volumes.iter().map(|(name, ..)| json!({"name": name, "mountPath": format!("/{name}")})).collect();
    let mut pod = cell.pod("followed", &[main]);
    pod["spec"]["volumes"] =
        volumes.iter().map(|(name, path, kind)| host_path(name, &node.join(path), kind)).collect();
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "followed"])?;
    expect("output", cell.logs("followed", "main")?, "text\n".repeat(5))?;
    cell.clean(&["followed"])?;
    expect("link", fs::read_link(node.join("directory"))?, PathBuf::from("real"))
}

fn nothing_is_made_through_a_host_path_to_nowhere() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let node = cell.path().join("node");
    fs::create_dir_all(node.join("real"))?;
    symlink("nowhere", node.join("dangling"))?;
    symlink("loop", node.join("loop"))?;
    symlink("real", node.join("directory"))?;
    for (path, kind) in [
        ("dangling", ""),
        ("dangling", "Directory"),
        ("dangling", "DirectoryOrCreate"),
        ("dangling", "FileOrCreate"),
        ("loop", "DirectoryOrCreate"),
        ("loop", "FileOrCreate"),
        ("directory", "FileOrCreate"),
    ] {
        let mut main = cell.container("main", "true");
        main["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
        let mut pod = cell.pod("nowhere", &[main]);
        pod["spec"]["volumes"] = json!([host_path("v", &node.join(path), kind)]);
        let said = cell.refused(&pod, &[])?;
        let shown = node.join(path).display().to_string();
        if !said.contains("spec.volumes[0] (v): hostPath.") || !said.contains(&shown) {
            return fail(format!("{path} as {kind:?}: {said:?}"));
        }
        let mut names: Vec<_> = fs::read_dir(&node)?.flatten().map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        expect("files of the node", names, ["dangling", "directory", "loop", "real"].map(Into::into).into())?;
    }
    cell.expect_clean()
}

fn those_of_an_image_stay_in_its_root() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let outside = Outside::new(&cell)?;
    let rootfs = cell.path().join("rootfs");
    symlink("/etc", rootfs.join("inside"))?;
    // The node has what these name, and the image has not.
    symlink(&outside.0, rootfs.join("absolute"))?;
    symlink(outside.relative(), rootfs.join("relative"))?;
    symlink(outside.0.join("key"), rootfs.join("etc/hostname"))?;
    symlink("nowhere", rootfs.join("dangling"))?;
    // As in images of systems with systemd-resolved.
    symlink("../run/systemd/resolve/stub-resolv.conf", rootfs.join("etc/resolv.conf"))?;
    let there = outside.0.display();
    let script = format!(
        "set -e; touch /v/1; for at in /etc/v {there}/below {there}/other /nowhere; do ls $at/1; done; \
         cat /etc/hostname {there}/key /etc/resolv.conf /run/systemd/resolve/stub-resolv.conf"
    );
    let mut main = cell.container("main", &script);
    main["volumeMounts"] = ["/v", "/inside/v", "/absolute/below", "/relative/other", "/dangling"]
        .iter()
        .map(|path| json!({"name": "v", "mountPath": path}))
        .collect();
    let mut pod = cell.pod("image", &[main]);
    pod["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["dnsPolicy"] = json!("None");
    pod["spec"]["dnsConfig"] = json!({"nameservers": ["192.0.2.53"]});
    let _code = cell.try_run(&pod, &[])?;
    let _phase = cell.call(&["wait", "image"])?;
    let (name, server) = ("image\n".repeat(2), "nameserver 192.0.2.53\n".repeat(2));
    let listed = format!("/etc/v/1\n{there}/below/1\n{there}/other/1\n/nowhere/1\n");
    expect("output", cell.logs("image", "main")?, listed + &name + &server)?;
    outside.expect_untouched()?;
    cell.clean(&["image"])
}
