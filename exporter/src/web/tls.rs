//! From certificate files to a TLS server.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme, version,
};

use super::config::{ClientAuth, Tls, Version, WebError};

pub(super) fn server(tls: &Tls) -> Result<ServerConfig, WebError> {
    let wrong = |field, path: &Path, message| WebError::Certificate { field, path: path.to_owned(), message };
    let certificates = certificates("cert_file", &tls.cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|error| wrong("key_file", &tls.key_file, error.to_string()))?;
    let versions: Vec<_> = tls
        .versions
        .iter()
        .map(|version| match version {
            Version::Tls12 => &version::TLS12,
            Version::Tls13 => &version::TLS13,
        })
        .collect();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&versions)
        .map_err(|error| wrong("cert_file", &tls.cert_file, error.to_string()))?;
    let builder = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => builder.with_client_cert_verifier(verifier(client)?),
    };
    let mut server = builder
        .with_single_cert(certificates, key)
        .map_err(|error| wrong("cert_file", &tls.cert_file, error.to_string()))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(server)
}

/// Of the file that this field names.
fn certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, WebError> {
    let wrong = |message: String| WebError::Certificate { field, path: path.to_owned(), message };
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|error| wrong(error.to_string()))?;
    if all.is_empty() {
        return Err(wrong("has no certificate".to_owned()));
    }
    Ok(all)
}

fn verifier(client: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, WebError> {
    let field = "client_ca_file";
    let wrong = |message: String| WebError::Certificate { field, path: client.ca_file.clone(), message };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(field, &client.ca_file)? {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let builder = if client.is_required { builder } else { builder.allow_unauthenticated() };
    let inner = builder.build().map_err(|error| wrong(error.to_string()))?;
    if client.allowed_sans.is_empty() {
        return Ok(inner);
    }
    let name = |name: &String| {
        let parsed = ServerName::try_from(name.clone());
        parsed.map_err(|_error| {
            wrong(format!("client_allowed_sans: {name} is neither a DNS name nor an address"))
        })
    };
    let names = client.allowed_sans.iter().map(name).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Named { inner, names }))
}

/// Takes certificates of some names only.
#[derive(Debug)]
struct Named {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if self.names.iter().any(|name| verify_server_name(&certificate, name).is_ok()) {
            return Ok(verified);
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidForName))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::web::samples::write_certificate;

    #[test]
    fn a_file_that_cannot_be_used_is_told_with_its_field() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        write_certificate(dir.path());
        fs::write(path("empty"), "").unwrap();
        let of = |cert: &str, key: &str, ca: &str| {
            let client = Some(ClientAuth { ca_file: path(ca), is_required: true, allowed_sans: vec![] });
            let versions = vec![Version::Tls12, Version::Tls13];
            let tls = Tls { cert_file: path(cert), key_file: path(key), client, versions };
            server(&tls).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(of("cert", "key", "cert"), Ok(()));
        for (files, field, file) in [
            (["none", "key", "cert"], "cert_file", "none"),
            (["empty", "key", "cert"], "cert_file", "empty"),
            (["cert", "none", "cert"], "key_file", "none"),
            (["cert", "key", "none"], "client_ca_file", "none"),
        ] {
            let [cert, key, ca] = files;
            let error = of(cert, key, ca).unwrap_err();
            let told = format!("tls_server_config.{field}: {}: ", path(file).display());
            assert!(error.starts_with(&told), "{error}");
        }
    }
}
