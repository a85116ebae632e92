//! What container engines need of a machine beside their programs.

use std::path::Path;

use vm_init::MountSpec;

use crate::vm::Vm;

/// Modules that engines would load by modprobe(8), which a guest without a tree of modules cannot: networks between
/// containers (bridge, pairs of interfaces), and packet filters with the matches and targets that their plugins use.
const MODULES: [&str; 17] = [
    "bridge",
    "br_netfilter",
    "veth",
    "nf_conntrack_netlink",
    "nft_compat",
    "nft_chain_nat",
    "nft_ct",
    "nft_masq",
    "nft_fib_inet",
    "nft_reject_inet",
    "xt_addrtype",
    "xt_comment",
    "xt_conntrack",
    "xt_MASQUERADE",
    "xt_mark",
    "xt_nat",
    "xt_multiport",
];

/// Modules that podrt's pods need: the root file systems of their containers, and links to a bridge.
pub const POD_MODULES: [&str; 3] = ["overlay", "bridge", "veth"];

/// Where engines keep images and layers. An overlay cannot have its upper layer on the overlay that is the root.
const STORES: [&str; 3] = ["/var/lib/containers", "/var/lib/containerd", "/var/tmp"];

impl Vm {
    /// Boots from an image of a container engine, with the modules that engines load and a tmpfs for what they store.
    pub fn boot_engine(&mut self, image: &Path) {
        self.disk = Some(image.to_owned());
        self.modules.extend(MODULES.map(str::to_owned));
        self.mounts.extend(STORES.map(|target| MountSpec {
            source: "tmpfs".to_owned(),
            target: target.to_owned(),
            fstype: "tmpfs".to_owned(),
            options: "mode=0755".to_owned(),
            read_only: false,
        }));
    }
}
