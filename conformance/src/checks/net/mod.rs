//! The network of a pod.

mod net_02;
mod net_04;
mod net_15;

use super::Check;
use crate::cell::Obstacle;
use crate::observe::tcp::{self, TcpSocket};

/// The checks of this area, by number.
pub(super) const CHECKS: &[Check] = &[net_02::CHECK, net_04::CHECK, net_15::CHECK];

/// The TCP sockets of the network namespace that a process is in.
fn tcp_table(pid: i32) -> Result<Vec<TcpSocket>, Obstacle> {
    tcp::table(pid).map_err(|source| Obstacle::Node {
        op: "read the TCP table",
        path: format!("/proc/{pid}/net/tcp").into(),
        source,
    })
}
