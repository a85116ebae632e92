//! Links the program without the C library's start files: `src/main.rs` has its own entry point.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The workspace's release profiles abort on panic. With the others, which unwind, the program is built with the
    // standard library, as any other. (CARGO_CFG_PANIC does not know the profile.)
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
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
