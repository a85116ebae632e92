//! Packages of the distribution, fetched without root: apt with its state, lists and cache in a folder of ours.
//!
//! Sources and keys are the system's; nothing of the system is written. Lists are refreshed at most once per process and
//! only when something has to be fetched, so stale or absent system lists do not matter.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cmd::Cmd;
use crate::setup::store::{self, Source};

/// Libraries that every system has which can run cargo and dpkg.
const BASE: [&str; 5] = ["libc6", "libgcc-s1", "libstdc++6", "libcrypt1", "zlib1g"];

/// A package as the lists describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    sha256: String,
    size: u64,
    /// First alternative of each dependency.
    pub(crate) depends: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Apt {
    dir: PathBuf,
    config: PathBuf,
    is_fresh: Cell<bool>,
}

impl Apt {
    /// Prepares the private state in `dir`. `sources` replaces the system's list of sources (tests).
    pub(crate) fn new(dir: &Path, sources: Option<&Path>) -> Result<Self> {
        let config = dir.join("apt.conf");
        for part in ["state/lists/partial", "cache/archives/partial", "debs"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
        }
        let at = dir.display();
        let mut text = format!(
            "Dir::State \"{at}/state\";\n\
             Dir::State::lists \"{at}/state/lists\";\n\
             Dir::State::status \"{at}/state/status\";\n\
             Dir::State::extended_states \"/var/lib/apt/extended_states\";\n\
             Dir::Cache \"{at}/cache\";\n\
             Dir::Cache::archives \"{at}/cache/archives\";\n\
             Dir::Cache::pkgcache \"pkgcache.bin\";\n\
             Dir::Cache::srcpkgcache \"srcpkgcache.bin\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
             Acquire::Retries \"3\";\n\
             Acquire::http::Timeout \"30\";\n\
             DPkg::Lock::Timeout \"120\";\n\
             #clear APT::Update::Pre-Invoke;\n\
             #clear APT::Update::Post-Invoke;\n\
             #clear APT::Update::Post-Invoke-Success;\n"
        );
        if let Some(list) = sources {
            text += &format!(
                "Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"/nonexistent\";\n",
                list.display()
            );
        }
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        // Nothing counts as installed: the lists alone say what the newest version is, and its hash.
        let status = dir.join("state/status");
        fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
        Ok(Self { dir: dir.to_owned(), config, is_fresh: Cell::new(false) })
    }

    fn command(&self, program: &str) -> Cmd {
        // The option must be the command line's: what APT_CONFIG names is read before the system's files.
        Cmd::new(program).arg("-c").arg(&self.config).env("LC_ALL", "C.UTF-8")
    }

    /// The configuration file, for an installation that uses these lists.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// Fetches the lists of packages, once.
    pub(crate) fn refresh(&self) -> Result<()> {
        if self.is_fresh.get() {
            return Ok(());
        }
        eprintln!("setup: refreshing the package lists under {}", self.dir.display());
        // A source of the user's that is out of order must not stop us: what is missing shows when it is asked for.
        let output = self.command("apt-get").args(["-q", "update"]).output()?;
        if !output.status.success() {
            eprintln!("setup: warning: {}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        self.is_fresh.set(true);
        Ok(())
    }

    /// The versions of `names` that the system would install.
    pub(crate) fn show(&self, names: &[&str]) -> Result<Vec<Package>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.refresh()?;
        let text = self
            .command("apt-cache")
            .args(["show", "--no-all-versions"])
            .args(names)
            .read()
            .context("the sources of packages in /etc/apt lack something (podproof needs those of Debian 12 and its security updates)")?;
        let packages = parse(&text)?;
        for name in names {
            ensure!(
                packages.iter().any(|p| p.name == *name),
                "no package named {name} in the sources of /etc/apt"
            );
        }
        Ok(packages)
    }

    /// `roots` and the shared libraries that they need, apart from those that every system has.
    pub(crate) fn with_libraries(&self, roots: &[&str]) -> Result<Vec<Package>> {
        let mut seen: BTreeSet<String> = roots.iter().map(|&name| name.to_owned()).collect();
        let mut next: Vec<String> = seen.iter().cloned().collect();
        let mut all = Vec::new();
        while !next.is_empty() {
            let found = self.show(&next.iter().map(String::as_str).collect::<Vec<_>>())?;
            next.clear();
            for name in found.iter().flat_map(|package| &package.depends) {
                let is_library = name.starts_with("lib") && !name.ends_with("-dev");
                if is_library && !BASE.contains(&name.as_str()) && seen.insert(name.clone()) {
                    next.push(name.clone());
                }
            }
            all.extend(found);
        }
        Ok(all)
    }

    /// `roots` and everything that they depend on; where there is a choice, apt makes it.
    pub(crate) fn with_dependencies(&self, roots: &[&str]) -> Result<Vec<Package>> {
        self.refresh()?;
        // Nothing counts as installed, so the whole closure would be.
        let plan = self
            .command("apt-get")
            .args(["-q", "--simulate", "--no-install-recommends", "install"])
            .args(roots)
            .read()
            .with_context(|| format!("cannot find what {} depends on", roots.join(", ")))?;
        let names: Vec<&str> = plan
            .lines()
            .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
            .map(|name| name.split(':').next().unwrap_or(name))
            .collect();
        self.show(&names)
    }

    /// Fetches `packages`, checks them against the hashes of the lists and unpacks them into `dir`.
    ///
    /// # Errors
    /// The network, a wrong hash, no space.
    pub(crate) fn unpack(&self, packages: &[Package], dir: &Path) -> Result<()> {
        let debs = self.dir.join("debs");
        let absent: Vec<&Package> = packages.iter().filter(|p| p.whole_file(&debs).is_none()).collect();
        if !absent.is_empty() {
            let exact = absent.iter().map(|p| format!("{}={}", p.name, p.version));
            self.command("apt-get").args(["-q", "download"]).args(exact).dir(&debs).read()?;
        }
        for package in packages {
            let deb = package.whole_file(&debs).with_context(|| {
                format!(
                    "{} {}: what was fetched has not the hash of the package list",
                    package.name, package.version
                )
            })?;
            Cmd::new("dpkg-deb").arg("-x").arg(&deb).arg(dir).read()?;
        }
        Ok(())
    }

    /// Removes the lists and archives; what was unpacked stays. Nothing could be reused: lists are refreshed each time.
    pub(crate) fn discard(self) -> Result<()> {
        store::remove(&self.dir)
    }
}

impl Package {
    pub(crate) fn source(&self) -> Source {
        Source { name: self.name.clone(), version: self.version.clone(), sha256: self.sha256.clone() }
    }

    /// The archive in `debs`, if it is there with the right hash; any other of this package is removed.
    fn whole_file(&self, debs: &Path) -> Option<PathBuf> {
        let prefix = format!("{}_", self.name);
        for entry in fs::read_dir(debs).ok()?.flatten() {
            if !entry.file_name().to_string_lossy().starts_with(&prefix) {
                continue;
            }
            let path = entry.path();
            // Through links: that is what apt makes of a package from a mirror on this machine.
            let is_right_size = fs::metadata(&path).is_ok_and(|meta| meta.len() == self.size);
            if is_right_size && store::sha256(&path).is_ok_and(|hash| hash == self.sha256) {
                return Some(path);
            }
            if fs::remove_file(&path).is_err() {
                return None;
            }
        }
        None
    }
}

/// Reads the stanzas that `apt-cache show` prints.
fn parse(text: &str) -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    for stanza in text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned());
            stanza.lines().find_map(value)
        };
        let need = |name| field(name).with_context(|| format!("a package list has an entry without {name}"));
        let mut depends = Vec::new();
        for list in ["Pre-Depends", "Depends"].into_iter().filter_map(field) {
            for dependency in list.split(',') {
                let first = dependency.split('|').next().unwrap_or_default().trim();
                let name = first.split([' ', '(', ':']).next().unwrap_or_default();
                if !name.is_empty() {
                    depends.push(name.to_owned());
                }
            }
        }
        let size = need("Size")?;
        let package = Package {
            name: need("Package")?,
            version: need("Version")?,
            sha256: need("SHA256")?,
            size: size.parse().with_context(|| format!("a package list has the size {size:?}"))?,
            depends,
        };
        if package.sha256.len() != 64 {
            bail!("{}: the package list has no SHA-256", package.name);
        }
        packages.push(package);
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    /// A mirror on this machine with one package, `podproof-hello`, which depends on `libhello`.
    fn mirror(dir: &Path) -> PathBuf {
        let repo = dir.join("repo");
        fs::create_dir_all(&repo).unwrap();
        let mut list = String::new();
        for (name, depends) in [
            ("podproof-hello", "libc6, libhello (>= 1) | other, debconf"),
            ("podproof-engine", "other | podproof-hello-files"),
            ("podproof-hello-files", "libhello"),
            ("libhello", ""),
        ] {
            let tree = dir.join(name);
            fs::create_dir_all(tree.join("DEBIAN")).unwrap();
            fs::create_dir_all(tree.join("usr/bin")).unwrap();
            fs::write(tree.join("usr/bin").join(name), format!("I am {name}")).unwrap();
            let mut control = format!(
                "Package: {name}\nVersion: 1:2.0-1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\n\
                 Description: fixture\n"
            );
            if !depends.is_empty() {
                control += &format!("Depends: {depends}\n");
            }
            fs::write(tree.join("DEBIAN/control"), &control).unwrap();
            let deb = repo.join(format!("{name}.deb"));
            Cmd::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).arg(&deb).read().unwrap();
            let (size, hash) = (fs::metadata(&deb).unwrap().len(), store::sha256(&deb).unwrap());
            list += &format!("{control}Filename: ./{name}.deb\nSize: {size}\nSHA256: {hash}\n\n");
        }
        fs::write(repo.join("Packages"), list).unwrap();
        let sources = dir.join("sources.list");
        fs::write(&sources, format!("deb [trusted=yes] copy:{} ./\n", repo.display())).unwrap();
        sources
    }

    #[test]
    #[cfg_attr(not(has_apt), ignore = "needs apt-get and dpkg-deb")]
    fn packages_come_with_their_libraries_and_half_ones_are_fetched_again() {
        let tmp = tempfile::tempdir().unwrap();
        let apt = Apt::new(&tmp.path().join("apt"), Some(&mirror(tmp.path()))).unwrap();
        let packages = apt.with_libraries(&["podproof-hello"]).unwrap();
        let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["podproof-hello", "libhello"]);

        let first = tmp.path().join("first");
        fs::create_dir(&first).unwrap();
        apt.unpack(&packages, &first).unwrap();
        assert_eq!(fs::read_to_string(first.join("usr/bin/libhello")).unwrap(), "I am libhello");

        let debs = tmp.path().join("apt/debs");
        let archive = packages[0].whole_file(&debs).unwrap();
        File::options().write(true).open(&archive).unwrap().set_len(100).unwrap();
        assert_eq!(packages[0].whole_file(&debs), None);
        let second = tmp.path().join("second");
        fs::create_dir(&second).unwrap();
        apt.unpack(&packages, &second).unwrap();
        assert!(second.join("usr/bin/podproof-hello").exists());
    }

    #[test]
    #[cfg_attr(not(has_apt), ignore = "needs apt-get and dpkg-deb")]
    fn dependencies_are_those_that_apt_would_install() {
        let tmp = tempfile::tempdir().unwrap();
        let apt = Apt::new(&tmp.path().join("apt"), Some(&mirror(tmp.path()))).unwrap();
        let packages = apt.with_dependencies(&["podproof-engine"]).unwrap();
        let mut names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["libhello", "podproof-engine", "podproof-hello-files"]);
        let err = format!("{:#}", apt.with_dependencies(&["podproof-hello"]).unwrap_err());
        assert!(err.contains("podproof-hello"), "{err}");
    }

    #[test]
    #[cfg_attr(not(has_apt), ignore = "needs apt-get and dpkg-deb")]
    fn a_mirror_that_sends_something_else_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let apt = Apt::new(&tmp.path().join("apt"), Some(&mirror(tmp.path()))).unwrap();
        let packages = apt.show(&["libhello"]).unwrap();
        let deb = tmp.path().join("repo/libhello.deb");
        let mut bytes = fs::read(&deb).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&deb, bytes).unwrap();
        let into = tmp.path().join("into");
        fs::create_dir(&into).unwrap();
        let err = format!("{:#}", apt.unpack(&packages, &into).unwrap_err());
        assert!(err.contains("libhello"), "{err}");
        assert!(!into.join("usr").exists());
    }

    #[test]
    #[cfg_attr(not(has_apt), ignore = "needs apt-get and dpkg-deb")]
    fn a_package_that_no_source_has_is_named() {
        let tmp = tempfile::tempdir().unwrap();
        let apt = Apt::new(&tmp.path().join("apt"), Some(&mirror(tmp.path()))).unwrap();
        let err = format!("{:#}", apt.show(&["podproof-nothing"]).unwrap_err());
        assert!(err.contains("podproof-nothing") && err.contains("/etc/apt"), "{err}");
    }

    #[test]
    fn a_list_without_a_hash_is_refused() {
        let entry = "Package: a\nVersion: 1\nSize: 10\nFilename: a.deb\n";
        assert!(format!("{:#}", parse(entry).unwrap_err()).contains("SHA256"));
    }
}
