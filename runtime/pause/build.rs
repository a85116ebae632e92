//! Links the program without the C library's start files: `src/main.rs` has its own entry point.
//!
//! Only in the profile `pause`, which aborts on panic as a program without the standard library has to. A build script
//! cannot see a profile's name or panic strategy; that profile is the one that optimises for size.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(freestanding)");
    if std::env::var("OPT_LEVEL").as_deref() != Ok("s") {
        return;
    }
    println!("cargo::rustc-cfg=freestanding");
    // Without --build-id there is no note section, and with -z noseparate-code text and data share their pages.
    for arg in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,-z,noseparate-code",
        "-Wl,-z,norelro",
    ] {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
}
