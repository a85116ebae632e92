//! Embeds the BPF object that the environment variable `PODPROOF_BPF_OBJECT` names, and the object `inject` beside it. Without
//! them the crate compiles all the same, and starting a tracer or an injector fails with the way out.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rustc-check-cfg=cfg(podproof_probes)");
    println!("cargo::rustc-check-cfg=cfg(podproof_inject)");
    println!("cargo::rerun-if-env-changed=PODPROOF_BPF_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    let Some(object) = env::var_os("PODPROOF_BPF_OBJECT").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let object = PathBuf::from(object);
    embed(&object, "probes")?;
    let inject = object.with_file_name("inject");
    if inject.exists() {
        embed(&inject, "inject")?;
    } else if let Some(dir) = inject.parent() {
        println!("cargo::rerun-if-changed={}", dir.display());
    }
    Ok(())
}

fn embed(object: &Path, name: &str) -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::copy(object, out.join(name).with_extension("o"))
        .map_err(|error| format!("PODPROOF_BPF_OBJECT: cannot copy {}: {error}", object.display()))?;
    println!("cargo::rustc-cfg=podproof_{name}");
    Ok(())
}
