//! Clients that mean no good, and names that are no text.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::container::{Container, run};
use crate::exporter::{Exporter, until};
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("hostile::many_scrapes_at_once_are_answered_or_refused", many_at_once),
    ("hostile::who_looks_at_pages_takes_nothing_from_scrapes", pages_beside_scrapes),
    ("hostile::silent_clients_do_not_hold_others_up", silent_clients),
    ("hostile::requests_that_are_none_are_refused", nonsense),
    ("hostile::an_end_does_not_wait_for_clients", an_end_does_not_wait),
    ("hostile::names_that_are_no_text_break_nothing", strange_names),
];

/// Scrapes at once.
const CROWD: u16 = 1000;
/// Most bytes that one of them may cost while it waits: twice what a connection's buffers take.
const CLIENT_BYTES: f64 = 32_768.0;

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
    let before = resident(&exporter)?;
    for _ in 0..CROWD {
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
        return Err(format!("{CROWD} scrapes at once were answered with {codes:?}").into());
    }
    // Each of them is counted, and the next is served.
    let scrape = exporter.scrape()?;
    let grown = resident(&exporter)? - before;
    if grown > CLIENT_BYTES * f64::from(CROWD) {
        return Err(format!("{CROWD} scrapes at once made it {grown} bytes bigger").into());
    }
    let of = |code: u16| {
        scrape.get(&format!("podproof_http_requests_total{{handler=\"metrics\",code=\"{code}\"}}"))
    };
    let counted = [200, 503].map(|code| of(code).map_or(0, |count| format!("{count}").parse().unwrap_or(0)));
    // The one before them is among those.
    expect("requests that were counted", counted.iter().sum::<u16>(), CROWD + 1)
}

fn pages_beside_scrapes() -> Res<()> {
    let exporter = Exporter::start(&["--web.max-requests", "1"])?;
    let mut browsers = Vec::new();
    for _ in 0..100 {
        let mut browser = exporter.connect()?;
        browser.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        browsers.push(browser);
    }
    expect("code of a scrape beside them", exporter.get("/metrics")?.0, 200)?;
    let mut codes = BTreeMap::<u16, usize>::new();
    for browser in &mut browsers {
        *codes.entry(code(browser)).or_default() += 1;
    }
    let others = codes.keys().filter(|code| ![200, 503].contains(*code)).count();
    expect(&format!("other codes than 200 and 503 in {codes:?}"), others, 0)?;
    expect("pages that were shown", codes.get(&200).is_some_and(|count| *count > 0), true)
}

/// Bytes of memory that it has.
fn resident(exporter: &Exporter) -> Res<f64> {
    let scrape = exporter.scrape()?;
    Ok(*scrape.get("process_resident_memory_bytes").ok_or("no memory of the process")?)
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

/// The kernel refuses only a newline in the name of a cgroup; the kubelet's directories of logs are anybody's who can write there.
const STRANGE: [&[u8]; 5] =
    [b"a\"b", b"back\\slash", b"\xff\xfe", b"{x=\"1\"} 7", "\u{202e}\u{fc}".as_bytes()];

fn strange_names() -> Res<()> {
    const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";
    let logs = tempfile::tempdir()?;
    for name in STRANGE.into_iter().chain([&b"new\nline"[..]]) {
        let directory = [name, b"_web_", UID.as_bytes()].concat();
        fs::create_dir_all(logs.path().join("pods").join(OsStr::from_bytes(&directory)))?;
    }
    let logs = logs.path().display().to_string();
    let exporter = Exporter::start(&["--path.logs", &logs, "--metadata.wait", "0s"])?;
    let container = Container::new("d".repeat(64))?;
    let pods = Below::new(PathBuf::from("/sys/fs/cgroup/kubepods"))?;
    let pod = Below::new(pods.0.join(format!("pod{UID}")))?;
    let exits = container.series("exits_total", "reason=\"success\"");
    until("the container", || Ok(exporter.scrape()?.get(&exits).copied()))?;
    let mut inner = Vec::new();
    for name in STRANGE {
        for parent in [&container.path, &pod.0] {
            let cgroup = Below::new(parent.join(OsStr::from_bytes(name)))?;
            run(&cgroup.0, "true")?;
            inner.push(cgroup);
        }
    }
    // What is in a container or a pod is its own, whatever its name; the pod has none but its uid.
    let of_pod =
        format!("podproof_exits_total{{namespace=\"\",pod=\"{UID}\",container=\"\",reason=\"success\"}}");
    let n = STRANGE.iter().map(|_| 1.0).sum::<f64>();
    let scrape = exporter.scrape()?;
    expect(&exits, scrape.get(&exits).copied(), Some(n))?;
    expect(&of_pod, scrape.get(&of_pod).copied(), Some(n))?;
    let (code, _) = exporter.get("/")?;
    expect("code of the landing page", code, 200)
}

/// A cgroup; removed with the test.
struct Below(PathBuf);

impl Below {
    fn new(path: PathBuf) -> Res<Self> {
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("the cgroup {} is left: {error}", self.0.display());
        }
    }
}
