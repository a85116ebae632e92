//! What holds now; the files may change at any time.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axum::http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::auth::{Decision, Users};
use super::config::{self, Config, WebError};
use super::tls;

/// TLS, passwords and headers, as the files have them.
#[derive(Debug)]
pub struct Web {
    path: Option<PathBuf>,
    now: RwLock<Arc<State>>,
    /// What the files looked like when they were read last.
    seen: Mutex<Vec<Option<Stamp>>>,
}

#[derive(Debug, Default)]
struct State {
    tls: Option<Arc<ServerConfig>>,
    users: Users,
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
        Ok(Self { path: path.map(Path::to_owned), now: RwLock::new(Arc::new(state)), seen })
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

    /// Blocks for some 50 ms when the header is a new one.
    pub(crate) fn decide(&self, authorization: Option<&[u8]>) -> Decision {
        self.now().users.decide(authorization)
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
    let Config { tls, headers, users } = config::read(path)?;
    let mut files = vec![path.to_owned()];
    if let Some(tls) = &tls {
        files.extend([tls.cert_file.clone(), tls.key_file.clone()]);
        files.extend(tls.client.iter().map(|client| client.ca_file.clone()));
    }
    let tls = tls.as_ref().map(tls::server).transpose()?.map(Arc::new);
    Ok(State { tls, users: Users::new(users), headers, files })
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(hash: &str) -> String {
        format!("basic_auth_users:\n  a: {hash}\n")
    }

    #[test]
    fn a_changed_file_holds_and_a_broken_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.yml");
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
        fs::write(&path, file(&hash("one"))).unwrap();
        let web = Web::read(Some(&path)).unwrap();
        let decide = |text: &str| {
            use base64::Engine as _;
            let header = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text));
            web.decide(Some(header.as_bytes()))
        };
        assert_eq!((decide("a:one"), decide("a:two")), (Decision::Welcome, Decision::Unknown));

        let replace = |text: &str| {
            fs::write(dir.path().join("new"), text).unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
            web.turn();
        };
        replace(&file(&hash("two")));
        assert_eq!((decide("a:one"), decide("a:two")), (Decision::Unknown, Decision::Welcome));
        replace("basic_auth_users: [");
        assert_eq!((decide("a:one"), decide("a:two")), (Decision::Unknown, Decision::Welcome));
        fs::remove_file(&path).unwrap();
        web.turn();
        assert_eq!(decide("a:two"), Decision::Welcome);
        replace(&file(&hash("three")));
        assert_eq!((decide("a:two"), decide("a:three")), (Decision::Unknown, Decision::Welcome));
    }

    #[test]
    fn without_a_file_everybody_is_welcome() {
        let web = Web::read(None).unwrap();
        assert!(web.tls().is_none() && !web.has_users());
        assert_eq!(web.decide(None), Decision::Welcome);
    }
}
