//! Which bridge, with which addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name of an interface: `IFNAMSIZ` of the kernel without its final zero.
const NAME_MAX: usize = 15;
/// Names of the veth interfaces on the node begin so, and a bridge must not take one of them.
pub(super) const VETH_PREFIX: &str = "podrt";

/// The bridge of the node that joins pods, and the subnet of their addresses.
///
/// Written as `NAME` or `NAME,SUBNET`, such as `podrt0,10.89.0.0/16`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bridge {
    name: String,
    subnet: Subnet,
}

impl Default for Bridge {
    fn default() -> Self {
        Self { name: "podrt0".to_owned(), subnet: Subnet::DEFAULT }
    }
}

impl Bridge {
    /// Name of the interface.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its addresses come from.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// The first host address of the subnet: that of the bridge, and the way out of each pod.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.subnet.first() + 1)
    }
}

impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.name, self.subnet)
    }
}

impl FromStr for Bridge {
    type Err = BridgeError;

    fn from_str(text: &str) -> Result<Self, BridgeError> {
        let (name, subnet) = match text.split_once(',') {
            Some((name, subnet)) => (name, subnet.parse()?),
            None => (text, Subnet::DEFAULT),
        };
        if let Some(reason) = name_problem(name) {
            return Err(BridgeError::Name { name: name.to_owned(), reason });
        }
        Ok(Self { name: name.to_owned(), subnet })
    }
}

impl TryFrom<String> for Bridge {
    type Error = BridgeError;

    fn try_from(text: String) -> Result<Self, BridgeError> {
        text.parse()
    }
}

impl From<Bridge> for String {
    fn from(bridge: Bridge) -> Self {
        bridge.to_string()
    }
}

/// Why a name cannot be that of a bridge. Stricter than the kernel (`dev_valid_name`), which takes any byte but a few.
fn name_problem(name: &str) -> Option<&'static str> {
    let is_odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let is_of_veth = |rest: &str| rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit());
    match name {
        "" => Some("it is empty"),
        "." | ".." | "all" | "default" | "lo" => Some("the kernel has another use for it"),
        _ if name.len() > NAME_MAX => Some("an interface name has at most 15 bytes"),
        _ if name.contains(is_odd) => Some("use letters, digits, '.', '_' and '-' only"),
        _ if name.starts_with('-') => Some("it begins with '-'"),
        _ if name.strip_prefix(VETH_PREFIX).is_some_and(is_of_veth) => {
            Some("the interfaces of pods are called so")
        }
        _ => None,
    }
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    address: Ipv4Addr,
    prefix: u8,
}

impl Subnet {
    /// podman's subnets begin one lower (10.88.0.0/16), and the usual ones of Kubernetes lie elsewhere.
    const DEFAULT: Self = Self { address: Ipv4Addr::new(10, 89, 0, 0), prefix: 16 };

    /// The length of its prefix in bits, 8 to 30.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The network address, as a number.
    pub(super) fn first(self) -> u32 {
        self.address.to_bits()
    }

    /// The broadcast address, as a number.
    pub(super) fn last(self) -> u32 {
        self.first() | (u32::MAX >> self.prefix)
    }

    /// How many pods have room: all addresses but those of the network, of the broadcast and of the bridge.
    #[must_use]
    pub fn capacity(self) -> u32 {
        self.last() - self.first() - 2
    }

    /// True when an address can be that of a pod behind the bridge.
    pub(super) fn has_pod(self, address: Ipv4Addr) -> bool {
        (self.first() + 2..self.last()).contains(&address.to_bits())
    }

    /// True when some address is both in this subnet and in the network of an address with a prefix.
    pub(super) fn overlaps(self, address: Ipv4Addr, prefix: u8) -> bool {
        let shared = self.prefix.min(prefix);
        let differing_bits = self.first() ^ address.to_bits();
        differing_bits.checked_shr(32 - u32::from(shared)).unwrap_or(0) == 0
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = BridgeError;

    fn from_str(text: &str) -> Result<Self, BridgeError> {
        let refuse = |reason: String| BridgeError::Subnet { subnet: text.to_owned(), reason };
        let Some((address, prefix)) = text.split_once('/') else {
            return Err(refuse("write ADDRESS/PREFIX, such as 10.89.0.0/16".to_owned()));
        };
        let Ok(address) = address.parse::<Ipv4Addr>() else {
            return Err(refuse(format!("{address:?} is not an IPv4 address")));
        };
        let prefix = match prefix.parse::<u8>() {
            Ok(prefix @ 8..=30) => prefix,
            _ => return Err(refuse(format!("the prefix {prefix:?} is not a number from 8 to 30"))),
        };
        let network = Ipv4Addr::from_bits(address.to_bits() & !(u32::MAX >> prefix));
        if network != address {
            return Err(refuse(format!("the network of this address is {network}/{prefix}")));
        }
        if address.octets()[0] == 0 || address.is_loopback() || address.octets()[0] >= 224 {
            return Err(refuse("these are no addresses of hosts; take a private network".to_owned()));
        }
        Ok(Self { address, prefix })
    }
}

/// A bridge that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// Its name.
    #[error("{name:?} is no name for a bridge: {reason}")]
    Name {
        /// What was given.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// Its subnet.
    #[error("{subnet:?} is no subnet for pods: {reason}")]
    Subnet {
        /// What was given.
        subnet: String,
        /// Why not.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_is_a_name_with_or_without_a_subnet() {
        let bridge: Bridge = "podrt0".parse().unwrap();
        assert_eq!(bridge, Bridge::default());
        assert_eq!(bridge.to_string(), "podrt0,10.89.0.0/16");
        assert_eq!(bridge.gateway(), Ipv4Addr::new(10, 89, 0, 1));
        let bridge: Bridge = "a-b_c.d,192.168.7.8/30".parse().unwrap();
        assert_eq!((bridge.name(), bridge.gateway()), ("a-b_c.d", Ipv4Addr::new(192, 168, 7, 9)));
        assert_eq!(bridge.subnet().capacity(), 1);
        assert_eq!(bridge.to_string().parse(), Ok(bridge.clone()));
        let json = serde_json::to_string(&bridge).unwrap();
        assert_eq!(json, r#""a-b_c.d,192.168.7.8/30""#);
        assert_eq!(serde_json::from_str::<Bridge>(&json).unwrap(), bridge);
        assert!(serde_json::from_str::<Bridge>(r#""a/b""#).is_err());
    }

    #[test]
    fn what_is_no_bridge_is_refused_with_the_reason() {
        for (text, expected) in [
            ("", "it is empty"),
            (",10.0.0.0/8", "it is empty"),
            ("a/b", "letters, digits"),
            ("a b", "letters, digits"),
            ("br%d", "letters, digits"),
            ("brücke", "letters, digits"),
            ("-br", "begins with"),
            ("..", "another use"),
            ("lo", "another use"),
            ("podrt0a590002", "interfaces of pods"),
            ("sixteen-bytes-16", "at most 15 bytes"),
            ("b,10.0.0.0", "ADDRESS/PREFIX"),
            ("b,", "ADDRESS/PREFIX"),
            ("b,fd00::/64", "not an IPv4 address"),
            ("b,10.0.0/8", "not an IPv4 address"),
            ("b,10.0.0.0/7", "from 8 to 30"),
            ("b,10.0.0.0/31", "from 8 to 30"),
            ("b,10.0.0.0/x", "from 8 to 30"),
            ("b,10.0.0.0/-8", "from 8 to 30"),
            ("b,10.89.3.4/16", "is 10.89.0.0/16"),
            ("b,127.0.0.0/8", "private network"),
            ("b,224.0.0.0/8", "private network"),
            ("b,0.0.0.0/8", "private network"),
            ("b,10.0.0.0/8,x", "from 8 to 30"),
        ] {
            let error = text.parse::<Bridge>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn networks_overlap_when_one_holds_the_other() {
        let subnet: Subnet = "10.89.0.0/16".parse().unwrap();
        for (address, prefix, expected) in [
            ([10, 89, 200, 1], 24, true),
            ([10, 0, 0, 1], 8, true),
            ([10, 88, 0, 1], 15, true),
            ([10, 88, 0, 1], 16, false),
            ([10, 90, 0, 1], 32, false),
            ([10, 89, 255, 255], 32, true),
            ([192, 168, 1, 1], 24, false),
            ([1, 2, 3, 4], 0, true),
        ] {
            assert_eq!(subnet.overlaps(address.into(), prefix), expected, "{address:?}/{prefix}");
        }
    }
}
