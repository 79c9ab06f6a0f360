//! Codecs of `output.encoding`: shorthands written out, settings checked; `source` stays a word, because only the files tell what it means.
//!
//! Only what zarr-python's core reads (Zarr v3 core codecs and `zstd`, blosc's settings as in its codec specification);
//! blosc's `typesize` is filled in by the planner, which knows the variable. Invariant: a codec that comes out of here has
//! every setting its metadata needs, but for that one.

use serde_json::{Map, Value, json};

use super::Resolver;
use crate::dataset::Codec;
use crate::recipe::CodecsChoice;
use crate::recipe::diagnostic::Code;
use crate::recipe::document::{CodecEntry, CodecWritten, Codecs};
use crate::recipe::shape::similar;
use crate::recipe::tree::Place;

/// Codecs that every reader knows.
const CORE: [&str; 4] = ["blosc", "zstd", "gzip", "crc32c"];
/// Compressors inside blosc.
const BLOSC: [&str; 6] = ["blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"];
const SHUFFLES: [&str; 3] = ["noshuffle", "shuffle", "bitshuffle"];
/// The word for the files' own compression.
const SOURCE: &str = "source";
/// What the array→bytes part is called: implied, or chosen elsewhere in the recipe.
const IMPLIED: [(&str, &str); 5] = [
    (SOURCE, "write it alone: `codecs: source`"),
    ("bytes", "leave it out: it is implied"),
    ("sharding_indexed", "write `output: {shards: {…}}` instead"),
    ("transpose", "use the step `transpose` instead"),
    ("vlen-utf8", "leave it out: it is implied for texts"),
];
const SHORT_HELP: &str = "one of: blosc, blosc:lz4, blosc:zstd:5, zstd, zstd:5, gzip, gzip:6, crc32c, none, source";

impl Resolver<'_> {
    pub(super) fn codecs(&mut self, place: Place<'_>, written: &Codecs) -> CodecsChoice {
        match written {
            Codecs::Short(word) if word.trim() == SOURCE => CodecsChoice::Source,
            written => CodecsChoice::Listed(self.listed(place, written)),
        }
    }

    fn listed(&mut self, place: Place<'_>, written: &Codecs) -> Vec<Codec> {
        match written {
            Codecs::Short(word) if word == "none" => Vec::new(),
            Codecs::Short(word) => self.short(place, word).into_iter().collect(),
            Codecs::List(entries) => {
                let mut codecs = Vec::with_capacity(entries.len());
                for (number, entry) in entries.iter().enumerate() {
                    let place = place.item(number);
                    codecs.extend(match entry {
                        CodecEntry::Short(word) => self.short(place, word),
                        CodecEntry::Full(codec) => self.full(place, codec),
                    });
                }
                codecs
            }
        }
    }

    fn short(&mut self, place: Place<'_>, word: &str) -> Option<Codec> {
        let mut parts = word.split(':').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let mut configuration = Map::new();
        if name == "blosc"
            && let Some(compressor) = parts.next()
        {
            configuration.insert("cname".to_owned(), compressor.into());
        }
        let level = parts.next();
        let number = level.map(str::parse::<i64>);
        if parts.next().is_some() || matches!(number, Some(Err(_))) || (level.is_some() && name == "crc32c") {
            self.error(Code::BadCodec, place.span(), format!("`{word}` is no shorthand of a codec"), SHORT_HELP);
            return None;
        }
        if let Some(Ok(level)) = number {
            configuration.insert(if name == "blosc" { "clevel" } else { "level" }.to_owned(), level.into());
        }
        self.codec(place, name, configuration, true)
    }

    fn full(&mut self, place: Place<'_>, written: &CodecWritten) -> Option<Codec> {
        let configuration = written.configuration.clone().unwrap_or_default().into_iter().collect();
        self.codec(place, written.name.as_deref()?, configuration, false)
    }

    fn codec(&mut self, place: Place<'_>, name: &str, mut configuration: Map<String, Value>, short: bool) -> Option<Codec> {
        if name.starts_with("numcodecs.") && !short {
            let message = format!("`{name}` is not in the Zarr specification");
            self.warn(Code::CodecNotCore, place.span(), message, "some readers will not open the result; blosc, zstd and gzip are safe");
            return Some(Codec { name: name.to_owned(), configuration: configuration.into() });
        }
        let Some(settings) = settings(name) else {
            self.unknown_codec(place, name);
            return None;
        };
        let before = self.problems.len();
        for (key, value) in &configuration {
            let spot = if short { place } else { place.get("configuration").get(key) };
            match settings.iter().find(|setting| setting.name == key) {
                None => {
                    let known: Vec<&str> = settings.iter().map(|setting| setting.name).collect();
                    let label = similar(key, known.iter().copied()).map_or(String::new(), |meant| format!("did you mean `{meant}`?"));
                    let help = if known.is_empty() { "it has no settings".to_owned() } else { format!("settings: {}", known.join(", ")) };
                    self.labelled(Code::BadCodec, spot.key(), format!("the codec `{name}` has no setting `{key}`"), label, help);
                }
                Some(setting) if !setting.allows(value) => {
                    let message = format!("`{key}` of the codec `{name}` cannot be {value}");
                    self.error(Code::BadCodec, spot.span(), message, setting.describe());
                }
                Some(_) => {}
            }
        }
        for setting in &settings {
            if let Some(default) = &setting.default {
                configuration.entry(setting.name).or_insert_with(|| default.clone());
            }
        }
        (self.problems.len() == before).then(|| Codec { name: name.to_owned(), configuration: configuration.into() })
    }

    fn unknown_codec(&mut self, place: Place<'_>, name: &str) {
        let label = similar(name, CORE).map_or(String::new(), |meant| format!("did you mean `{meant}`?"));
        let help = match IMPLIED.iter().find(|(implied, _)| *implied == name) {
            Some((_, help)) => (*help).to_owned(),
            None if name.starts_with("numcodecs.") => "write it out in full: {name: …, configuration: {…}}".to_owned(),
            None => SHORT_HELP.to_owned(),
        };
        self.labelled(Code::UnknownCodec, place.span(), format!("`{name}` cannot be used as a codec"), label, help);
    }
}

/// One setting of a codec.
struct Setting {
    name: &'static str,
    values: Values,
    /// Written into the metadata when the recipe is silent.
    default: Option<Value>,
}

enum Values {
    Words(&'static [&'static str]),
    Between(i64, i64),
    Truth,
}

impl Setting {
    fn allows(&self, value: &Value) -> bool {
        match self.values {
            Values::Words(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Values::Between(low, high) => value.as_i64().is_some_and(|number| (low..=high).contains(&number)),
            Values::Truth => value.is_boolean(),
        }
    }

    fn describe(&self) -> String {
        match self.values {
            Values::Words(words) => format!("one of: {}", words.join(", ")),
            Values::Between(low, high) => format!("a whole number from {low} to {high}"),
            Values::Truth => "true or false".to_owned(),
        }
    }
}

fn settings(codec: &str) -> Option<Vec<Setting>> {
    let setting = |name, values, default| Setting { name, values, default };
    Some(match codec {
        "blosc" => vec![
            setting("cname", Values::Words(&BLOSC), Some(json!("zstd"))),
            setting("clevel", Values::Between(0, 9), Some(json!(1))),
            setting("shuffle", Values::Words(&SHUFFLES), Some(json!("shuffle"))),
            setting("typesize", Values::Between(1, 255), None),
            setting("blocksize", Values::Between(0, i64::from(i32::MAX)), Some(json!(0))),
        ],
        "zstd" => {
            vec![setting("level", Values::Between(-131_072, 22), Some(json!(3))), setting("checksum", Values::Truth, Some(json!(false)))]
        }
        "gzip" => vec![setting("level", Values::Between(0, 9), Some(json!(5)))],
        "crc32c" => vec![],
        _ => return None,
    })
}
