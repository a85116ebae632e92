//! Clients that mean no good, limits that are met, and names that are no text.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::sys::stat::Mode;
use procfs::process::{LimitValue, Process};

use crate::container::{Container, run};
use crate::exporter::{Exporter, SERVE, until};
use crate::support::Sample;
use crate::{Case, Res, expect};

pub(crate) const CASES: &[Case] = &[
    ("hostile::many_scrapes_at_once_are_answered_or_refused", many_at_once),
    ("hostile::who_looks_at_pages_takes_nothing_from_scrapes", pages_beside_scrapes),
    ("hostile::silent_clients_do_not_hold_others_up", silent_clients),
    ("hostile::slow_readers_of_a_large_body_have_a_deadline_and_bounded_memory", slow_readers),
    ("hostile::a_head_that_never_ends_is_given_up", a_head_that_never_ends),
    ("hostile::idle_connections_leave_descriptors_for_scrapes", idle_connections),
    ("hostile::the_soft_limit_of_descriptors_is_raised", the_soft_limit_is_raised),
    ("hostile::requests_that_are_none_are_refused", nonsense),
    ("hostile::large_bodies_of_requests_are_not_read", large_bodies),
    ("hostile::an_end_does_not_wait_for_clients", an_end_does_not_wait),
    ("hostile::a_scrape_in_progress_is_finished_at_the_end", a_scrape_is_finished),
    ("hostile::a_turn_that_hangs_is_told_and_keeps_nobody_from_the_end", a_turn_that_hangs),
    ("hostile::a_cri_runtime_that_hangs_holds_no_scrape_up", a_runtime_that_hangs),
    ("hostile::names_that_are_no_text_break_nothing", strange_names),
    ("hostile::names_that_users_choose_stay_one_label", chosen_names),
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

/// Containers of a node that is well filled; some ten kilobytes of a scrape each.
const MANY: u32 = 150;
const SLOW: usize = 60;
/// As many answers as may wait for their clients by default, and as many as may be made beside them.
const UNSENT: f64 = 16.0 + 4.0;
/// What a client may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two reads of a slow client, and what it reads then: so much that the exporter can write on, which the kernel allows when a
/// quarter of a socket's buffer is left.
const PAUSE: Duration = Duration::from_secs(3);
const MORSEL: usize = 200 << 10;

/// A client that reads a little now and then.
struct Slow {
    stream: UnixStream,
    read_at: Instant,
    n_read: usize,
}

impl Slow {
    /// Asks for the metrics, and reads the first line of the answer; `None` when it is another than 200.
    fn ask(exporter: &Exporter) -> Res<Option<Self>> {
        let mut stream = exporter.connect()?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        let own = Self { stream, read_at: Instant::now(), n_read: first.len() };
        match &first {
            b"HTTP/1.1 200" => Ok(Some(own)),
            b"HTTP/1.1 503" => Ok(None),
            other => Err(format!("answered with {}", String::from_utf8_lossy(other)).into()),
        }
    }

    fn take_a_little(&mut self) {
        if self.read_at.elapsed() < PAUSE {
            return;
        }
        self.read_at = Instant::now();
        // The rest is there already, or the connection is closed.
        self.n_read += self.stream.read(&mut vec![0; MORSEL]).unwrap_or(0);
    }

    /// All that it ever gets.
    fn take_all(mut self) -> usize {
        let mut rest = Vec::new();
        _ = self.stream.read_to_end(&mut rest);
        self.n_read + rest.len()
    }
}

fn slow_readers() -> Res<()> {
    let made = (0..MANY).map(|n| Container::new(format!("{n:012x}{}", "5".repeat(52))));
    let made = made.collect::<Res<Vec<_>>>()?;
    let exporter = Exporter::start(&[])?;
    let last = made.last().ok_or("no container")?.series("execs_total", "");
    until("the containers", || Ok(exporter.scrape()?.get(&last).copied()))?;
    let size = exporter.get("/metrics")?.1.len();
    let pid = exporter.pid()?;
    let resident = || -> Res<u64> { Ok(Process::new(pid)?.status()?.vmrss.ok_or("no VmRSS")? << 10) };
    let before = resident()?;
    let (mut slow, mut most) = (Vec::new(), before);
    for _ in 0..SLOW {
        slow.extend(Slow::ask(&exporter)?);
        slow.iter_mut().for_each(Slow::take_a_little);
        most = most.max(resident()?);
    }
    let began = Instant::now();
    // They go on; who comes then is answered once the time of the first of them is over.
    until("a scrape beside them", || {
        slow.iter_mut().for_each(Slow::take_a_little);
        Ok(exporter.scrape().ok())
    })?;
    let waited = began.elapsed();
    expect(&format!("a scrape waits for {waited:?} at most"), waited < PATIENCE * 2, true)?;
    let (n_slow, size_f64) = (slow.len(), f64::from(u32::try_from(size)?));
    let grown = f64::from(u32::try_from(most.saturating_sub(before))?);
    if n_slow == 0 || grown > UNSENT * size_f64 * 1.25 {
        return Err(format!("{n_slow} slow readers of {size} bytes made it {grown} bytes bigger").into());
    }
    while began.elapsed() < PATIENCE * 2 {
        slow.iter_mut().for_each(Slow::take_a_little);
        poll(&mut [], PollTimeout::from(250u8))?;
    }
    let whole = slow.into_iter().map(Slow::take_all).filter(|n| *n >= size).count();
    expect("slow readers that got all", whole, 0)
}

fn a_head_that_never_ends() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let mut client = exporter.connect()?;
    client.set_nonblocking(true)?;
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: ")?;
    until("the end of the connection", || {
        let is_open = client.write_all(b"x").is_ok()
            && match client.read(&mut [0; 512]) {
                Ok(n) => n > 0,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            };
        Ok((!is_open).then_some(()))
    })?;
    exporter.scrape().map(drop)
}

/// What is left to connections.
const FEW: usize = 20;
/// What the exporter keeps for itself, beside what it has open already.
const RESERVE: usize = 64;

/// An exporter that is started by a shell after this.
fn limited(limits: &str) -> Res<Exporter> {
    let dir = tempfile::tempdir()?;
    let socket = format!("unix://{}", dir.path().join("socket").display());
    let script = format!("{limits} && exec \"$@\"");
    let mut command = Command::new("/bin/busybox");
    command.args(["sh", "-c", &script, "sh"]).arg(std::env::current_exe()?);
    command.args([SERVE, "--log.level", "error", "--web.listen-address", &socket]);
    Exporter::start_command(&mut command, dir)
}

fn idle_connections() -> Res<()> {
    let unlimited = Exporter::start(&[])?;
    let open = Process::new(unlimited.pid()?)?.fd_count()?;
    drop(unlimited);
    let exporter = limited(&format!("ulimit -n {}", open + RESERVE + FEW))?;
    let mut first = exporter.connect()?;
    first.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut code = [0; 12];
    first.read_exact(&mut code)?;
    expect("code", &code[..], &b"HTTP/1.1 200"[..])?;
    let idle = (0..10 * FEW).map(|_| exporter.connect()).collect::<Res<Vec<_>>>()?;
    let _container = Container::new("6".repeat(64))?;
    first.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    first.read_to_string(&mut text)?;
    let outcomes = text.lines().filter(|line| line.starts_with("podproof_scrape_collector_success{"));
    let (good, bad): (Vec<_>, Vec<_>) = outcomes.partition(|line| line.ends_with(" 1"));
    expect("collectors that failed", bad, vec![])?;
    expect("collectors that did not", good.len() > 5, true)?;
    // Who comes while they are there is answered.
    exporter.scrape()?;
    drop(idle);
    exporter.scrape().map(drop)
}

fn the_soft_limit_is_raised() -> Res<()> {
    let exporter = limited("ulimit -S -n 64")?;
    let limit = Process::new(exporter.pid()?)?.limits()?.max_open_files;
    let is_raised = match (limit.soft_limit, limit.hard_limit) {
        (LimitValue::Value(soft), LimitValue::Value(hard)) => soft == hard && soft > 64,
        (soft, hard) => matches!((soft, hard), (LimitValue::Unlimited, LimitValue::Unlimited)),
    };
    expect(&format!("the soft limit is the hard one: {limit:?}"), is_raised, true)
}

fn large_bodies() -> Res<()> {
    let exporter = Exporter::start(&[])?;
    let before = resident(&exporter)?;
    let body = vec![b'x'; 10 << 20];
    for (request, wanted) in
        [("POST /metrics", 405), ("GET /metrics", 200), ("GET /none", 404), ("POST /", 405)]
    {
        for length in ["Content-Length: 10485760\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut client = exporter.connect()?;
            let begin = if length.starts_with('T') { "A00000\r\n" } else { "" };
            let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n{begin}");
            client.write_all(head.as_bytes())?;
            // The server may hang up before it has all.
            _ = client.write_all(&body);
            expect(&format!("code for {request} with {length:?}"), code(&mut client), wanted)?;
        }
    }
    let grown = resident(&exporter)? - before;
    expect(&format!("it is {grown} bytes bigger"), grown < 5.0 * 1_048_576.0, true)?;
    // A part of it, and no more.
    let mut half = exporter.connect()?;
    half.write_all(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10485760\r\n\r\nxxx")?;
    expect("code for a part of a body", code(&mut half), 405)
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

fn a_scrape_is_finished() -> Res<()> {
    // More than the buffers of a connection hold.
    let made =
        (0..100).map(|n| Container::new(format!("{n:012x}{}", "4".repeat(52)))).collect::<Res<Vec<_>>>()?;
    let mut exporter = Exporter::start(&[])?;
    let last = made.last().ok_or("no container")?.series("execs_total", "");
    until("the containers", || Ok(exporter.scrape()?.get(&last).copied()))?;
    let client = Slow::ask(&exporter)?.ok_or("the scrape is refused")?;
    exporter.signal()?;
    until("the end of its listener", || Ok(exporter.connect().is_err().then_some(())))?;
    let mut rest = String::new();
    let mut stream = client.stream;
    stream.read_to_string(&mut rest)?;
    // The last part of it, and the end of what comes in chunks.
    let is_whole = rest.contains("\nprocess_start_time_seconds ") && rest.ends_with("\r\n0\r\n\r\n");
    expect("the scrape is whole", is_whole, true)?;
    expect("exit code", exporter.wait(PATIENCE)?, Some(0))
}

/// After which an exporter that does not look around any more is not healthy.
const STALL: Duration = Duration::from_secs(30);

/// Makes a pipe of a file that the exporter reads when it changes, and waits until it reads that. It does until what is given is dropped.
fn hang(file: &Path) -> Res<File> {
    let pipe = file.with_extension("pipe");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU)?;
    fs::rename(&pipe, file)?;
    // Refused as long as nobody reads.
    let mut options = File::options();
    options.write(true).custom_flags(nix::libc::O_NONBLOCK);
    until("the exporter to read a pipe", || Ok(options.open(file).ok()))
}

fn a_turn_that_hangs() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("web.yml");
    fs::write(&file, "")?;
    let mut exporter = Exporter::start(&["--web.config.file", &file.display().to_string()])?;
    let pipe = hang(&file)?;
    let began = Instant::now();
    expect("health at first", exporter.get("/-/healthy")?.0, 200)?;
    until("its illness", || Ok((exporter.get("/-/healthy")?.0 == 503).then_some(())))?;
    let ill = began.elapsed();
    // The clock of its turns has seconds only.
    expect(&format!("it was ill after {ill:?}"), ill >= STALL - Duration::from_secs(2), true)?;
    expect("its alias", exporter.get("/livez")?.0, 503)?;
    expect("code of a scrape", exporter.get("/metrics")?.0, 200)?;
    let whole = dir.path().join("whole");
    fs::write(&whole, "# nothing\n")?;
    fs::rename(&whole, &file)?;
    drop(pipe);
    until("its health", || Ok((exporter.get("/-/healthy")?.0 == 200).then_some(())))?;
    // It hangs again, and ends all the same.
    let _pipe = hang(&file)?;
    exporter.signal()?;
    expect("exit code", exporter.wait(PATIENCE)?, Some(0))
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

fn a_runtime_that_hangs() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("cri.sock");
    // It takes connections, and never says a word.
    let _silent = UnixListener::bind(&path)?;
    let exporter =
        Exporter::start(&["--metadata.cri-socket", &path.display().to_string(), "--metadata.wait", "1s"])?;
    let container = Container::new("8".repeat(64))?;
    let execs = container.series("execs_total", "");
    let mut longest = Duration::ZERO;
    until("the container, by its id", || {
        let began = Instant::now();
        let scrape = exporter.scrape()?;
        longest = longest.max(began.elapsed());
        Ok(scrape.get(&execs).copied())
    })?;
    // It is asked for two seconds each time.
    expect(&format!("a scrape takes {longest:?} at most"), longest < Duration::from_secs(2), true)?;
    let errors = "podproof_metadata_resolutions_total{source=\"cri\",result=\"error\"}";
    until("what became of the runtime", || Ok(exporter.scrape()?.get(errors).copied().filter(|n| *n > 0.0)))
        .map(drop)
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

/// What a user's service manager may be called, on a node that does not check it; no name of a cgroup has a line's end.
const CHOSEN: &str = "user@<b>\"a\\,b=\"} 1\t\u{fc}\r#.service";

fn chosen_names() -> Res<()> {
    let id = "e".repeat(64);
    let level = Below::new(Path::new("/sys/fs/cgroup").join(CHOSEN))?;
    let cgroup = Below::new(level.0.join(&id))?;
    let exporter = Exporter::start(&["--metadata.wait", "0s"])?;
    run(&cgroup.0, "true")?;
    let container = format!("{CHOSEN}/{}", &id[..12]);
    let labels = [("namespace", ""), ("pod", ""), ("container", &container), ("reason", "success")];
    let labels = labels.map(|(name, value)| (name, value.to_owned()));
    until("the container", || {
        let (_code, text) = exporter.get("/metrics")?;
        for line in text.split('\n').filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let sample = Sample::parse(line)?;
            if sample.name == "podproof_exits_total" && sample.labels == labels {
                return Ok(Some(()).filter(|()| sample.value == 1.0));
            }
        }
        Ok(None)
    })?;
    let (_code, page) = exporter.get("/")?;
    let is_shown = ["<b>", "user@&lt;b&gt;"].map(|name| page.contains(name));
    expect("the name as markup and as text on the landing page", is_shown, [false, true])
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
