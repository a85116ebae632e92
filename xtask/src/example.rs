//! `cargo xtask example`: the manifests of `runtime/examples` in a VM, each with the commands that its head names.
//!
//! A line that begins with `#$ ` is a command; one that begins with `#> ` is a text that its output must have.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use vm_images::{Rootfs, Vm};

use crate::build;
use crate::setup::{self, Tool};
use crate::vm;
use crate::workspace;

/// Where the examples are in the guest; the commands are run there.
const GUEST: &str = "/examples";

/// The options of `cargo xtask example`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExampleArgs {
    /// An example, as classic for runtime/examples/classic.yaml; all without one
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// 6.1, 6.12, or the path of a bzImage or vmlinux
    #[arg(long, value_name = "KERNEL", default_value = "6.12")]
    kernel: String,
}

/// Runs the commands; the exit status is 0 when each did what the example says.
pub(crate) fn run(args: &ExampleArgs) -> Result<ExitCode> {
    let mut examples = examples()?;
    if let Some(name) = &args.name {
        let names: Vec<String> = examples.keys().cloned().collect();
        let Some(text) = examples.remove(name) else {
            bail!("there is no example {name}; there are: {}", names.join(", "));
        };
        examples = BTreeMap::from([(name.clone(), text)]);
    }
    let mut wanted = Tool::BUILD.to_vec();
    wanted.extend([Tool::Qemu, Tool::Busybox]);
    wanted.extend(Tool::kernel(&args.kernel));
    let tools = setup::ensure(&wanted)?;
    let built = build::all(&tools)?;
    let mut rootfs = Rootfs::new();
    rootfs
        .busybox(&tools.tool(Tool::Busybox)?.path)?
        .program("/bin/podrt", &built.podrt, &[])?
        .program("/bin/podrt-pod", &built.podrt_pod, &[])?
        .program("/bin/pause", &built.pause, &[])?;
    for (name, text) in &examples {
        rootfs.content(&format!("{GUEST}/{name}.yaml"), text.as_str(), 0o644);
    }
    rootfs.content("/bin/examples", script(&examples)?, 0o755);
    let kernel = vm::kernel(&args.kernel, &tools)?;
    let mut machine =
        Vm::new(kernel, rootfs, &built.vm_init, vec!["/bin/examples".to_owned()], &vm::work_dir());
    machine.modules.extend(vm_images::POD_MODULES.map(str::to_owned));
    machine.deadlines.command = Some(Duration::from_secs(600));
    machine.log_path = vm::work_dir().join("example.log");
    vm::finish(&machine)
}

/// The manifests, by name.
fn examples() -> Result<BTreeMap<String, String>> {
    let directory = workspace::root().join("runtime/examples");
    let mut examples = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            examples.insert(name, text);
        }
    }
    Ok(examples)
}

/// The commands that make the image of the examples, as the readme of the runtime has them.
fn image_commands() -> Result<String> {
    let path = workspace::root().join("runtime/README.md");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let is_it = |block: &&str| block.starts_with("mkdir -p rootfs/");
    let block = text.split("```\n").find(is_it);
    let block =
        block.with_context(|| format!("{}: no block begins with mkdir -p rootfs/", path.display()))?;
    Ok(block.to_owned())
}

/// A shell script that makes the image of the examples, and does what they say.
fn script(examples: &BTreeMap<String, String>) -> Result<String> {
    let mut script = format!(
        "#!/bin/sh\ncd {GUEST} || exit 1\n{}failed=0\n\
         fail() {{ echo \"FAILED: $1\" >&2; failed=1; }}\n",
        image_commands()?
    );
    for (name, text) in examples {
        let mut n_commands = 0;
        for line in text.lines() {
            if let Some(command) = line.strip_prefix("#$ ") {
                n_commands += 1;
                let quoted = quote(command);
                writeln!(script, "printf '$ %s\\n' {quoted}")?;
                writeln!(script, "output=$({command} 2>&1) || fail {quoted}")?;
                writeln!(script, "[ -z \"$output\" ] || printf '%s\\n' \"$output\"")?;
            } else if let Some(wanted) = line.strip_prefix("#> ") {
                let (quoted, reason) = (quote(wanted), quote(&format!("no {wanted:?} in the output")));
                writeln!(script, "case \"$output\" in *{quoted}*) ;; *) fail {reason} ;; esac")?;
            }
        }
        ensure!(n_commands > 0, "runtime/examples/{name}.yaml has no line that begins with \"#$ \"");
        writeln!(script, "echo")?;
    }
    script.push_str("[ -z \"$(podrt pod ps --quiet)\" ] || fail 'a pod is left'\nexit $failed\n");
    Ok(script)
}

/// A word of the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_image_of_the_readme_has_a_busybox() {
        let temp = tempfile::tempdir().unwrap();
        let busybox = temp.path().join("busybox");
        // As the real one, it lists itself.
        fs::write(&busybox, "#!/bin/sh\nprintf '%s\\n' ash busybox sh\n").unwrap();
        fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).unwrap();
        let commands = image_commands().unwrap().replace("/bin/busybox", &busybox.to_string_lossy());
        let path = format!("{}:{}", temp.path().display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        let status = shell.args(["-ec", &commands]).current_dir(&temp).env("PATH", path).status().unwrap();
        assert!(status.success());
        let bin = temp.path().join("rootfs/bin");
        assert!(fs::symlink_metadata(bin.join("busybox")).unwrap().is_file(), "it is no link to itself");
        for name in ["ash", "sh"] {
            assert_eq!(fs::read_link(bin.join(name)).unwrap(), std::path::Path::new("busybox"), "{name}");
        }
    }
}
