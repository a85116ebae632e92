//! Passwords and TLS, as a client meets them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::container::Container;
use crate::exporter::{Exporter, raise_loopback, until};
use crate::{Case, Res, expect, support};

pub(crate) const CASES: &[Case] = &[
    ("web::a_password_is_needed_but_for_health", a_password_is_needed),
    ("web::wrong_passwords_hold_no_scrape_up", wrong_passwords_hold_no_scrape_up),
    ("web::what_is_over_the_rate_is_refused", what_is_over_the_rate_is_refused),
    ("web::only_tls_and_known_clients_are_answered", only_known_clients),
    ("web::a_new_certificate_is_taken_without_a_restart", a_new_certificate_is_taken),
    ("web::an_open_address_needs_tls", an_open_address_needs_tls),
    ("web::others_see_pods_with_a_password_only", others_see_pods_with_a_password_only),
];

const ADDRESS: &str = "127.0.0.1:9478";

fn a_password_is_needed() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("web.yml");
    fs::write(&file, format!("basic_auth_users:\n  prom: {}\n", bcrypt::hash("secret", 4)?))?;
    let exporter =
        Exporter::start(&["--web.enable-debug", "--web.config.file", &file.display().to_string()])?;
    let ask = |path: &str, user: Option<&str>| code(&mut request(&exporter, path, user)?);
    for (path, user, wanted) in [
        ("/metrics", None, 401),
        ("/", None, 401),
        ("/none", None, 401),
        ("/debug/maps", None, 401),
        ("/debug/tables", Some("prom:wrong"), 401),
        ("/debug/tables", Some("prom:secret"), 200),
        ("/metrics", Some("prom:wrong"), 401),
        ("/metrics", Some("other:secret"), 401),
        ("/metrics", Some("prom:secret"), 200),
        ("/", Some("prom:secret"), 200),
        ("/none", Some("prom:secret"), 404),
        ("/-/healthy", None, 200),
        ("/readyz", None, 200),
    ] {
        expect(&format!("{path} for {user:?}"), ask(path, user)?, wanted)?;
    }
    let mut scrape = String::new();
    request(&exporter, "/metrics", Some("prom:secret"))?.read_to_string(&mut scrape)?;
    for (handler, code, wanted) in [
        ("metrics", 200, 1),
        ("metrics", 401, 3),
        ("landing", 401, 1),
        ("debug", 401, 2),
        ("other", 401, 1),
        ("other", 404, 1),
    ] {
        let line = format!("podproof_http_requests_total{{handler=\"{handler}\",code=\"{code}\"}} {wanted}");
        expect(&line, scrape.lines().any(|found| found == line), true)?;
    }
    let health = "podproof_http_requests_total{handler=\"health\",code=\"200\"} ";
    expect(health, scrape.lines().any(|line| line.starts_with(health)), true)
}

/// A connection on which this page is asked for, with this name and password.
fn request(exporter: &Exporter, path: &str, user: Option<&str>) -> Res<UnixStream> {
    let mut stream = exporter.connect()?;
    ask(&mut stream, path, user)?;
    Ok(stream)
}

fn ask(stream: &mut (impl Write + ?Sized), path: &str, user: Option<&str>) -> Res<()> {
    let header = user.map_or_else(String::new, |user| {
        let code = base64::engine::general_purpose::STANDARD.encode(user);
        format!("Authorization: Basic {code}\r\n")
    });
    Ok(write!(stream, "GET {path} HTTP/1.0\r\n{header}\r\n")?)
}

/// Clients that guess at once.
const CROWD: usize = 400;

/// After which Prometheus gives a scrape up, unless it is told otherwise.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

fn wrong_passwords_hold_no_scrape_up() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("web.yml");
    // The cost that the documentation advises.
    fs::write(&file, format!("basic_auth_users:\n  prom: {}\n", bcrypt::hash("secret", 10)?))?;
    let exporter = Exporter::start(&["--web.config.file", &file.display().to_string()])?;
    let ask = |user: &str| request(&exporter, "/metrics", Some(user));
    expect("code of the first scrape", code(&mut ask("prom:secret")?)?, 200)?;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        crowd.push(ask(&format!("prom:wrong{n}"))?);
    }
    let mut scrape = ask("prom:secret")?;
    scrape.set_read_timeout(Some(SCRAPE_TIMEOUT))?;
    expect("code of a scrape beside them", code(&mut scrape)?, 200)?;
    let mut codes = BTreeMap::<u16, usize>::new();
    for stream in &mut crowd {
        *codes.entry(code(stream)?).or_default() += 1;
    }
    let [wrong, refused] = [401, 503].map(|code| codes.get(&code).copied().unwrap_or(0));
    if wrong == 0 || refused == 0 || wrong + refused != CROWD {
        return Err(format!("{CROWD} wrong passwords at once were answered with {codes:?}").into());
    }
    // Who waits for its check does not wait in vain.
    expect("code of a wrong password alone", code(&mut ask("prom:wrong")?)?, 401)
}

fn what_is_over_the_rate_is_refused() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("web.yml");
    fs::write(&file, "rate_limit:\n  interval: 1000h\n  burst: 3\n")?;
    // Its own question for readiness is the first.
    let exporter = Exporter::start(&["--web.config.file", &file.display().to_string()])?;
    let codes = ["/metrics", "/none", "/metrics", "/-/healthy"].map(|path| Ok(exporter.get(path)?.0));
    let codes = codes.into_iter().collect::<Res<Vec<u16>>>()?;
    expect("codes", codes, vec![200, 404, 429, 429])
}

/// Certificates of one authority, in a directory.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Res<Self> {
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// A certificate and its key, in PEM.
    fn certificate(&self, name: &str) -> Res<(String, String)> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// The files of a server, which takes clients called `prometheus.test`.
    pub(crate) fn write(&self, dir: &Path) -> Res<()> {
        let (certificate, key) = self.certificate("127.0.0.1")?;
        fs::write(dir.join("cert.pem"), certificate)?;
        fs::write(dir.join("key.pem"), key)?;
        fs::write(dir.join("ca.pem"), self.issuer.pem())?;
        let text = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n  client_ca_file: ca.pem\n  \
                    client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.test]\n";
        Ok(fs::write(dir.join("web.yml"), text)?)
    }

    /// Asks for `/-/healthy` as a client of this name, which trusts this authority; the status code.
    fn ask(&self, name: Option<&str>) -> Res<u16> {
        Ok(self.get(name, "/-/healthy")?.0)
    }

    /// Asks for any page; its status code and body.
    pub(crate) fn get(&self, name: Option<&str>, path: &str) -> Res<(u16, String)> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                use rustls::pki_types::pem::PemObject as _;
                let (certificate, key) = self.certificate(name)?;
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())?;
                builder.with_client_auth_cert(
                    vec![certificate],
                    PrivateKeyDer::from_pem_slice(key.as_bytes())?,
                )?
            }
        };
        let session = ClientConnection::new(Arc::new(config), "127.0.0.1".try_into()?)?;
        support::get(&mut StreamOwned::new(session, connect()?), path)
    }
}

fn connect() -> Res<TcpStream> {
    let stream = TcpStream::connect(ADDRESS)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(stream)
}

fn code(stream: &mut impl Read) -> Res<u16> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).ok_or_else(|| format!("no answer: {answer:?}"))?;
    Ok(code.parse()?)
}

/// An exporter with the files of this directory, on the loopback interface.
fn serve(dir: &Path) -> Res<Exporter> {
    raise_loopback()?;
    let file = dir.join("web.yml").display().to_string();
    Exporter::start(&["--web.listen-address", ADDRESS, "--web.config.file", &file])
}

fn only_known_clients() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let authority = Authority::new()?;
    authority.write(dir.path())?;
    let _exporter = serve(dir.path())?;
    expect("code for the right client", authority.ask(Some("prometheus.test"))?, 200)?;
    let stranger = Authority::new()?;
    let refused = [
        ("a client without a certificate", authority.ask(None)),
        ("a client of another name", authority.ask(Some("other.test"))),
        ("a client that trusts somebody else", stranger.ask(Some("prometheus.test"))),
    ];
    for (who, answer) in refused {
        if let Ok(code) = answer {
            return Err(format!("{who} gets {code}").into());
        }
    }
    let mut plain = connect()?;
    write!(plain, "GET /metrics HTTP/1.0\r\n\r\n")?;
    if let Ok(code) = code(&mut plain) {
        return Err(format!("a client without TLS gets {code}").into());
    }
    expect("code for the right client again", authority.ask(Some("prometheus.test"))?, 200)
}

fn a_new_certificate_is_taken() -> Res<()> {
    let dir = tempfile::tempdir()?;
    let (old, new) = (Authority::new()?, Authority::new()?);
    old.write(dir.path())?;
    let _exporter = serve(dir.path())?;
    expect("code with the old certificate", old.ask(Some("prometheus.test"))?, 200)?;
    new.write(dir.path())?;
    until("the new certificate", || {
        let code = new.ask(Some("prometheus.test"));
        Ok(code.is_ok_and(|code| code == 200).then_some(()))
    })?;
    if let Ok(code) = old.ask(Some("prometheus.test")) {
        return Err(format!("a client of the old authority gets {code}").into());
    }
    Ok(())
}

fn an_open_address_needs_tls() -> Res<()> {
    let output = Command::new(std::env::current_exe()?)
        .args([crate::exporter::SERVE, "--web.listen-address", "0.0.0.0:9478"])
        .output()?;
    expect("exit code", output.status.code(), Some(1))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let is_told = text.contains("0.0.0.0:9478 can be reached from other machines without TLS");
    if is_told { Ok(()) } else { Err(text.into_owned().into()) }
}

fn others_see_pods_with_a_password_only() -> Res<()> {
    raise_loopback()?;
    let container = Container::new("7".repeat(64))?;
    let dir = tempfile::tempdir()?;
    let users = dir.path().join("web.yml");
    fs::write(&users, format!("basic_auth_users:\n  prom: {}\n", bcrypt::hash("secret", 4)?))?;
    let users = users.display().to_string();
    for (options, user, others_see_pods) in
        [(&[][..], None, false), (&["--web.config.file", &users], Some("prom:secret"), true)]
    {
        let open = ["--web.insecure-listen", "--web.listen-address", "0.0.0.0:9478"];
        let exporter = Exporter::start(&[&open[..], options].concat())?;
        let page = |stream: &mut dyn Stream| -> Res<String> {
            ask(stream, "/", user)?;
            let mut page = String::new();
            stream.read_to_string(&mut page)?;
            expect("it is the landing page", page.contains("<h1>podproof-exporter"), true)?;
            Ok(page)
        };
        // Who is on this machine sees it as soon as it has a name.
        let shown = format!("<td>{}<td", &container.id[..12]);
        until("the container", || Ok(page(&mut exporter.connect()?)?.contains(&shown).then_some(())))?;
        let of_others = page(&mut connect()?)?;
        let is_shown =
            [&*shown, "<h2>Containers</h2>", "http-equiv=\"refresh\""].map(|it| of_others.contains(it));
        expect(&format!("pods with {options:?}"), is_shown, [others_see_pods; 3])?;
        // Passwords go over the wire as they are.
        let mut scrape = String::new();
        request(&exporter, "/metrics", user)?.read_to_string(&mut scrape)?;
        let insecure = scrape.lines().find(|line| line.starts_with("podproof_web_insecure "));
        expect("web_insecure", insecure, Some("podproof_web_insecure 1"))?;
    }
    Ok(())
}

/// A connection of either kind.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}
