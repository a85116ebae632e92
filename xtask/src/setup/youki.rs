//! youki, a runtime to compare with: Debian has no package of it, so it is built from its crate.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::cmd::Cmd;
use crate::setup::apt::Apt;
use crate::setup::store::{self, Source};
use crate::setup::{Found, Tool, recipe};
use crate::workspace;

/// Its series; the figures of another would not be comparable.
const SERIES: &str = "0.7";

/// Builds it with cgroup v2 and seccomp, as the packaged runtimes have them; libseccomp is linked statically.
pub(crate) fn provide(base: &Path, apt: &Apt) -> Result<()> {
    let packages = apt.show(&["libseccomp-dev", "libseccomp2"])?;
    eprintln!("setup: building youki {SERIES} (some minutes)");
    store::install(&base.join(Tool::Youki.name()), Vec::new(), |into, sources| {
        let (seccomp, scratch) = (into.join("libseccomp"), into.join("build"));
        std::fs::create_dir(&seccomp).with_context(|| format!("cannot create {}", seccomp.display()))?;
        apt.unpack(&packages, &seccomp)?;
        Cmd::new(workspace::cargo())
            .args(["install", "youki", "--quiet", "--locked", "--force"])
            .args(["--version", &format!("^{SERIES}")])
            .args(["--no-default-features", "--features", "v2,seccomp"])
            .arg("--root")
            .arg(into)
            .arg("--target-dir")
            .arg(&scratch)
            .env("LIBSECCOMP_LIB_PATH", seccomp.join(recipe::LIBRARIES))
            .env("LIBSECCOMP_LINK_TYPE", "static")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .read()?;
        store::remove(&scratch)?;
        store::remove(&seccomp)?;
        let program = into.join("bin/youki");
        let version = recipe::program(&program, None, &["--version"])?.version;
        sources.push(Source { name: "youki".to_owned(), version, sha256: store::sha256(&program)? });
        sources.extend(packages.iter().map(|package| package.source()));
        Ok(())
    })
    .context("cannot build youki")?;
    Ok(())
}

/// The one that was built here, whatever is in PATH.
pub(crate) fn find(dir: &Path) -> Result<Found, String> {
    recipe::check(dir)?;
    recipe::program(&dir.join("bin/youki"), None, &["--version"]).map_err(|err| format!("{err:#}"))
}
