//! The file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;
use thiserror::Error;

use super::auth::Hash;
use super::rate::{Rate, duration};

/// The file, or a file that it names, cannot be used.
#[derive(Debug, Error)]
pub enum WebError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no YAML, or has a field that is unknown.
    #[error("{}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        message: String,
    },
    /// A field has a value that cannot be used.
    #[error("{}: {field}: {message}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// Its path in the document.
        field: String,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// A certificate or a key cannot be used.
    #[error("tls_server_config.{field}: {}: {message}", path.display())]
    Certificate {
        /// What names the file.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Document {
    tls_server_config: Option<TlsDocument>,
    http_server_config: HttpDocument,
    basic_auth_users: BTreeMap<String, String>,
    rate_limit: RateDocument,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsDocument {
    cert_file: PathBuf,
    key_file: PathBuf,
    client_auth_type: Option<String>,
    client_ca_file: Option<PathBuf>,
    #[serde(default)]
    client_allowed_sans: Vec<String>,
    min_version: Option<String>,
    max_version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpDocument {
    http2: bool,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RateDocument {
    interval: Option<String>,
    burst: u32,
}

/// As it is used.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) tls: Option<Tls>,
    /// Of every answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) users: BTreeMap<String, Hash>,
    /// How many requests are answered; all without.
    pub(super) rate: Option<Rate>,
}

#[derive(Debug)]
pub(super) struct Tls {
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
    pub(super) client: Option<ClientAuth>,
    pub(super) versions: Vec<Version>,
}

/// Certificates of clients.
#[derive(Debug)]
pub(super) struct ClientAuth {
    pub(super) ca_file: PathBuf,
    pub(super) is_required: bool,
    /// One of these names has to be the client's; none means any.
    pub(super) allowed_sans: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// The headers that may be set.
const HEADERS: [&str; 5] = [
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
    "Content-Security-Policy",
];

pub(super) fn read(path: &Path) -> Result<Config, WebError> {
    let text = fs::read_to_string(path).map_err(|source| WebError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Config, WebError> {
    let wrong = |field: &str, message: String| WebError::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        message,
    };
    // An empty file asks for nothing.
    let is_empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    let document: Document = if is_empty {
        Document::default()
    } else {
        serde_saphyr::from_str(text)
            .map_err(|error| WebError::Parse { path: path.to_owned(), message: error.to_string() })?
    };
    if document.http_server_config.http2 {
        return Err(wrong("http_server_config.http2", "not supported: only HTTP/1.1 is served".to_owned()));
    }
    let mut headers = Vec::new();
    for (name, value) in document.http_server_config.headers {
        let field = format!("http_server_config.headers.{name}");
        if !HEADERS.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            return Err(wrong(&field, format!("cannot be set; these can: {}", HEADERS.join(", "))));
        }
        let name = name.parse::<HeaderName>().map_err(|error| wrong(&field, error.to_string()))?;
        let value = value.parse::<HeaderValue>().map_err(|error| wrong(&field, error.to_string()))?;
        headers.push((name, value));
    }
    let mut users = BTreeMap::new();
    for (user, hash) in document.basic_auth_users {
        let field = format!("basic_auth_users.{user}");
        if user.contains(':') {
            return Err(wrong(&field, "a name of a user has no colon".to_owned()));
        }
        // The hash itself is never told.
        let hash = Hash::parse(hash).ok_or_else(|| {
            wrong(
                &field,
                "is no bcrypt hash; make one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`".to_owned(),
            )
        })?;
        users.insert(user, hash);
    }
    let tls = document.tls_server_config.map(|tls| tls_of(path, tls)).transpose()?;
    let rate = rate_of(path, &document.rate_limit)?;
    Ok(Config { tls, headers, users, rate })
}

fn rate_of(path: &Path, rate: &RateDocument) -> Result<Option<Rate>, WebError> {
    let wrong = |field: &str, message: &str| WebError::Field {
        path: path.to_owned(),
        field: format!("rate_limit.{field}"),
        message: message.to_owned(),
    };
    let interval = duration(rate.interval.as_deref().unwrap_or("0")).ok_or_else(|| {
        wrong("interval", "write a number with its unit, as 500ms, 1s, 1m30s; 0 for no limit")
    })?;
    if interval.is_zero() {
        return Ok(None);
    }
    let burst = NonZeroU32::new(rate.burst)
        .ok_or_else(|| wrong("burst", "must be at least 1: nothing would be answered"))?;
    Ok(Some(Rate { interval, burst }))
}

fn tls_of(path: &Path, tls: TlsDocument) -> Result<Tls, WebError> {
    let wrong = |field: &str, message: &str| WebError::Field {
        path: path.to_owned(),
        field: format!("tls_server_config.{field}"),
        message: message.to_owned(),
    };
    // Names of files are relative to this one.
    let base = path.parent().unwrap_or(Path::new(""));
    let is_required = match tls.client_auth_type.as_deref() {
        None | Some("" | "NoClientCert") => None,
        Some("VerifyClientCertIfGiven") => Some(false),
        Some("RequireAndVerifyClientCert") => Some(true),
        Some(_) => {
            let known = "must be NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert: a certificate that nobody \
                         verifies proves nothing";
            return Err(wrong("client_auth_type", known));
        }
    };
    let client = match (is_required, tls.client_ca_file) {
        (Some(is_required), Some(ca_file)) => Some(ClientAuth {
            ca_file: base.join(ca_file),
            is_required,
            allowed_sans: tls.client_allowed_sans.clone(),
        }),
        (Some(_), None) => return Err(wrong("client_ca_file", "is missing: client_auth_type asks for it")),
        (None, Some(_)) => {
            return Err(wrong(
                "client_ca_file",
                "has no effect without client_auth_type; set that, or leave it out",
            ));
        }
        (None, None) => None,
    };
    if !tls.client_allowed_sans.is_empty() && is_required != Some(true) {
        return Err(wrong("client_allowed_sans", "needs client_auth_type RequireAndVerifyClientCert"));
    }
    let version = |field: &str, value: Option<&str>, default| match value {
        None => Ok(default),
        Some("TLS12") => Ok(Version::Tls12),
        Some("TLS13") => Ok(Version::Tls13),
        Some(_) => Err(wrong(field, "must be TLS12 or TLS13")),
    };
    let min = version("min_version", tls.min_version.as_deref(), Version::Tls12)?;
    let max = version("max_version", tls.max_version.as_deref(), Version::Tls13)?;
    if min > max {
        return Err(wrong("min_version", "is above max_version"));
    }
    let versions =
        [Version::Tls12, Version::Tls13].into_iter().filter(|version| (min..=max).contains(version));
    Ok(Tls {
        cert_file: base.join(tls.cert_file),
        key_file: base.join(tls.key_file),
        client,
        versions: versions.collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HASH: &str = "$2y$04$Pf93xY7Fo7Zr9uQ3o1HfK.9h1Vd2ku8cJ9ZkvEQhE5eUIr2eX6JFe";

    fn of(text: &str) -> Result<Config, String> {
        parse(Path::new("/etc/web.yml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_asks_for_nothing() {
        for text in ["", "# nothing\n\n"] {
            let config = of(text).unwrap();
            assert!(config.tls.is_none() && config.users.is_empty() && config.headers.is_empty());
        }
    }

    #[test]
    fn all_that_can_be_asked() {
        let text = format!(
            "tls_server_config:\n  cert_file: tls/cert.pem\n  key_file: /k.pem\n  client_auth_type: RequireAndVerifyClientCert\n  \
             client_ca_file: ca.pem\n  client_allowed_sans: [prometheus.example]\n  min_version: TLS13\nhttp_server_config:\n  \
             headers:\n    X-Frame-Options: deny\nbasic_auth_users:\n  prom: {HASH}\nrate_limit:\n  interval: 500ms\n  burst: 20\n"
        );
        let config = of(&text).unwrap();
        let tls = config.tls.unwrap();
        assert_eq!(tls.cert_file, Path::new("/etc/tls/cert.pem"));
        assert_eq!(tls.key_file, Path::new("/k.pem"));
        assert_eq!(tls.versions, [Version::Tls13]);
        let client = tls.client.unwrap();
        assert!(client.is_required && client.allowed_sans == ["prometheus.example"]);
        assert_eq!(config.headers.len(), 1);
        assert!(config.users.contains_key("prom"));
        let rate = Rate { interval: Duration::from_millis(500), burst: NonZeroU32::new(20).unwrap() };
        assert_eq!(config.rate, Some(rate));
        for unlimited in
            ["rate_limit: {}", "rate_limit: {interval: 0}", "rate_limit: {interval: 0s, burst: 3}"]
        {
            assert_eq!(of(unlimited).unwrap().rate, None);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let tls = |more: &str| format!("tls_server_config:\n  cert_file: c\n  key_file: k\n{more}");
        for (text, wanted) in [
            ("tls_server_conf: {}".to_owned(), "tls_server_conf"),
            ("basic_auth_users: {a: secret}".to_owned(), "basic_auth_users.a: is no bcrypt hash"),
            (format!("basic_auth_users: {{'a:b': {HASH}}}"), "basic_auth_users.a:b: a name"),
            ("http_server_config: {http2: true}".to_owned(), "http_server_config.http2: not supported"),
            ("http_server_config: {headers: {Server: x}}".to_owned(), "headers.Server: cannot be set"),
            (tls("  client_auth_type: RequireAnyClientCert\n"), "client_auth_type: must be"),
            (tls("  client_auth_type: VerifyClientCertIfGiven\n"), "client_ca_file: is missing"),
            (tls("  client_ca_file: ca\n"), "client_ca_file: has no effect"),
            (tls("  client_allowed_sans: [a]\n"), "client_allowed_sans: needs"),
            (tls("  min_version: TLS10\n"), "min_version: must be"),
            (tls("  min_version: TLS13\n  max_version: TLS12\n"), "min_version: is above"),
            ("tls_server_config: {cert_file: c}".to_owned(), "key_file"),
            ("rate_limit: {interval: 5}".to_owned(), "rate_limit.interval: write a number with its unit"),
            ("rate_limit: {interval: 1s}".to_owned(), "rate_limit.burst: must be at least 1"),
            ("rate_limit: {interval: 1s, burst: -1}".to_owned(), "burst"),
            ("rate_limit: {requests: 1}".to_owned(), "requests"),
        ] {
            let error = of(&text).unwrap_err();
            assert!(error.starts_with("/etc/web.yml: ") && error.contains(wanted), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
