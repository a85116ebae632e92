//! Disk images with container engines or a service manager: Debian packages with their dependencies, unpacked and packed again as
//! erofs.
//!
//! No script of a package runs. What scripts would have done and the programs need is done here; the rest of a system (users,
//! caches) is not there.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::cmd::Cmd;
use crate::setup::apt::{Apt, Package};
use crate::setup::store::{self, Unusable};
use crate::setup::{Found, Tool, recipe};

/// The image in the folder of its tool.
const IMAGE: &str = "root.erofs";

/// Folders that Debian 12 has below `usr`, with a link in their place; packages still bring them.
const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

/// Links that scripts of packages make (update-alternatives(1)), where their targets are there.
const LINKS: [(&str, &str); 6] = [
    ("usr/sbin/iptables", "iptables-nft"),
    ("usr/sbin/iptables-save", "iptables-nft-save"),
    ("usr/sbin/iptables-restore", "iptables-nft-restore"),
    ("usr/sbin/ip6tables", "ip6tables-nft"),
    ("usr/sbin/ip6tables-save", "ip6tables-nft-save"),
    ("usr/sbin/ip6tables-restore", "ip6tables-nft-restore"),
];

/// What nobody reads in a VM, and the networks of plugins that are not in the images.
const LEFT_OUT: [&str; 6] =
    ["etc/cni", "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "usr/share/lintian"];

/// The program, and what it only recommends but cannot do without.
fn roots(tool: Tool) -> &'static [&'static str] {
    match tool {
        Tool::Podman => &["podman", "crun", "netavark", "aardvark-dns", "iptables", "nftables", "catatonit"],
        // What a node has that is watched.
        Tool::Systemd => &["systemd", "coreutils", "prometheus", "prometheus-node-exporter"],
        _ => &["containerd", "runc", "iptables"],
    }
}

/// Makes an image.
pub(crate) fn provide(base: &Path, tool: Tool, apt: &Apt) -> Result<()> {
    if recipe::find(base, Tool::Erofs).is_err() {
        recipe::unpack(base, Tool::Erofs, apt, apt.with_libraries(&[Tool::Erofs.name()])?)?;
    }
    let mkfs = recipe::find(base, Tool::Erofs).map_err(anyhow::Error::msg)?;
    let dir = base.join(tool.name());
    if let Err(Unusable::Damaged(why)) = store::open(&dir) {
        eprintln!("setup: the image of {tool} is damaged ({why}): making it again");
    }
    let packages = apt.with_dependencies(roots(tool))?;
    eprintln!("setup: making the image of {tool} from {} packages", packages.len());
    let sources = packages.iter().map(Package::source).collect();
    store::install(&dir, sources, |into, _| {
        let tree = into.join("tree");
        fs::create_dir(&tree).with_context(|| format!("cannot create {}", tree.display()))?;
        apt.unpack(&packages, &tree)?;
        finish(&tree)?;
        pack(&mkfs, &tree, &into.join(IMAGE))?;
        store::remove(&tree)
    })
    .with_context(|| format!("cannot make the image of {tool}"))?;
    Ok(())
}

/// The image, with the version of its program.
pub(crate) fn find(dir: &Path, tool: Tool) -> Result<Found, String> {
    let record = recipe::record(dir)?;
    let version = record.sources.iter().find(|source| source.name == tool.name());
    Ok(Found {
        path: dir.join(IMAGE),
        libraries: None,
        version: version.map_or_else(|| "unknown".to_owned(), |source| source.version.clone()),
        build_std: false,
    })
}

/// Does what the packages' scripts would have done.
fn finish(tree: &Path) -> Result<()> {
    for dir in LEFT_OUT {
        store::remove(&tree.join(dir))?;
    }
    for name in MERGED {
        let (from, to) = (tree.join(name), tree.join("usr").join(name));
        merge(&from, &to)?;
        symlink(Path::new("usr").join(name), &from)
            .with_context(|| format!("cannot link {}", from.display()))?;
    }
    for (link, target) in LINKS {
        let path = tree.join(link);
        if path.with_file_name(target).exists() && fs::symlink_metadata(&path).is_err() {
            symlink(target, &path).with_context(|| format!("cannot link {}", path.display()))?;
        }
    }
    // Mount points and places for what runs.
    for dir in
        ["dev", "etc", "mnt", "opt", "proc", "root", "run", "sys", "tmp", "var/lib", "var/log", "var/tmp"]
    {
        let dir = tree.join(dir);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    Ok(())
}

/// Moves everything from one folder into another that may have some of it, and removes the first.
fn merge(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let is_dir = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        if is_dir(&source) && is_dir(&target) {
            merge(&source, &target)?;
        } else {
            ensure!(fs::symlink_metadata(&target).is_err(), "two packages bring {}", target.display());
            fs::rename(&source, &target).with_context(|| format!("cannot move {}", source.display()))?;
        }
    }
    fs::remove_dir(from).with_context(|| format!("cannot remove {}", from.display()))
}

/// Packs a tree, whose files become root's; the same tree gives the same bytes.
fn pack(mkfs: &Found, tree: &Path, image: &Path) -> Result<()> {
    let mut command = Cmd::new(&mkfs.path)
        .args(["--all-root", "-T0", "-U00000000-0000-0000-0000-000000000000"])
        .arg(image)
        .arg(tree);
    if let Some(libraries) = &mkfs.libraries {
        command = command.env("LD_LIBRARY_PATH", OsString::from(libraries));
    }
    command.read().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_packages_becomes_one_of_merged_folders() {
        let tmp = tempfile::tempdir().unwrap();
        let tree = tmp.path();
        for dir in ["bin", "lib/deep", "usr/lib/deep", "usr/sbin", "usr/share/doc/x"] {
            fs::create_dir_all(tree.join(dir)).unwrap();
        }
        for file in ["bin/sh", "lib/deep/a", "usr/lib/deep/b", "usr/sbin/iptables-nft"] {
            fs::write(tree.join(file), file).unwrap();
        }
        finish(tree).unwrap();
        assert_eq!(fs::read_link(tree.join("bin")).unwrap(), Path::new("usr/bin"));
        assert_eq!(fs::read_to_string(tree.join("bin/sh")).unwrap(), "bin/sh");
        assert_eq!(fs::read_to_string(tree.join("usr/lib/deep/a")).unwrap(), "lib/deep/a");
        assert_eq!(fs::read_to_string(tree.join("lib/deep/b")).unwrap(), "usr/lib/deep/b");
        assert!(
            tree.join("sbin/iptables").exists() && fs::symlink_metadata(tree.join("sbin/ip6tables")).is_err()
        );
        assert!(!tree.join("usr/share/doc").exists() && tree.join("proc").is_dir());
    }

    #[test]
    fn a_file_of_two_packages_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        for dir in ["bin", "usr/bin"] {
            fs::create_dir_all(tmp.path().join(dir)).unwrap();
            fs::write(tmp.path().join(dir).join("sh"), "").unwrap();
        }
        let err = format!("{:#}", finish(tmp.path()).unwrap_err());
        assert!(err.contains("usr/bin/sh"), "{err}");
    }
}
