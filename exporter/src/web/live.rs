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
    /// What the files looked like when they were read last.
    seen: Mutex<Vec<Option<Stamp>>>,
    /// To the checks of passwords.
    gate: Gate,
}

#[derive(Debug, Default)]
struct State {
    tls: Option<Arc<ServerConfig>>,
    users: Users,
    bucket: Option<Bucket>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// All that was read for this.
    files: Vec<PathBuf>,
}

/// Device, inode, size, and seconds and nanoseconds of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl Web {
    /// Reads the file; without one there is neither TLS nor a password.
    ///
    /// # Errors
    /// When it, or a file that it names, cannot be used.
    pub fn read(path: Option<&Path>) -> Result<Self, WebError> {
        let state = path.map_or_else(|| Ok(State::default()), state)?;
        let seen = Mutex::new(state.files.iter().map(|file| stamp(file)).collect());
        Ok(Self {
            path: path.map(Path::to_owned),
            now: RwLock::new(Arc::new(state)),
            seen,
            gate: Gate::default(),
        })
    }

    /// Reads the files again if one has changed. What holds stays until they can all be used.
    pub(crate) fn turn(&self) {
        let Some(path) = &self.path else { return };
        let now: Vec<_> = self.now().files.iter().map(|file| stamp(file)).collect();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == now {
                return;
            }
            seen.clone_from(&now);
        }
        match state(path) {
            Ok(state) => {
                // TLS is not switched off or on while clients trust in it.
                if state.tls.is_some() != self.now().tls.is_some() {
                    tracing::warn!("{}: TLS begins or ends with a restart only", path.display());
                    return;
                }
                state.users.remember(&self.now().users);
                let files = state.files.iter().map(|file| stamp(file)).collect();
                *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
                *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = files;
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

fn state(path: &Path) -> Result<State, WebError> {
    let Config { tls, headers, users, rate } = config::read(path)?;
    let mut files = vec![path.to_owned()];
    if let Some(tls) = &tls {
        files.extend([tls.cert_file.clone(), tls.key_file.clone()]);
        files.extend(tls.client.iter().map(|client| client.ca_file.clone()));
    }
    let tls = tls.as_ref().map(tls::server).transpose()?.map(Arc::new);
    Ok(State { tls, users: Users::new(users), bucket: rate.map(Bucket::new), headers, files })
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
