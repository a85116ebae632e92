//! Clients that mean no good.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::exporter::{Exporter, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("hostile::many_scrapes_at_once_are_answered_or_refused", many_at_once),
    ("hostile::silent_clients_do_not_hold_others_up", silent_clients),
    ("hostile::requests_that_are_none_are_refused", nonsense),
    ("hostile::an_end_does_not_wait_for_clients", an_end_does_not_wait),
];

/// Status code of an answer, or 0 when there was none.
fn code(stream: &mut UnixStream) -> u16 {
    let mut answer = Vec::new();
    // What came before the connection broke counts.
    _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

fn many_at_once() -> Res<()> {
    let exporter = Exporter::start(&["--web.max-requests", "2"])?;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = exporter.connect()?;
        client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        clients.push(client);
    }
    let mut codes = BTreeMap::<u16, usize>::new();
    for client in &mut clients {
        *codes.entry(code(client)).or_default() += 1;
    }
    let others = codes.keys().filter(|code| ![200, 503].contains(*code)).count();
    if others > 0 || codes.get(&200).is_none_or(|count| *count < 2) {
        return Err(format!("200 scrapes at once were answered with {codes:?}").into());
    }
    // Each of them is counted, and the next is served.
    let scrape = exporter.scrape()?;
    let of = |code: u16| {
        scrape.get(&format!("podproof_http_requests_total{{handler=\"metrics\",code=\"{code}\"}}"))
    };
    let counted = [200, 503].map(|code| of(code).map_or(0, |count| format!("{count}").parse().unwrap_or(0)));
    expect("requests that were counted", counted.iter().sum::<usize>(), 200)
}

fn silent_clients() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut client = exporter.connect()?;
        client.write_all(b"GET /metr")?;
        silent.push(client);
    }
    // It asks, and never reads what it gets.
    for client in &mut silent[..10] {
        client.write_all(b"ics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    }
    expect("code", exporter.get("/-/healthy")?.0, 200)?;
    // Until their pages are made they take the room of other scrapes.
    until("a scrape beside them", || Ok(exporter.scrape().ok())).map(drop)
}

fn nonsense() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let long = format!("GET /{} HTTP/1.0\r\n\r\n", "a".repeat(10 << 20));
    let heads = format!("GET / HTTP/1.0\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for (request, wanted) in [
        ("GET /../etc/passwd HTTP/1.0\r\n\r\n", &[404][..]),
        ("POST /metrics HTTP/1.0\r\n\r\n", &[405]),
        ("\u{0}\u{1}\u{2}\r\n\r\n", &[400, 0]),
        ("GET", &[400, 0]),
        (&long, &[400, 414, 431, 0]),
        (&heads, &[400, 431, 0]),
    ] {
        let mut client = exporter.connect()?;
        // The server may hang up before it has all.
        _ = client.write_all(request.as_bytes());
        if !request.ends_with("\r\n\r\n") {
            client.shutdown(std::net::Shutdown::Write)?;
        }
        let code = code(&mut client);
        if !wanted.contains(&code) {
            let start: String = request.chars().take(30).collect();
            return Err(format!("{start:?} is answered with {code}").into());
        }
    }
    expect("code", exporter.get("/-/healthy")?.0, 200)
}

fn an_end_does_not_wait() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let mut kept = exporter.connect()?;
    kept.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut first = [0; 12];
    kept.read_exact(&mut first)?;
    expect("answer", String::from_utf8_lossy(&first).into_owned(), "HTTP/1.1 200".to_owned())?;
    let mut half = exporter.connect()?;
    half.write_all(b"GET /")?;
    expect("exit code", exporter.stop()?, Some(0))
}
