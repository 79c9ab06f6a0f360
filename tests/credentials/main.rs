//! Credentials: what is sent, where it goes, what comes of expiry and refusal, and that no secret stays anywhere.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "what is left out for want of a server is said aloud, and a test fails by panicking"
)]

mod canary;
mod dance;
mod doctor;
mod kinds;
#[path = "../made_files/mod.rs"]
mod made_files;
mod mid_run;
#[path = "../patience/mod.rs"]
mod patience;
mod policy;
mod real;
#[path = "../real_clouds/mod.rs"]
mod real_clouds;
#[path = "../real_s3/mod.rs"]
mod real_s3;
#[path = "../scripted_server/mod.rs"]
mod server;
#[path = "../small_s3/mod.rs"]
mod small_s3;
mod tls;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use gristmill::event::Reporter;
use gristmill::store::auth::Auth;
use gristmill::store::{Access, SourceStore, source};
use patience::Recorder;

/// Settings with short waits.
pub(crate) fn hasty() -> Access {
    patience::hasty(Duration::from_millis(800))
}

/// A source with this credential in use.
pub(crate) fn with(table: &str) -> Arc<dyn SourceStore> {
    reporting(&Access { auth: Auth::with("archive", table).unwrap(), ..hasty() }).0
}

/// A source, and who listens to it.
pub(crate) fn reporting(access: &Access) -> (Arc<dyn SourceStore>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    (source(access, Arc::clone(&recorder) as Arc<dyn Reporter>), recorder)
}

/// 5,000 bytes.
pub(crate) fn content() -> Vec<u8> {
    (0..5000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 22) as u8).collect()
}

/// `127.0.0.1:PORT`.
pub(crate) fn host(server: &server::Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

pub(crate) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
