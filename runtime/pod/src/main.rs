//! The command `podrt-pod`, which `podrt pod` executes.

fn main() {}
