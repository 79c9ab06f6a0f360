//! Advice about a recipe that is valid.
//!
//! Warnings only. Invariant: a linted recipe bakes the same bytes as one that follows the advice would, or says why not.

use super::diagnostic::{Code, Diagnostic, Span};
use super::{Chunks, Recipe};

/// Licences common for data, by SPDX id (spdx.org/licenses); others are accepted if they look like an id of a known family.
const LICENSES: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "etalab-2.0",
    "ISC",
    "MIT",
    "NLOD-2.0",
    "NIST-PD",
    "OGL-UK-3.0",
    "PDDL-1.0",
    "Unlicense",
];
const FAMILIES: [&str; 9] = ["CC-", "CC0-", "ODbL-", "ODC-", "OGL-", "CDLA-", "GPL-", "LicenseRef-", "dl-de-"];

/// Chunks of fewer elements than this, along all the dimensions that the recipe names, are worth a word.
const FEW: u64 = 16;

/// True for what looks like an SPDX id or expression, or is a web address.
#[must_use]
pub fn is_license(text: &str) -> bool {
    if let Ok(url) = url::Url::parse(text) {
        return matches!(url.scheme(), "http" | "https") && url.has_host();
    }
    let known = |word: &str| {
        let well_formed = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte));
        let member = FAMILIES.iter().any(|family| word.starts_with(family)) && word.bytes().any(|byte| byte.is_ascii_digit());
        LICENSES.contains(&word) || (well_formed && (member || word.starts_with("LicenseRef-")))
    };
    !text.is_empty()
        && text.split_whitespace().filter(|word| !matches!(*word, "AND" | "OR" | "WITH")).all(|word| known(word.trim_matches(['(', ')'])))
}

/// Everything worth a word in a recipe without errors.
pub(super) fn advice(recipe: &Recipe) -> Vec<Diagnostic> {
    tiny_chunks(recipe).into_iter().collect()
}

fn tiny_chunks(recipe: &Recipe) -> Option<Diagnostic> {
    let Chunks::Sizes(sizes) = &recipe.output.chunks else { return None };
    let every = sizes.values().fold(1, |product: u64, length| product.saturating_mul(*length));
    let span: Span = recipe.output.chunks_span;
    (sizes.len() > 1 && every < FEW).then(|| {
        Diagnostic::warning(Code::TinyChunks, format!("a chunk holds only {every} elements along the dimensions named"))
            .at(span, "")
            .help("each chunk is an object; aim for some MiB, or write {auto: {size: 64 MiB}}")
    })
}

#[cfg(test)]
mod tests {
    use super::is_license;

    #[test]
    fn knows_licences_from_words() {
        for good in ["CC0-1.0", "CC-BY-4.0", "MIT", "MIT OR Apache-2.0", "https://example.org/terms", "LicenseRef-Copernicus", "PDDL-1.0"] {
            assert!(is_license(good), "{good}");
        }
        for bad in ["", "free", "CC-BY", "public domain", "ftp://x", "https://", "unknown"] {
            assert!(!is_license(bad), "{bad}");
        }
    }
}
