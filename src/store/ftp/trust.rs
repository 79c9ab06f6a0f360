//! Whose certificates are believed.
//!
//! Those of this machine, as everywhere else, and those that the operator adds. Invariant: made once, so that connections
//! resume each other's TLS sessions, which servers demand of data connections.

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use super::super::access::Access;
use super::super::{ErrorKind, StoreError};

/// Certificates and what is remembered of earlier connections.
#[derive(Debug, Default)]
pub(super) struct Trust {
    config: OnceLock<Arc<ClientConfig>>,
    extra: Option<std::path::PathBuf>,
}

impl Trust {
    /// Trust as the operator says; nothing is read yet.
    pub(super) fn new(access: &Access) -> Self {
        Self { config: OnceLock::new(), extra: access.certificates.clone() }
    }

    /// The settings of encrypted connections.
    pub(super) fn config(&self, url: &str) -> Result<Arc<ClientConfig>, StoreError> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let made = self.make().map_err(|error| {
            StoreError::new(ErrorKind::Other, url, "cannot set up encryption; check this machine's certificates and `network.certificates`")
                .because(error)
        })?;
        Ok(Arc::clone(self.config.get_or_init(|| Arc::new(made))))
    }

    fn make(&self) -> Result<ClientConfig, Box<dyn std::error::Error + Send + Sync>> {
        let provider = Arc::new(default_provider());
        let mut extra = Vec::new();
        if let Some(path) = &self.extra {
            for certificate in CertificateDer::pem_file_iter(path)? {
                extra.push(certificate?);
            }
        }
        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(Verifier::new_with_extra_roots(extra, Arc::clone(&provider))?);
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }
}
