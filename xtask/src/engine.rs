//! Container engines in a VM: the image that each boots from, and how it is set up there.

use anyhow::Result;
use clap::ValueEnum;
use vm_images::{Rootfs, Vm};

use crate::setup::{Tool, Toolbox};

/// An engine that has an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// podman, with crun, conmon, netavark and nftables
    Podman,
    /// containerd with ctr and runc
    Containerd,
}

/// Without a service manager podman makes cgroups by itself, and keeps its events in a file.
const CONTAINERS_CONF: &str = "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";

/// Where images and containers are kept; the default of the package asks for a helper program.
const STORAGE_CONF: &str = "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
                            graphroot = \"/var/lib/containers/storage\"\n";

impl Engine {
    pub(crate) fn tool(self) -> Tool {
        match self {
            Self::Podman => Tool::Podman,
            Self::Containerd => Tool::Containerd,
        }
    }

    /// The files that are laid over the image.
    pub(crate) fn rootfs(self) -> Rootfs {
        let mut rootfs = Rootfs::over_image();
        if self == Self::Podman {
            rootfs.content("/etc/containers/containers.conf", CONTAINERS_CONF, 0o644).content(
                "/etc/containers/storage.conf",
                STORAGE_CONF,
                0o644,
            );
        }
        rootfs
    }

    /// Lets the machine boot from the image, which must have been asked for in the set-up.
    pub(crate) fn boot(self, machine: &mut Vm, tools: &Toolbox) -> Result<()> {
        machine.boot_engine(&tools.tool(self.tool())?.path);
        Ok(())
    }
}
