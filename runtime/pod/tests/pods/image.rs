//! Images in place of root file system directories.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use libtest_mimic::Failed;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixture::Cell;
use crate::{Case, expect, fail};

pub(crate) const CASES: &[Case] = &[
    ("image::a_layout_gives_files_and_defaults", a_layout_gives_files_and_defaults),
    ("image::layers_are_removed_when_nobody_needs_them", layers_are_removed_when_nobody_needs_them),
    ("image::as_many_layers_as_there_may_be_are_mounted", as_many_layers_as_there_may_be_are_mounted),
    ("image::the_root_is_as_the_image_has_it", the_root_is_as_the_image_has_it),
    ("image::its_stop_signal_asks_a_container_to_end", its_stop_signal_asks_a_container_to_end),
];

/// Writes a blob of a layout; its descriptor.
fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value, Failed> {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(layout.join("blobs/sha256"))?;
    fs::write(layout.join("blobs/sha256").join(&digest), bytes)?;
    Ok(json!({
        "mediaType": format!("application/vnd.oci.image.{media_type}"),
        "digest": format!("sha256:{digest}"),
        "size": bytes.len(),
    }))
}

/// Writes a layout of two layers: the cell's root file system, and one that adds, changes and removes a file.
fn write_layout(cell: &Cell, layout: &Path) -> Result<(), Failed> {
    let rootfs = cell.path().join("rootfs");
    fs::write(rootfs.join("etc/removed"), "lower")?;
    fs::write(rootfs.join("etc/changed"), "lower")?;
    let upper = layer(&[("etc/.wh.removed", ""), ("etc/changed", "upper"), ("etc/added", "upper")])?;
    write_image(layout, &[base(cell)?, upper])
}

/// The layer of the cell's root file system.
fn base(cell: &Cell) -> Result<Vec<u8>, Failed> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.append_dir_all(".", cell.path().join("rootfs"))?;
    Ok(tar.into_inner()?)
}

/// A layer of files with this text.
fn layer(files: &[(&str, &str)]) -> Result<Vec<u8>, Failed> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes())?;
    }
    Ok(tar.into_inner()?)
}

/// Writes a layout of these layers.
fn write_image(layout: &Path, layers: &[Vec<u8>]) -> Result<(), Failed> {
    let layers: Vec<Value> =
        layers.iter().map(|layer| blob(layout, "layer.v1.tar", layer)).collect::<Result<_, _>>()?;
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "config": {
            "Entrypoint": ["/bin/sh", "-c", "echo entry $0 $FROM; id -u; pwd; cd /etc; ls added changed removed; cat changed"],
            "Cmd": ["cmd"], "Env": ["FROM=image"], "User": "web", "WorkingDir": "/data", "StopSignal": "SIGUSR1",
        },
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(layout, "config.v1+json", config.to_string().as_bytes())?,
        "layers": layers,
    });
    let mut manifest = blob(layout, "manifest.v1+json", manifest.to_string().as_bytes())?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "one"});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(layout.join("index.json"), index.to_string())?;
    fs::write(layout.join("oci-layout"), json!({"imageLayoutVersion": "1.0.0"}).to_string())?;
    Ok(())
}

/// A pod of one container of the layout, with what else the container has.
fn pod_of(cell: &Cell, name: &str, layout: &Path, more: Value) -> Value {
    let mut container = json!({"name": "main", "image": format!("oci:{}:one", layout.display())});
    if let (Some(container), Value::Object(more)) = (container.as_object_mut(), more) {
        container.extend(more);
    }
    let mut pod = cell.pod(name, &[container]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

fn a_layout_gives_files_and_defaults() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let layout = cell.path().join("layout");
    write_layout(&cell, &layout)?;
    for (more, begin) in [
        (json!({}), "entry cmd image\n1000\n/data\n"),
        (
            json!({"args": ["args"], "env": [{"name": "FROM", "value": "manifest"}]}),
            "entry args manifest\n1000\n/data\n",
        ),
        (json!({"workingDir": "/tmp", "securityContext": {"runAsUser": 7}}), "entry cmd image\n7\n/tmp\n"),
    ] {
        let _code = cell.try_run(&pod_of(&cell, "layout", &layout, more), &[])?;
        let _phase = cell.call(&["wait", "layout"])?;
        let output = cell.call(&["logs", "layout"])?;
        expect("output", String::from_utf8(output.stdout)?, format!("{begin}added\nchanged\nupper"))?;
        let complaint = String::from_utf8(output.stderr)?;
        if !complaint.contains("removed") {
            return fail(format!("the removed file is there: {complaint:?}"));
        }
        cell.clean(&["layout"])?;
    }
    let mut unknown = pod_of(&cell, "layout", &layout, json!({}));
    unknown["spec"]["containers"][0]["image"] = json!(format!("oci:{}:two", layout.display()));
    let said = cell.refused(&unknown, &[])?;
    if !said.contains("two") || !said.contains("one") {
        return fail(format!("run says {said:?}"));
    }
    cell.expect_clean()
}

fn layers_are_removed_when_nobody_needs_them() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let layout = cell.path().join("layout");
    write_layout(&cell, &layout)?;
    let sleeper = json!({"command": ["sleep", "1000"]});
    let layers = || fs::read_dir(cell.root().join("images/layers")).map_or(0, Iterator::count);
    cell.run(&pod_of(&cell, "one", &layout, sleeper.clone()), &[])?;
    let n_layers = layers();
    cell.run(&pod_of(&cell, "two", &layout, sleeper), &[])?;
    expect("layers of two pods", layers(), n_layers)?;
    cell.ok(&["rm", "--force", "one"])?;
    expect("gc", cell.ok(&["gc"])?, String::new())?;
    expect("layers of one pod", layers(), n_layers)?;
    cell.ok(&["exec", "two", "--", "cat", "/etc/added"])?;
    cell.ok(&["rm", "--force", "two"])?;
    let said = cell.ok(&["gc"])?;
    if said.matches("no pod uses it").count() != 2 {
        return fail(format!("gc says {said:?}"));
    }
    expect("layers without pods", layers(), 0)?;
    cell.expect_clean()
}

/// Their paths do not fit in what mount(2) takes.
fn as_many_layers_as_there_may_be_are_mounted() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let layout = cell.path().join("layout");
    let files = |number: u32| layer(&[(&format!("etc/layer-{number}"), "")]);
    let layers: Vec<Vec<u8>> =
        std::iter::once(base(&cell)).chain((1..500).map(files)).collect::<Result<_, _>>()?;
    write_image(&layout, &layers)?;
    let counts = json!({"command": ["sh", "-c", "ls /etc | grep -c layer-; echo > /etc/own && pwd"]});
    cell.run(&pod_of(&cell, "tall", &layout, counts), &[])?;
    cell.ok(&["wait", "tall"])?;
    expect("files", cell.logs("tall", "main")?, "499\n/data\n".to_owned())?;
    cell.clean(&["tall"])
}

fn the_root_is_as_the_image_has_it() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let rootfs = cell.path().join("rootfs");
    chown(&rootfs, Some(1000), Some(1001))?;
    fs::set_permissions(&rootfs, fs::Permissions::from_mode(0o1750))?;
    let mut pod = cell.pod("root", &[cell.container("main", "stat -c '%a %u:%g' /; touch /new && ls /new")]);
    pod["spec"]["restartPolicy"] = json!("Never");
    cell.run(&pod, &[])?;
    cell.ok(&["wait", "root"])?;
    expect("root directory", cell.logs("root", "main")?, "1750 1000:1001\n/new\n".to_owned())?;
    if rootfs.join("new").exists() {
        return fail("the container has written to the image");
    }
    cell.clean(&["root"])
}

fn its_stop_signal_asks_a_container_to_end() -> Result<(), Failed> {
    let cell = Cell::new()?;
    let layout = cell.path().join("layout");
    write_layout(&cell, &layout)?;
    let script =
        "trap 'echo usr1; exit' USR1; trap 'echo usr2; exit' USR2; echo ready; while :; do sleep 0.05; done";
    let command = json!(["/bin/sh", "-c", script]);
    for (more, wanted) in [
        (json!({"command": command}), "ready\nusr1\n"),
        (json!({"command": command, "lifecycle": {"stopSignal": "SIGUSR2"}}), "ready\nusr2\n"),
    ] {
        let mut pod = pod_of(&cell, "signal", &layout, more);
        pod["spec"]["os"] = json!({"name": "linux"});
        pod["spec"]["terminationGracePeriodSeconds"] = json!(60);
        cell.run(&pod, &[])?;
        cell.until_logged("signal", "main", "ready")?;
        cell.ok(&["stop", "signal"])?;
        expect("output", cell.logs("signal", "main")?.as_str(), wanted)?;
        cell.clean(&["signal"])?;
    }
    Ok(())
}
