//! `feedstock/meta.yaml`: what the feedstock holds, with the keys of Pangeo Forge and LEAP, so that their files can be taken along.
//!
//! Invariant: keys that only those tools read are accepted and mean nothing here.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// `feedstock/meta.yaml` as written.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// One line.
    pub title: String,
    /// Some paragraphs.
    pub description: Option<String>,
    /// Path of the only recipe, from the folder of this file.
    pub recipe: Option<String>,
    /// The recipes.
    pub recipes: Option<Recipes>,
    /// Where the data come from.
    pub provenance: Provenance,
    /// Who looks after the feedstock.
    pub maintainers: Vec<Maintainer>,
    /// Picture for the catalogue.
    pub thumbnail: Option<String>,
    /// Words for search (LEAP).
    pub tags: Option<Vec<String>>,
    /// Pages about the data (LEAP).
    pub links: Option<Value>,
    /// Published stores (LEAP's catalogue).
    pub stores: Option<Value>,
    /// Where this file is published (LEAP's catalogue).
    pub meta_yaml_url: Option<String>,
    /// Where Pangeo Forge ran; of no meaning here.
    pub bakery: Option<Value>,
    /// Version of Pangeo Forge; of no meaning here.
    pub pangeo_forge_version: Option<Value>,
    /// Version of an image of Pangeo; of no meaning here.
    pub pangeo_notebook_version: Option<Value>,
}

/// The recipes of a feedstock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Recipes {
    /// One by one.
    Listed(Vec<Listing>),
    /// By a dictionary in a Python module, which Gristmill does not run.
    Python(PythonRecipes),
}

/// Recipes by a dictionary in a Python module.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PythonRecipes {
    /// `module:name`.
    pub dict_object: String,
}

/// One recipe of a feedstock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listing {
    /// Its id.
    pub id: Option<String>,
    /// Its file, from the folder of `meta.yaml`; without it `recipe.yaml`.
    pub path: Option<String>,
    /// `module:name` of a Python recipe, which Gristmill does not run.
    pub object: Option<String>,
    /// As `object`, for several.
    pub dict_object: Option<String>,
}

/// Where the data come from.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Who made, licensed, processed or hosts them.
    pub providers: Vec<Provider>,
    /// Licence of the data: SPDX id or URL.
    pub license: String,
    /// A page about the licence.
    pub license_link: Option<Value>,
}

/// Who made, licensed, processed or hosts the data.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Name.
    pub name: String,
    /// A sentence.
    pub description: Option<String>,
    /// As in STAC.
    pub roles: Option<Vec<Role>>,
    /// Home page.
    pub url: Option<String>,
}

/// What a provider does (STAC, Provider Object).
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Licenses the data.
    Licensor,
    /// Made them.
    Producer,
    /// Worked on them.
    Processor,
    /// Offers them.
    Host,
}

/// Who looks after a feedstock.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintainer {
    /// Name.
    pub name: String,
    /// `0000-0000-0000-0000`.
    pub orcid: Option<String>,
    /// Account at the code host.
    pub github: Option<String>,
}

impl Meta {
    /// Its JSON Schema.
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Recipes that are listed, each with its place in the list.
    #[must_use]
    pub fn listings(&self) -> &[Listing] {
        match &self.recipes {
            Some(Recipes::Listed(listings)) => listings,
            Some(Recipes::Python(_)) | None => &[],
        }
    }
}
