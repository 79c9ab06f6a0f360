//! `id`, `title`, `license` and what else people want to know.

use super::Resolver;
use crate::recipe::diagnostic::Code;
use crate::recipe::document::{Document, ProviderWritten};
use crate::recipe::{About, Provider, lint};

/// Roles of a provider in STAC 1.0 (collection specification, "Provider Object").
const ROLES: [&str; 4] = ["producer", "licensor", "processor", "host"];
/// Longest id: it becomes part of paths and of bucket keys.
const LONGEST_ID: usize = 100;

impl Resolver<'_> {
    pub(super) fn about(&mut self, document: &Document) -> (String, About) {
        let id = document.id.clone().unwrap_or_default();
        if document.id.is_some() && !is_id(&id) {
            let suggestion = format!("write `{}`", as_id(&id));
            let message = format!("`{id}` is not an id");
            self.labelled(
                Code::BadId,
                self.root.get("id").span(),
                message,
                suggestion,
                "an id is made of lowercase letters, digits and `-`",
            );
        }
        let about = About {
            title: self.said("title", document.title.as_deref()).unwrap_or_default(),
            license: self.license(document.license.as_deref()),
            description: self.said("description", document.description.as_deref()),
            doi: self.doi(document.doi.as_deref()),
            citation: self.said("citation", document.citation.as_deref()),
            keywords: document.keywords.clone().unwrap_or_default(),
            maintainers: document.maintainers.clone().unwrap_or_default(),
            providers: self.providers(document.providers.as_deref().unwrap_or_default()),
        };
        (id, about)
    }

    fn said(&mut self, key: &str, text: Option<&str>) -> Option<String> {
        let text = text?.trim();
        if text.is_empty() {
            let message = format!("`{key}` is empty");
            self.error(Code::EmptyValue, self.root.get(key).span(), message, "say something, or remove the key if it is not required");
        }
        Some(text.to_owned())
    }

    fn license(&mut self, license: Option<&str>) -> String {
        let license = self.said("license", license).unwrap_or_default();
        if !license.is_empty() && !lint::is_license(&license) {
            let message = format!("`{license}` is neither a known SPDX id nor a URL");
            let help = "see https://spdx.org/licenses for ids, such as CC-BY-4.0 or CC0-1.0; else write the URL of the terms";
            self.warn(Code::LicenseUnknown, self.root.get("license").span(), message, help);
        }
        license
    }

    fn doi(&mut self, doi: Option<&str>) -> Option<String> {
        let doi = self.said("doi", doi)?;
        let bare =
            ["https://doi.org/", "http://doi.org/", "https://dx.doi.org/", "doi:"].iter().find_map(|prefix| doi.strip_prefix(prefix));
        let bare = bare.unwrap_or(&doi).to_owned();
        let well_formed = bare.strip_prefix("10.").and_then(|rest| rest.split_once('/')).is_some_and(|(registrant, suffix)| {
            registrant.len() >= 4 && registrant.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !suffix.is_empty()
        });
        if !well_formed && !bare.is_empty() {
            self.error(Code::BadUrl, self.root.get("doi").span(), format!("`{bare}` is not a DOI"), "a DOI looks like 10.7289/V5SQ8XB5");
        }
        Some(bare)
    }

    fn providers(&mut self, written: &[ProviderWritten]) -> Vec<Provider> {
        let mut providers = Vec::with_capacity(written.len());
        for (number, provider) in written.iter().enumerate() {
            let place = self.root.get("providers").item(number);
            for (index, role) in provider.roles.iter().flatten().enumerate().filter(|(_, role)| !ROLES.contains(&role.as_str())) {
                let message = format!("`{role}` is not a role of a provider");
                let help = format!("one of: {}", ROLES.join(", "));
                self.error(Code::BadProviderRole, place.get("roles").item(index).span(), message, help);
            }
            if let Some(url) = provider.url.as_deref().filter(|url| !is_web_address(url)) {
                let message = format!("`{url}` is not a web address");
                self.error(Code::BadUrl, place.get("url").span(), message, "write it whole, with https://");
            }
            let name = provider.name.clone().unwrap_or_default();
            providers.push(Provider { name, roles: provider.roles.clone().unwrap_or_default(), url: provider.url.clone() });
        }
        providers
    }
}

fn is_id(id: &str) -> bool {
    let known = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    known && !id.is_empty() && id.len() <= LONGEST_ID && !id.starts_with('-') && !id.ends_with('-')
}

/// The nearest id.
fn as_id(text: &str) -> String {
    let letters = text.to_lowercase().chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect::<String>();
    let words: Vec<&str> = letters.split('-').filter(|word| !word.is_empty()).collect();
    let id: String = words.join("-").chars().take(LONGEST_ID).collect();
    if id.is_empty() { "my-dataset".to_owned() } else { id.trim_end_matches('-').to_owned() }
}

fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}
