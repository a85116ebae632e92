//! The connection to the suite, and the loop that obeys it.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::channel;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket};
use nix::unistd::{getpid, gettid, sethostname};
use podproof_witness::{
    Birth, Command, EXIT_ABANDONED, EXIT_UNREACHABLE, Hello, MAX_PACKET, Outcome, Reply, Request,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::cpu::{self, Heartbeat};
use crate::failure::{During, Failure};
use crate::process::{self, Children};
use crate::{birth, complain, files, ipc, memory, net, orphans, posix, signal, sys, sysv, thread, time};

/// Connects, says hello and serves until the suite ends it. Returns the exit code of a witness that cannot.
pub(crate) fn run(name: String, birth: Birth, path: &Path) -> i32 {
    let greeted = Connection::open(path).and_then(|connection| {
        connection.greet(Hello { name, birth })?;
        Ok(connection)
    });
    match greeted {
        Ok(connection) => Session::new(connection).serve(),
        Err(failure) => {
            complain(&format!(
                "{failure}; is the suite listening, and its directory bound into the container?"
            ));
            EXIT_UNREACHABLE
        }
    }
}

/// The connection to the suite: one packet, one message.
#[derive(Debug)]
struct Connection(OwnedFd);

impl Connection {
    fn open(path: &Path) -> Result<Self, Failure> {
        let op = || format!("connect to {}", path.display());
        let address = UnixAddr::new(path).during(op)?;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
            .and_then(sys::above_stdio)
            .during(|| "make a socket".to_owned())?;
        loop {
            match connect(fd.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self(fd)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::new(op(), errno)),
            }
        }
    }

    /// Sends the first message. One part of it can outgrow a packet: then it is left out, as one that could not be read.
    fn greet(&self, mut hello: Hello) -> Result<(), Failure> {
        let result = self.send(&hello);
        if result != Err(Errno::EMSGSIZE) {
            return result.during(|| "say hello".to_owned());
        }
        complain("the mount table is too long for a packet and left out of the birth report");
        hello.birth.mountinfo = None;
        self.send(&hello).during(|| "say hello".to_owned())
    }

    fn send(&self, message: &impl Serialize) -> Result<(), Errno> {
        let packet = serde_json::to_vec(message).map_err(|_unserialisable| Errno::EPROTO)?;
        if packet.len() > MAX_PACKET {
            return Err(Errno::EMSGSIZE);
        }
        loop {
            // Without the signal: SIGPIPE keeps the disposition that the container was started with.
            match send(self.0.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// The next packet; `None` when the suite is gone.
    fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        loop {
            // With MSG_TRUNC the result is the length of the packet, even where it does not fit.
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(None),
                Ok(len) if len > buffer.len() => return Err(Errno::EMSGSIZE),
                Ok(len) => return Ok(Some(len)),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// What lasts from one command to the next.
#[derive(Debug)]
struct Session {
    connection: Connection,
    children: Children,
    heartbeat: Option<Heartbeat>,
    http: Option<TcpStream>,
}

impl Session {
    fn new(connection: Connection) -> Self {
        Self { connection, children: Children::default(), heartbeat: None, http: None }
    }

    fn serve(mut self) -> ! {
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let packet = match self.connection.receive(&mut buffer) {
                Ok(Some(len)) => &buffer[..len],
                Ok(None) => self.abandon(),
                Err(errno) => {
                    complain(&format!("receive a command: {}", errno.desc()));
                    self.abandon()
                }
            };
            match serde_json::from_slice(packet) {
                Ok(Request { id, command: Command::EndMainThread }) => self = self.end_main_thread(id),
                Ok(Request { id, command }) => {
                    let outcome = self.obey(command);
                    self.reply(id, outcome);
                }
                Err(problem) => {
                    let id =
                        serde_json::from_slice::<Value>(packet).ok().and_then(|value| value["id"].as_u64());
                    let failure = Failure::new(format!("understand a command: {problem}"), Errno::EPROTO);
                    self.reply(id.unwrap_or(0), Err(failure));
                }
            }
        }
    }

    fn reply(&mut self, id: u64, outcome: Result<Value, Failure>) {
        let outcome = outcome.map_or_else(Failure::into_outcome, Outcome::Done);
        let sent = match self.connection.send(&Reply { id, outcome }) {
            Err(Errno::EMSGSIZE) => {
                let failure = Failure::new("reply: the value is too long for a packet", Errno::EMSGSIZE);
                self.connection.send(&Reply { id, outcome: failure.into_outcome() })
            }
            sent => sent,
        };
        if let Err(errno) = sent {
            complain(&format!("reply: {}", errno.desc()));
            self.abandon();
        }
    }

    /// The suite is gone: nothing of it may stay behind.
    fn abandon(&mut self) -> ! {
        self.children.abandon();
        sys::exit(EXIT_ABANDONED)
    }

    fn obey(&mut self, command: Command) -> Result<Value, Failure> {
        match command {
            Command::Ping => cpu::ping(),
            Command::Report => serde_json::to_value(birth::report())
                .map_err(io::Error::from)
                .during(|| "write the birth report as JSON".to_owned()),
            Command::Processes => process::processes(),
            Command::ForkSleepers { count, sessions } => self.children.fork_sleepers(count, sessions),
            Command::ForkStaying { count, for_ms } => Children::fork_staying(count, for_ms),
            Command::ForkNested => self.children.fork_nested(),
            Command::FindFromNested { pids } => process::find_from_nested(&pids),
            Command::BecomeSubreaper => process::become_subreaper(),
            Command::Reboot => process::reboot(),
            Command::MakeOrphans { count } => self.children.make_orphans(count, false),
            Command::MakeDaemons { count } => self.children.make_orphans(count, true),
            Command::StreamOrphans { count, at_most, timeout_ms } => {
                orphans::stream(count, at_most, timeout_ms)
            }
            Command::ForkExiting { code } => Children::fork_exiting(code),
            Command::WaitChild { pid } => Ok(process::wait_child(pid)),
            Command::ReleaseOrphans => Ok(self.children.release_orphans()),
            Command::CountZombies => process::count_zombies(),
            Command::WaitZombies { at_most, timeout_ms } => {
                process::wait_zombies(|count| count <= at_most, timeout_ms)
            }
            Command::WaitZombiesReach { at_least, timeout_ms } => {
                process::wait_zombies(|count| count >= at_least, timeout_ms)
            }
            Command::SignalFromChild { pid, signal } => process::signal_from_child(pid, signal),
            Command::CatchAllSignals => Ok(signal::catch_all()),
            Command::CaughtSignals { at_least, timeout_ms } => signal::caught(at_least, timeout_ms),
            // The loop serves it, because it hands the session over; a second one finds no main thread to end.
            Command::EndMainThread => Err(Failure::new("end the main thread again", Errno::EALREADY)),
            Command::Touch { bytes } => memory::touch(bytes as usize).map(|()| Value::Null),
            Command::AllocateInChild { bytes } => memory::allocate_in_child(bytes),
            Command::StartHeartbeat { interval_ms } => self.start_heartbeat(interval_ms),
            Command::StopHeartbeat => match self.heartbeat.take() {
                Some(heartbeat) => heartbeat.stop(),
                None => Err(Failure::new("stop a heartbeat that was not started", Errno::ESRCH)),
            },
            Command::Spin { wall_ms } => cpu::spin(wall_ms),
            Command::ForkUntilRefused { at_most } => process::fork_until_refused(at_most),
            Command::ThreadsUntilRefused { at_most } => thread::until_refused(at_most),
            Command::ShmCreate { key, text } => ipc::create(key, &text),
            Command::ShmRead { key } => ipc::read(key),
            Command::ShmRemove { key } => ipc::remove(key),
            Command::SemCreate { key } => sysv::sem_create(key),
            Command::SemChange { key, by, timeout_ms } => sysv::sem_change(key, by, timeout_ms),
            Command::SemRemove { key } => sysv::sem_remove(key),
            Command::MsgCreate { key, text } => sysv::msg_create(key, &text),
            Command::MsgReceive { key } => sysv::msg_receive(key),
            Command::MsgRemove { key } => sysv::msg_remove(key),
            Command::MqCreate { name, text } => posix::mq_create(&name, &text),
            Command::MqReceive { name } => posix::mq_receive_now(&name),
            Command::MqRemove { name } => posix::mq_remove(&name),
            Command::PosixShmCreate { name, text } => posix::shm_create(&name, &text),
            Command::PosixShmRead { name } => posix::shm_read(&name),
            Command::PosixSemCreate { name } => posix::sem_create(&name),
            Command::PosixSemPost { name } => posix::sem_post(&name),
            Command::PosixSemWait { name, timeout_ms } => posix::sem_wait(&name, timeout_ms),
            Command::SetHostname { name } => {
                sethostname(&name).map(|()| Value::Null).during(|| format!("set the host name {name}"))
            }
            Command::MountTmpfs { path } => files::mount_tmpfs(Path::new(&path)),
            Command::Exists { path } => files::exists(Path::new(&path)),
            Command::ReadFile { path } => files::read(Path::new(&path)),
            Command::WriteFile { path, text } => Ok(files::write(Path::new(&path), &text)),
            Command::Clocks => time::clocks(),
            Command::ListDir { path } => files::list(Path::new(&path)),
            Command::HttpServe { port, body } => net::serve(port, body),
            Command::HttpGet { port } => {
                let (connection, value) = net::get(port)?;
                self.http = connection;
                Ok(value)
            }
            Command::HttpEcho { text } => match &self.http {
                Some(connection) => net::echo(connection, &text),
                None => Err(Failure::new("use a connection that is not open", Errno::ENOTCONN)),
            },
            Command::TrySetHostname { name, thread } => thread::set_hostname(name, thread),
            Command::TryWrite { path } => Ok(files::try_write(Path::new(&path))),
            Command::BreakOut { jail, marker } => self.children.break_out(&jail, &marker),
            Command::Fault => sys::fault(),
            Command::HttpClose => match self.http.take() {
                Some(connection) => {
                    drop(connection);
                    Ok(Value::Null)
                }
                None => Err(Failure::new("close a connection that is not open", Errno::ENOTCONN)),
            },
            Command::Exit { code } => sys::exit(code),
        }
    }

    fn start_heartbeat(&mut self, interval_ms: u64) -> Result<Value, Failure> {
        if self.heartbeat.is_some() {
            return Err(Failure::new("start a second heartbeat", Errno::EALREADY));
        }
        self.heartbeat = Some(Heartbeat::start(interval_ms)?);
        Ok(json!(null))
    }

    /// Hands the session to a worker thread and ends the main thread. Returns the session only where that failed.
    fn end_main_thread(mut self, id: u64) -> Self {
        if gettid() != getpid() {
            let outcome = self.obey(Command::EndMainThread);
            self.reply(id, outcome);
            return self;
        }
        // Through a channel, so that a thread that cannot be started does not take the session with it.
        let (hand_over, taken_over) = channel::<Self>();
        let worker = thread::spawn("worker", None, move || {
            if let Ok(mut session) = taken_over.recv() {
                let outcome = thread::wait_for_leader_end();
                session.reply(id, outcome);
                session.serve();
            }
        });
        if let Err(failure) = worker {
            self.reply(id, Err(failure));
            return self;
        }
        match hand_over.send(self) {
            Ok(()) => sys::end_this_thread(),
            Err(not_taken) => not_taken.0,
        }
    }
}
