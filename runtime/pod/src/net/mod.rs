//! The network of a pod: a veth pair to a bridge, with a local allocator of addresses.
