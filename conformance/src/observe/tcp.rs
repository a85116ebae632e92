//! TCP sockets of a network namespace, by `/proc/PID/net/tcp` read from the node (proc(5)).

use std::fs;
use std::io;

use super::process;

/// State `ESTABLISHED` in the `st` column (`include/net/tcp_states.h`).
const ESTABLISHED: &str = "01";
/// State `LISTEN` there.
const LISTEN: &str = "0A";
/// 127.0.0.1 as the column shows it: the address in network order, printed as a number of this machine.
const LOCALHOST: u32 = u32::from_ne_bytes([127, 0, 0, 1]);

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSocket {
    /// Local address, as the file shows it, and port.
    pub local: (u32, u16),
    /// Remote address and port.
    pub remote: (u32, u16),
    /// It is in state `ESTABLISHED`.
    pub is_established: bool,
    /// It is in state `LISTEN`.
    pub is_listening: bool,
    /// Inode of the socket: `socket:[INODE]` in `/proc/PID/fd`.
    pub inode: u64,
}

/// The IPv4 TCP sockets of the network namespace of a process.
///
/// # Errors
/// When the process is gone.
pub fn table(pid: i32) -> io::Result<Vec<TcpSocket>> {
    Ok(parse(&fs::read_to_string(format!("/proc/{pid}/net/tcp"))?))
}

/// The established socket between two ports of 127.0.0.1.
#[must_use]
pub fn established(table: &[TcpSocket], local: u16, remote: u16) -> Option<&TcpSocket> {
    table.iter().find(|socket| {
        socket.is_established && socket.local == (LOCALHOST, local) && socket.remote == (LOCALHOST, remote)
    })
}

/// The sockets that listen on a port of 127.0.0.1.
pub fn listening(table: &[TcpSocket], port: u16) -> impl Iterator<Item = &TcpSocket> {
    table.iter().filter(move |socket| socket.is_listening && socket.local == (LOCALHOST, port))
}

/// Whether a descriptor of the process is this socket.
#[must_use]
pub fn holds(pid: i32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    process::open_fds(pid).is_ok_and(|fds| fds.iter().any(|open| open.target == wanted))
}

fn parse(text: &str) -> Vec<TcpSocket> {
    let socket = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, _, _, _, _, _, inode, ..] = columns.as_slice() else { return None };
        Some(TcpSocket {
            local: endpoint(local)?,
            remote: endpoint(remote)?,
            is_established: *state == ESTABLISHED,
            is_listening: *state == LISTEN,
            inode: inode.parse().ok()?,
        })
    };
    text.lines().skip(1).filter_map(socket).collect()
}

fn endpoint(text: &str) -> Option<(u32, u16)> {
    let (address, port) = text.split_once(':')?;
    Some((u32::from_str_radix(address, 16).ok()?, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn both_ends_of_a_connection_are_found() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 0 100\n\
             \x20  1: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0 20\n\
             \x20  2: 0100007F:D431 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 43 1 0 20\n";
        let table = parse(text);
        assert_eq!(established(&table, 8080, 54321).map(|socket| socket.inode), Some(42));
        assert_eq!(established(&table, 54321, 8080).map(|socket| socket.inode), Some(43));
        assert_eq!(established(&table, 8080, 0), None);
    }
}
