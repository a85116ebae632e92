//! Images: where the root file system of a container comes from, and how its program is started by default.
