//! One HTTP exchange over the loopback interface.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::failure::{During, Failure, errno_of};
use crate::sys;
use crate::thread;

/// Longest wait for the other side, on an emulated machine too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest body that is read, bytes.
const BODY_MAX: u64 = 64 * 1024;

/// The same socket on a descriptor that never stands in for a standard one.
fn above_stdio<T: Into<OwnedFd> + From<OwnedFd>>(socket: T) -> io::Result<T> {
    Ok(T::from(sys::above_stdio(socket.into())?))
}

/// `http_serve`.
pub(crate) fn serve(port: u16, body: String) -> Result<Value, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .and_then(above_stdio)
        .during(|| format!("listen on 127.0.0.1:{port}"))?;
    let port = listener.local_addr().during(|| "name the listening socket".to_owned())?.port();
    thread::spawn("http", None, move || {
        // What goes wrong here the client sees: it gets no answer.
        listener
            .accept()
            .and_then(|(client, _from)| answer(&above_stdio(client)?, &body))
            .unwrap_or_default();
    })?;
    Ok(json!(port))
}

/// Answers one request, then stays until the client closes.
fn answer(client: &TcpStream, body: &str) -> io::Result<()> {
    let mut request = BufReader::new(client);
    read_head(&mut request)?;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: keep-alive\r\n\r\n"
    );
    // Sent with MSG_NOSIGNAL by the standard library, as SIGPIPE is not ignored.
    (&mut &*client).write_all(format!("{head}{body}").as_bytes())?;
    io::copy(&mut request, &mut &*client).map(|_| ())
}

/// `http_echo`. A connection that broke gives back less than was sent.
pub(crate) fn echo(connection: &TcpStream, text: &str) -> Result<Value, Failure> {
    let mut connection = connection;
    let mut back = Vec::new();
    if connection.write_all(text.as_bytes()).is_ok() {
        // What came before a failure counts all the same.
        connection.take(text.len() as u64).read_to_end(&mut back).unwrap_or_default();
    }
    Ok(json!(String::from_utf8_lossy(&back)))
}

/// The lines of a message up to the empty one.
fn read_head(from: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if from.take(BODY_MAX).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => return Ok(head),
            text => head.push(text.to_owned()),
        }
    }
}

/// `http_get`. The connection, where there is one, is the caller's to keep open.
pub(crate) fn get(port: u16) -> Result<(Option<TcpStream>, Value), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let server = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(server) => above_stdio(server).during(|| "move a socket".to_owned())?,
        Err(error) => return Ok((None, json!({ "errno": errno_of(&error) as i32 }))),
    };
    let local_port = server.local_addr().during(|| "name the connected socket".to_owned())?.port();
    let body = exchange(&server, port).during(|| format!("GET from 127.0.0.1:{port}"))?;
    Ok((Some(server), json!({ "errno": 0, "body": body, "local_port": local_port })))
}

fn exchange(server: &TcpStream, port: u16) -> io::Result<String> {
    server.set_read_timeout(Some(PATIENCE))?;
    server.set_write_timeout(Some(PATIENCE))?;
    (&mut &*server).write_all(format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").as_bytes())?;
    let mut from = BufReader::new(server);
    let head = read_head(&mut from)?;
    if head.first().and_then(|status| status.split(' ').nth(1)) != Some("200") {
        return Err(Errno::EPROTO.into());
    }
    let length: u64 = head
        .iter()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .filter(|length| *length <= BODY_MAX)
        .ok_or(Errno::EPROTO)?;
    let mut body = String::new();
    if from.take(length).read_to_string(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}
