//! What holds now; the files may change at any time.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use axum::http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::auth::{Decision, Users};
use super::config::{self, Config, WebError};
use super::gate::Gate;
use super::rate::Bucket;
use super::tls;

/// TLS, passwords, headers and how many requests are answered, as the files have them.
#[derive(Debug)]
pub struct Web {
    path: Option<PathBuf>,
    now: RwLock<Arc<State>>,
    /// All that was read last, or was to be.
    seen: Mutex<Vec<Seen>>,
    /// To the checks of passwords.
    gate: Gate,
}

#[derive(Debug, Default)]
struct State {
    tls: Option<Arc<ServerConfig>>,
    users: Users,
    bucket: Option<Bucket>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A file, as it was before it was read: what is written while it is read makes it another one.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    /// `None` when it was not there.
    stamp: Option<Stamp>,
}

/// Device, inode, size, and seconds and nanoseconds of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl Web {
    /// Reads the file; without one there is neither TLS nor a password.
    ///
    /// # Errors
    /// When it, or a file that it names, cannot be used.
    pub fn read(path: Option<&Path>) -> Result<Self, WebError> {
        let mut seen = Vec::new();
        let state = path.map_or_else(|| Ok(State::default()), |path| state(path, &mut seen))?;
        Ok(Self {
            path: path.map(Path::to_owned),
            now: RwLock::new(Arc::new(state)),
            seen: Mutex::new(seen),
            gate: Gate::default(),
        })
    }

    /// Reads the files again if one has changed. What holds stays until they can all be used.
    pub(crate) fn turn(&self) {
        let Some(path) = &self.path else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.iter().all(Seen::is_current) {
            return;
        }
        seen.clear();
        match state(path, &mut seen) {
            Ok(mut state) => {
                let before = self.now();
                // Listeners were opened, or refused, by what held at the start.
                if state.tls.is_some() != before.tls.is_some() {
                    let what = if before.tls.is_some() { "ends" } else { "begins" };
                    tracing::warn!("{}: TLS {what} with a restart only; all else holds", path.display());
                    state.tls.clone_from(&before.tls);
                }
                state.users.remember(&before.users);
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                tracing::info!("{} is read again", path.display());
            }
            Err(error) => tracing::error!("{error}; what was read before holds on"),
        }
    }

    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.now().tls.clone()
    }

    /// Somebody has to say who they are.
    pub(crate) fn has_users(&self) -> bool {
        !self.now().users.is_empty()
    }

    /// By the value of the header `Authorization`. A password that was not right before waits until it can be checked, with few others.
    pub(crate) async fn decide(&self, authorization: Option<&[u8]>) -> Decision {
        let state = self.now();
        let claim = match state.users.recall(authorization) {
            Ok(decision) => return decision,
            Err(claim) => claim,
        };
        let Some(turn) = self.gate.enter().await else { return Decision::Busy };
        if state.users.knows(&claim) {
            return Decision::Welcome;
        }
        turn.work(move || state.users.check(&claim)).await.unwrap_or(Decision::Unknown)
    }

    /// Whether another request may be answered.
    pub(crate) fn admits(&self) -> bool {
        self.now().bucket.as_ref().is_none_or(|bucket| bucket.take(Instant::now()))
    }

    /// Of every answer.
    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        self.now().headers.clone()
    }

    fn now(&self) -> Arc<State> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Seen {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), stamp: stamp(path) }
    }

    fn is_current(&self) -> bool {
        stamp(&self.path) == self.stamp
    }
}

/// Reads all, and adds what it is about to read to `seen`: also what then cannot be read or used, as that may be mended later.
fn state(path: &Path, seen: &mut Vec<Seen>) -> Result<State, WebError> {
    seen.push(Seen::of(path));
    let Config { tls, headers, users, rate } = config::read(path)?;
    if let Some(tls) = &tls {
        let client = tls.client.iter().map(|client| &client.ca_file);
        seen.extend([&tls.cert_file, &tls.key_file].into_iter().chain(client).map(|file| Seen::of(file)));
    }
    let tls = tls.as_ref().map(tls::server).transpose()?.map(Arc::new);
    Ok(State { tls, users: Users::new(users), bucket: rate.map(Bucket::new), headers })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use tokio::task::JoinSet;

    use super::*;
    use crate::web::samples::write_certificate;

    const CROWD: usize = 300;

    fn file(hash: &str) -> String {
        format!("basic_auth_users:\n  a: {hash}\n")
    }

    async fn decide(web: &Web, text: &str) -> Decision {
        let header = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
        web.decide(Some(header.as_bytes())).await
    }

    #[tokio::test]
    async fn a_changed_file_holds_and_a_broken_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
        fs::write(&path, file(&hash("one"))).unwrap();
        let web = Web::read(Some(&path)).unwrap();
        let both = async |one: &str, two: &str| (decide(&web, one).await, decide(&web, two).await);
        assert_eq!(both("a:one", "a:two").await, (Decision::Welcome, Decision::Unknown));

        let replace = |text: &str| {
            fs::write(dir.path().join("new"), text).unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
            web.turn();
        };
        replace(&file(&hash("two")));
        assert_eq!(both("a:one", "a:two").await, (Decision::Unknown, Decision::Welcome));
        replace("basic_auth_users: [");
        assert_eq!(both("a:one", "a:two").await, (Decision::Unknown, Decision::Welcome));
        fs::remove_file(&path).unwrap();
        web.turn();
        assert_eq!(decide(&web, "a:two").await, Decision::Welcome);
        replace(&file(&hash("three")));
        assert_eq!(both("a:two", "a:three").await, (Decision::Unknown, Decision::Welcome));
        replace("rate_limit:\n  interval: 1h\n  burst: 2\n");
        assert_eq!([(); 3].map(|()| web.admits()), [true, true, false]);
        replace("rate_limit:\n  interval: 0\n");
        assert_eq!([(); 3].map(|()| web.admits()), [true; 3]);
    }

    /// A file that is a pipe: who reads it waits, and gets what is written then.
    fn make_fifo(path: &Path) {
        nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }

    #[tokio::test]
    async fn what_is_written_while_it_is_read_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("web.yml"), dir.path().join("new"));
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
        make_fifo(&path);
        let web = std::thread::scope(|scope| {
            let reader = scope.spawn(|| Web::read(Some(&path)));
            // Opened by both from here on, so its stamp was taken.
            let mut pipe = fs::File::options().write(true).open(&path).unwrap();
            fs::write(&new, file(&hash("two"))).unwrap();
            fs::rename(&new, &path).unwrap();
            std::io::Write::write_all(&mut pipe, file(&hash("one")).as_bytes()).unwrap();
            drop(pipe);
            reader.join().unwrap().unwrap()
        });
        assert_eq!(decide(&web, "a:one").await, Decision::Welcome);
        web.turn();
        assert_eq!(decide(&web, "a:two").await, Decision::Welcome);

        // The same while it runs.
        make_fifo(&new);
        fs::rename(&new, &path).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| web.turn());
            let mut pipe = fs::File::options().write(true).open(&path).unwrap();
            fs::write(&new, file(&hash("four"))).unwrap();
            fs::rename(&new, &path).unwrap();
            std::io::Write::write_all(&mut pipe, file(&hash("three")).as_bytes()).unwrap();
        });
        assert_eq!(decide(&web, "a:three").await, Decision::Welcome);
        web.turn();
        assert_eq!(decide(&web, "a:four").await, Decision::Welcome);
    }

    #[tokio::test]
    async fn what_was_missing_is_taken_when_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let key = write_certificate(dir.path());
        let text = |key: &str| format!("tls_server_config:\n  cert_file: cert\n  key_file: {key}\n");
        fs::write(path("web.yml"), text("key")).unwrap();
        let web = Web::read(Some(&path("web.yml"))).unwrap();
        let user = file(&bcrypt::hash("one", 4).unwrap());
        fs::write(path("web.yml"), format!("{}{user}", text("other-key"))).unwrap();
        web.turn();
        assert!(!web.has_users());
        fs::write(path("other-key"), key).unwrap();
        web.turn();
        assert!(web.has_users());
    }

    #[tokio::test]
    async fn tls_stays_as_it_began_and_all_else_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        write_certificate(dir.path());
        let tls = "tls_server_config:\n  cert_file: cert\n  key_file: key\n";
        let [one, two] = ["one", "two"].map(|password| file(&bcrypt::hash(password, 4).unwrap()));
        for has_tls in [false, true] {
            let text = |has_tls, users: &str| format!("{}{users}", if has_tls { tls } else { "" });
            fs::write(path("web.yml"), text(has_tls, &one)).unwrap();
            let web = Web::read(Some(&path("web.yml"))).unwrap();
            fs::write(path("web.yml"), text(!has_tls, &two)).unwrap();
            web.turn();
            assert_eq!(web.tls().is_some(), has_tls);
            assert_eq!(decide(&web, "a:two").await, Decision::Welcome);
        }
    }

    #[tokio::test]
    async fn a_known_password_does_not_wait_for_wrong_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        fs::write(&path, file(&bcrypt::hash("right", 4).unwrap())).unwrap();
        let web = Arc::new(Web::read(Some(&path)).unwrap());
        assert_eq!(decide(&web, "a:right").await, Decision::Welcome);
        // It is somebody's turn for as long as this is held.
        let turn = web.gate.enter().await.unwrap();
        let mut crowd = JoinSet::new();
        for n in 0..CROWD {
            let web = Arc::clone(&web);
            crowd.spawn(async move { decide(&web, &format!("a:wrong{n}")).await });
        }
        assert_eq!(crowd.join_next().await.unwrap().unwrap(), Decision::Busy);
        assert_eq!(decide(&web, "a:right").await, Decision::Welcome);
        fs::write(&path, format!("{}# changed\n", fs::read_to_string(&path).unwrap())).unwrap();
        web.turn();
        assert_eq!(decide(&web, "a:right").await, Decision::Welcome);
        assert_eq!(web.decide(None).await, Decision::Unknown);
        drop(turn);
        let decisions = crowd.join_all().await;
        assert!(decisions.contains(&Decision::Unknown) && !decisions.contains(&Decision::Welcome));
        assert_eq!(decide(&web, "a:wrong").await, Decision::Unknown);
    }

    #[tokio::test]
    async fn without_a_file_everybody_is_welcome() {
        let web = Web::read(None).unwrap();
        assert!(web.tls().is_none() && !web.has_users() && web.admits());
        assert_eq!(web.decide(None).await, Decision::Welcome);
    }
}
