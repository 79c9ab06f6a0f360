//! Every request that reaches the fake forge is shown to Prism as well, if there is one (`GRISTMILL_PRISM`, see `ci/forge.sh`):
//! Prism holds it against GitHub's own `OpenAPI` description. What was shown is noted in the file that `GRISTMILL_PRISM_LOG` names.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::server::Request;

/// What Prism has against a request; `None` if nothing, or if there is no Prism.
pub(crate) fn objection(request: &Request) -> Option<String> {
    let prism = std::env::var("GRISTMILL_PRISM").ok()?;
    let answer = show(&prism, request).unwrap_or_else(|error| format!("Prism at {prism} does not answer: {error}"));
    let status = answer.split_whitespace().nth(1).unwrap_or_default().to_owned();
    note(request, &status);
    // What is valid is answered well; what is not as the description says (400, 422), or by Prism itself. That GitHub's examples of
    // its own answers break its own description is not the request's fault.
    let of_example = answer.contains("prism/errors#VIOLATIONS") && !answer.contains(r#""location":["request""#);
    let good = status.starts_with('2') || of_example;
    (!good).then(|| format!("{} {} is not valid: {answer}", request.method, request.target))
}

fn show(prism: &str, request: &Request) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(prism)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    // Not `accept`: GitHub's manual wants its own media type asked for, its description knows it under `application/json` alone.
    let kept = |name: &str| ["content-type", "authorization", "x-github-api-version"].contains(&name.to_lowercase().as_str());
    let headers: String =
        request.headers.iter().filter(|(name, _)| kept(name)).map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = request.body.len();
    let length = if length == 0 { String::new() } else { format!("Content-Length: {length}\r\n") };
    write!(stream, "{} {} HTTP/1.1\r\nHost: {prism}\r\nConnection: close\r\n{length}{headers}\r\n", request.method, request.target)?;
    stream.write_all(&request.body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).chars().take(3000).collect())
}

fn note(request: &Request, status: &str) {
    let Ok(path) = std::env::var("GRISTMILL_PRISM_LOG") else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        drop(writeln!(file, "{} {} {status}", request.method, request.path));
    }
}
