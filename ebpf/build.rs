//! Embeds the BPF object that the environment variable `PODPROOF_BPF_OBJECT` names. Without it the crate compiles all the
//! same, and starting a tracer fails with the way out.

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rustc-check-cfg=cfg(podproof_probes)");
    println!("cargo::rerun-if-env-changed=PODPROOF_BPF_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    let Some(object) = env::var_os("PODPROOF_BPF_OBJECT").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let object = PathBuf::from(object);
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("probes.o");
    fs::copy(&object, &out)
        .map_err(|error| format!("PODPROOF_BPF_OBJECT: cannot copy {}: {error}", object.display()))?;
    println!("cargo::rustc-cfg=podproof_probes");
    Ok(())
}
