//! Memory, CPU, threads, shared memory, files and the network.

mod support;

use std::fs;

use anyhow::{Context, Result};
use nix::errno::Errno;
use podproof_witness::Command;
use serde_json::json;
use support::{AS_PID_1, Witness, eventually, is_root, mask_of, status_of};

#[test]
fn ended_main_thread_leaves_a_worker_that_obeys() -> Result<()> {
    let mut witness = Witness::start()?;
    let pid = witness.outer_pid()?;
    assert_eq!(witness.ask(Command::EndMainThread)?, "Z");
    assert!(status_of(pid, "State").is_some_and(|state| state.starts_with('Z')));
    assert_eq!(fs::read_dir(format!("/proc/{pid}/task"))?.count(), 2);
    assert_eq!(witness.ask_in_vain(Command::EndMainThread)?, Errno::EALREADY);
    let report = witness.ask(Command::Report)?;
    assert_eq!(report["ns"], serde_json::to_value(&witness.birth().ns)?);
    let fds_at_birth = witness.birth().fds.as_ref().context("no descriptors")?.len();
    assert_eq!(report["fds"].as_array().map(Vec::len), Some(fds_at_birth + 1));
    let status = report["status"].as_str().context("no status")?;
    let born = witness.birth().status.as_deref().context("no status")?;
    for key in ["SigIgn", "SigCgt", "SigBlk"] {
        assert_eq!(mask_of(status, key)?, mask_of(born, key)?, "{key}");
    }
    assert_eq!(witness.ask_pids(Command::ForkSleepers { count: 2, sessions: false })?.len(), 2);
    assert_eq!(witness.ask_pids(Command::MakeOrphans { count: 3 })?.len(), 3);
    assert!(witness.ask(Command::Spin { wall_ms: 1 })?["wall_ns"].as_u64() >= Some(1_000_000));
    assert_eq!(witness.abandon()?.code(), Some(85));
    Ok(())
}

#[test]
fn exit_from_the_worker_ends_the_process() -> Result<()> {
    let mut witness = Witness::start()?;
    witness.ask(Command::EndMainThread)?;
    witness.tell(Command::Exit { code: 9 })?;
    assert_eq!(witness.wait()?.code(), Some(9));
    Ok(())
}

#[test]
fn child_touches_what_it_is_told() -> Result<()> {
    let mut witness = Witness::start_by(&["prlimit", "--as=268435456"])?;
    let bytes = 5 * 1024 * 1024 + 4096;
    assert_eq!(
        witness.ask(Command::AllocateInChild { bytes })?,
        json!({ "touched_bytes": bytes, "status": 0 })
    );
    let refused = witness.ask(Command::AllocateInChild { bytes: 1 << 40 })?;
    assert_eq!(refused["status"], 1 << 8);
    let touched = refused["touched_bytes"].as_u64().context("no number")?;
    assert!((100 << 20..256 << 20).contains(&touched), "{touched}");
    witness.abandon()?;
    Ok(())
}

#[test]
fn what_it_touches_it_keeps() -> Result<()> {
    let mut witness = Witness::start_by(&["prlimit", "--as=268435456"])?;
    let statm = format!("/proc/{}/statm", witness.outer_pid()?);
    let resident_pages = || -> Result<u64> {
        let text = fs::read_to_string(&statm)?;
        Ok(text.split_whitespace().nth(1).context("resident")?.parse()?)
    };
    let before = resident_pages()?;
    witness.ask(Command::Touch { bytes: 8 << 20 })?;
    assert!(resident_pages()? >= before + 2000, "{before} pages before, {} after", resident_pages()?);
    assert_eq!(witness.ask_in_vain(Command::Touch { bytes: 1 << 40 })?, Errno::ENOMEM);
    witness.abandon()?;
    Ok(())
}

#[test]
fn spinning_costs_cpu_time() -> Result<()> {
    let mut witness = Witness::start()?;
    let spun = witness.ask(Command::Spin { wall_ms: 200 })?;
    let (cpu, wall) = (spun["cpu_ns"].as_u64().context("cpu")?, spun["wall_ns"].as_u64().context("wall")?);
    assert!(wall >= 200_000_000);
    // Other tests share the machine: only that it did spin, and not on two CPUs.
    assert!(cpu > 10_000_000 && cpu <= wall, "{cpu} of {wall}");
    witness.abandon()?;
    Ok(())
}

#[test]
fn heartbeat_shows_the_gap_of_a_stop() -> Result<()> {
    let mut witness = Witness::start()?;
    let pid = nix::unistd::Pid::from_raw(witness.outer_pid()?);
    assert_eq!(witness.ask_in_vain(Command::StopHeartbeat)?, Errno::ESRCH);
    witness.ask(Command::StartHeartbeat { interval_ms: 10 })?;
    assert_eq!(witness.ask_in_vain(Command::StartHeartbeat { interval_ms: 10 })?, Errno::EALREADY);
    witness.ask(Command::Spin { wall_ms: 300 })?;
    nix::sys::signal::kill(pid, nix::sys::signal::SIGSTOP)?;
    let stopped = std::time::Instant::now();
    eventually("400 ms of being stopped", || Ok(stopped.elapsed().as_millis() >= 400))?;
    nix::sys::signal::kill(pid, nix::sys::signal::SIGCONT)?;
    let noted = witness.ask(Command::StopHeartbeat)?;
    assert!(noted["beats"].as_u64() > Some(5), "{noted}");
    assert!(noted["longest_gap_ms"].as_u64() >= Some(350), "{noted}");
    // The first thread of a process makes the C library catch signal 33.
    assert_eq!(status_of(pid.as_raw(), "SigCgt").as_deref(), Some("0000000000000000"));
    // A joined thread is still counted for a moment.
    eventually("one thread", || Ok(status_of(pid.as_raw(), "Threads").as_deref() == Some("1")))?;
    witness.ask(Command::StartHeartbeat { interval_ms: 1000 })?;
    witness.abandon()?;
    Ok(())
}

#[test]
fn segment_is_shared_within_an_ipc_namespace_only() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    // Both in namespaces of their own, so that nothing can stay on the machine.
    let mut a = Witness::start_by(&["unshare", "--ipc"])?;
    let target = format!("--target={}", a.outer_pid()?);
    let mut joined = Witness::start_by(&["nsenter", &target, "--ipc"])?;
    let mut other = Witness::start_by(&["unshare", "--ipc"])?;
    let key = 0x0070_6f64;
    let made = a.ask(Command::ShmCreate { key, text: "marker of a".to_owned() })?;
    assert!(made["shmid"].is_i64());
    assert_eq!(a.ask_in_vain(Command::ShmCreate { key, text: String::new() })?, Errno::EEXIST);
    assert_eq!(a.ask_in_vain(Command::ShmCreate { key: key + 1, text: "x".repeat(65) })?, Errno::EINVAL);
    let read = json!({ "errno": 0, "text": "marker of a" });
    assert_eq!(a.ask(Command::ShmRead { key })?, read);
    assert_eq!(joined.ask(Command::ShmRead { key })?, read);
    let absent = json!({ "errno": Errno::ENOENT as i32 });
    assert_eq!(other.ask(Command::ShmRead { key })?, absent);
    joined.ask(Command::ShmRemove { key })?;
    assert_eq!(a.ask(Command::ShmRead { key })?, absent);
    assert_eq!(a.ask_in_vain(Command::ShmRemove { key })?, Errno::ENOENT);
    for witness in [a, joined, other] {
        witness.abandon()?;
    }
    Ok(())
}

#[test]
fn semaphores_and_queues_are_shared_within_an_ipc_namespace_only() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut a = Witness::start_by(&["unshare", "--ipc", "--uts"])?;
    let target = format!("--target={}", a.outer_pid()?);
    let mut joined = Witness::start_by(&["nsenter", &target, "--ipc", "--uts"])?;
    let mut other = Witness::start_by(&["unshare", "--ipc"])?;
    let (key, name) = (0x0070_6f65, "/podproof-test".to_owned());
    let absent = json!({ "errno": Errno::ENOENT as i32 });
    let change = |by, timeout_ms| Command::SemChange { key, by, timeout_ms };
    a.ask(Command::SemCreate { key })?;
    assert_eq!(a.ask(change(-1, 1))?, json!(Errno::EAGAIN as i32));
    assert_eq!(other.ask(change(1, 0))?, json!(Errno::ENOENT as i32));
    assert_eq!(joined.ask(change(1, 0))?, json!(0));
    assert_eq!(a.ask(change(-1, 1))?, json!(0));
    a.ask(Command::SemRemove { key })?;
    let text = "sent by a".to_owned();
    let sent = json!({ "errno": 0, "text": text });
    a.ask(Command::MsgCreate { key, text: text.clone() })?;
    assert_eq!(other.ask(Command::MsgReceive { key })?, absent);
    assert_eq!(joined.ask(Command::MsgReceive { key })?, sent);
    assert_eq!(joined.ask(Command::MsgReceive { key })?, json!({ "errno": Errno::ENOMSG as i32 }));
    a.ask(Command::MsgRemove { key })?;
    a.ask(Command::MqCreate { name: name.clone(), text })?;
    assert_eq!(other.ask(Command::MqReceive { name: name.clone() })?, absent);
    assert_eq!(joined.ask(Command::MqReceive { name: name.clone() })?, sent);
    a.ask(Command::MqRemove { name: name.clone() })?;
    assert_eq!(a.ask_in_vain(Command::MqRemove { name })?, Errno::ENOENT);
    a.ask(Command::SetHostname { name: "named".to_owned() })?;
    assert_eq!(joined.ask(Command::Report)?["hostname"], "named");
    for witness in [a, joined, other] {
        witness.abandon()?;
    }
    Ok(())
}

#[test]
fn posix_shared_memory_and_semaphores_cross_processes() -> Result<()> {
    let (mut a, mut b) = (Witness::start()?, Witness::start()?);
    let name = format!("/podproof-test-{}", std::process::id());
    let text = "made by a".to_owned();
    let absent = Errno::ENOENT as i32;
    assert_eq!(b.ask(Command::PosixShmRead { name: name.clone() })?, json!({ "errno": absent }));
    assert_eq!(b.ask(Command::PosixSemPost { name: name.clone() })?, json!(absent));
    a.ask(Command::PosixShmCreate { name: name.clone(), text: text.clone() })?;
    a.ask(Command::PosixSemCreate { name: name.clone() })?;
    let read = b.ask(Command::PosixShmRead { name: name.clone() });
    let posted = b.ask(Command::PosixSemPost { name: name.clone() });
    let wait = || Command::PosixSemWait { name: name.clone(), timeout_ms: 0 };
    let (taken, missed) = (a.ask(wait()), a.ask(wait()));
    for file in [format!("/dev/shm{name}"), format!("/dev/shm/sem.{}", name.trim_start_matches('/'))] {
        fs::remove_file(file)?;
    }
    assert_eq!(read?, json!({ "errno": 0, "text": text }));
    assert_eq!((posted?, taken?, missed?), (json!(0), json!(0), json!(Errno::ETIMEDOUT as i32)));
    for witness in [a, b] {
        witness.abandon()?;
    }
    Ok(())
}

#[test]
fn tmpfs_is_seen_in_its_mount_namespace_only() -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut a = Witness::start_by(&AS_PID_1)?;
    let mut b = Witness::start_by(&AS_PID_1)?;
    let path = a.dir().join("deep/mount").display().to_string();
    let marker = format!("{path}/marker");
    a.ask(Command::MountTmpfs { path: path.clone() })?;
    assert_eq!(a.ask(Command::Exists { path: marker.clone() })?, true);
    assert_eq!(a.ask(Command::ListDir { path: path.clone() })?, json!(["marker"]));
    assert_eq!(a.ask(Command::ReadFile { path: marker.clone() })?, "podproof\n");
    assert_eq!(b.ask(Command::Exists { path: path.clone() })?, true);
    assert_eq!(b.ask(Command::Exists { path: marker.clone() })?, false);
    assert_eq!(b.ask(Command::Exists { path: "/etc/passwd/x".to_owned() })?, false);
    assert_eq!(b.ask_in_vain(Command::ReadFile { path: marker })?, Errno::ENOENT);
    assert_eq!(b.ask_in_vain(Command::ListDir { path: "/nonexistent".to_owned() })?, Errno::ENOENT);
    assert_eq!(b.ask_in_vain(Command::ReadFile { path: "/dev/zero".to_owned() })?, Errno::EFBIG);
    let large = b.dir().join("large");
    // It fits as it is, but not as JSON.
    fs::write(&large, "\u{1}".repeat(100_000))?;
    assert_eq!(b.ask_in_vain(Command::ReadFile { path: large.display().to_string() })?, Errno::EMSGSIZE);
    a.abandon()?;
    b.abandon()?;
    Ok(())
}

#[test]
fn http_is_answered_and_the_connection_stays() -> Result<()> {
    let mut server = Witness::start()?;
    let mut client = Witness::start()?;
    let body = "hello from a\nsecond line";
    let port: u16 =
        serde_json::from_value(server.ask(Command::HttpServe { port: 0, body: body.to_owned() })?)?;
    assert_eq!(server.ask_in_vain(Command::HttpServe { port, body: String::new() })?, Errno::EADDRINUSE);
    let answer = client.ask(Command::HttpGet { port })?;
    assert_eq!((&answer["errno"], &answer["body"]), (&json!(0), &json!(body)));
    let local = answer["local_port"].as_u64().context("no port")?;
    let established = || -> Result<bool> {
        let ends = format!(" 0100007F:{local:04X} 0100007F:{port:04X} 01 ");
        Ok(fs::read_to_string("/proc/net/tcp")?.lines().any(|line| line.contains(&ends)))
    };
    assert!(established()?);
    client.ask(Command::HttpClose)?;
    assert!(!established()?);
    assert_eq!(client.ask_in_vain(Command::HttpClose)?, Errno::ENOTCONN);
    // One exchange only: then nobody listens.
    eventually("the end of the server", || {
        Ok(client.ask(Command::HttpGet { port })?["errno"] == Errno::ECONNREFUSED as i32)
    })?;
    server.abandon()?;
    client.abandon()?;
    Ok(())
}

#[test]
fn ping_tells_the_boot_clock() -> Result<()> {
    let mut witness = Witness::start()?;
    let now = || -> Result<u64> {
        let uptime = fs::read_to_string("/proc/uptime")?;
        let seconds: f64 = uptime.split(' ').next().context("empty")?.parse()?;
        Ok((seconds * 1e9) as u64)
    };
    let before = now()?;
    let told = witness.ask(Command::Ping)?.as_u64().context("no number")?;
    // /proc/uptime has hundredths of a second.
    assert!(before <= told && told <= now()? + 10_000_000);
    witness.abandon()?;
    Ok(())
}
