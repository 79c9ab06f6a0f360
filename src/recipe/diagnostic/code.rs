//! Every problem we know, by its stable name, with what it means and what to do.
//!
//! One table; `docs/errors.md` is generated from it. Invariant: a name, once published, keeps its meaning.

use serde::{Serialize, Serializer};

/// Who can find a problem; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The recipe alone shows it (`check`, offline).
    Recipe,
    /// A name, size or number in the recipe that the files show to be wrong (`plan`).
    Plan,
    /// A source file cannot be used, and trying again will not help.
    Source,
    /// Inputs disagree with each other or with what the recipe expects.
    Data,
    /// Trying again later can help.
    Temporary,
    /// Somebody else's data, or another run, is at the target.
    Conflict,
    /// What was written is not what was read.
    Verification,
    /// Cannot be done within the memory, disk or budget given.
    Resources,
}

impl Class {
    /// All classes, in the order of their exit codes.
    pub const ALL: [Self; 8] =
        [Self::Recipe, Self::Plan, Self::Source, Self::Data, Self::Temporary, Self::Conflict, Self::Verification, Self::Resources];

    /// Exit code of the command line (DESIGN section 8).
    #[must_use]
    pub fn exit(self) -> u8 {
        match self {
            Self::Recipe | Self::Plan => 2,
            Self::Source => 3,
            Self::Data => 4,
            Self::Temporary => 5,
            Self::Conflict => 6,
            Self::Verification => 7,
            Self::Resources => 8,
        }
    }

    /// Heading in `docs/errors.md`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Recipe => "The recipe, by itself",
            Self::Plan => "The recipe, once the files are known",
            Self::Source => "Source files",
            Self::Data => "The data contract",
            Self::Temporary => "Passing faults",
            Self::Conflict => "The target",
            Self::Verification => "Verification",
            Self::Resources => "Memory and disk",
        }
    }
}

macro_rules! codes {
    ($($class:ident { $($variant:ident $name:literal $explanation:literal)* })*) => {
        /// Every problem we know, by its stable name. [`Code::exit`] gives its class.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $explanation] $variant,)*)*
        }

        impl Code {
            /// Every code, by class.
            #[must_use]
            pub fn all() -> &'static [Self] {
                &[$($(Self::$variant,)*)*]
            }

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($(Self::$variant => $name,)*)* }
            }

            /// What it means and what to do: a paragraph of Markdown.
            #[must_use]
            pub fn explain(self) -> &'static str {
                match self { $($(Self::$variant => $explanation,)*)* }
            }

            /// Who can find it.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $($(Self::$variant => Class::$class,)*)* }
            }
        }
    };
}

codes! {
    Recipe {
        RecipeTooLarge "recipe-too-large" "A recipe is read only up to 1 MiB. Long lists of files are better written as a pattern with keys."
        YamlSyntax "yaml-syntax" "The text is not YAML: an indentation, a bracket or a quote is wrong at or shortly before the place shown. Texts that hold `: ` or ` #`, or begin with one of `{ [ & * ! | > % @`, need quotes."
        NestedTooDeep "nested-too-deep" "Lists and mappings are nested more than 32 deep. No recipe needs that; look for brackets that are never closed."
        YamlAlias "yaml-alias" "A recipe uses no YAML anchors (`&name`) and aliases (`*name`), so that a small text cannot stand for an enormous one. Write the value out at both places."
        UnquotedStar "unquoted-star" "In YAML an unquoted `*` begins an alias. Quote it: `\"*\":` for \"every other variable\", `\"*_bnds\"` for a glob."
        YamlTag "yaml-tag" "A recipe is plain data: YAML tags (`!something`) are refused. Remove the tag."
        SeveralDocuments "several-documents" "A recipe is one YAML document. Put every further recipe in a file of its own."
        DuplicateKey "duplicate-key" "The same key is written twice in one mapping; nobody could tell which one counts. Remove one of them."
        UnknownKey "unknown-key" "No recipe has this key at this place. The help lists what is allowed; `gristmill schema` prints the whole schema."
        MissingKey "missing-key" "A required key is absent. A recipe needs `schema`, `id`, `title`, `license` and `inputs`; some mappings below them need keys of their own."
        WrongType "wrong-type" "The value is of another kind than this key takes: a text where a list belongs, a word where a number belongs. A single name in a list is written `[name]`."
        UnknownValue "unknown-value" "This key takes one of a few words, and the one written is not among them."
        UnknownStep "unknown-step" "There is no step of that name. A step is a mapping with one key, the name of the operation: `- drop: [time_bnds]`."
        NotYetSupported "not-yet-supported" "The recipe is valid, but asks for something that this version of Gristmill cannot do yet, or that was left out of this build of it."
        UnsupportedSchema "unsupported-schema" "`schema` says which version of the recipe contract the file follows. This version of Gristmill reads `schema: 1`."
        BadId "bad-id" "An id is made of lowercase letters, digits and `-`, begins and ends with a letter or digit and has at most 100 characters."
        EmptyValue "empty-value" "A text or list that must say something is empty."
        BadUrl "bad-url" "The text is not a URL, or is one that cannot be used here. `doi`, `url` of a provider and every input are checked; inputs are `https://`, `http://`, `ftp(s)://`, `sftp://`, `s3://`, `gs://`, `az://`, `file://` URLs or paths relative to the recipe."
        BadProviderRole "bad-provider-role" "As in STAC, a provider is a `producer`, `licensor`, `processor` or `host`."
        UrlOrFiles "url-or-files" "`inputs` has either a `url`, with `keys` for its pattern, a list of `files`, or a rule, `find`; never several, never none, and `keys` and `except` go with `url` only."
        BadFind "bad-find" "`inputs.find` says one place to look at (`glob`, `manifest`, …), and nothing that contradicts itself. A glob has a wildcard, and none in the host or bucket."
        BadNamePattern "bad-name-pattern" "A regular expression (`match`) or glob cannot be read. Named groups are written `(?<name>…)`; look-arounds and back-references do not exist here, so that no text takes long to match. Single quotes keep YAML from reading backslashes."
        TemplateSyntax "template-syntax" "The braces of the URL template do not match. `{name}` or `{name:format}` stands for a key; literal braces are doubled: `{{` and `}}`."
        UndefinedKey "undefined-key" "The URL template uses a name that `inputs.keys` does not define."
        TemplateFormat "template-format" "The format after the colon does not suit the key: dates take fields such as `%Y%m%d`, whole numbers take a padding such as `03d`, texts take none."
        UnusedKey "unused-key" "A key is defined, but the URL template does not use it, so that several inputs would be one and the same file."
        BadDate "bad-date" "A date is written `1981`, `1981-09`, `1981-09-01` or `1981-09-01T06:30`; years go from 0001 to 9999 and the day must exist. The `end` of a series may also be `today`, `yesterday` or `today - 2 days`."
        BadPeriod "bad-period" "A step in time is a whole number and a unit: `1 day`, `6 hours`, `3 months`, `1 year`; also second, minute, week."
        BadRange "bad-range" "The start, end and step of a key give no values, or a step of zero never ends. `end` is inclusive and must be reachable from `start`."
        BadKey "bad-key" "A key is defined by exactly one of `dates`, `range` and `list`, and its name begins with a letter and holds only letters, digits and `_`."
        TooManyInputs "too-many-inputs" "The pattern has more than a million inputs; each would be opened. Check the step of the dates, or split the recipe."
        DuplicateInput "duplicate-input" "The same file would be read at two places of the result. Look for a date format that is coarser than the step of the key, or a file listed twice."
        EmptyPattern "empty-pattern" "No input is left: `except` removes everything, or a list is empty."
        BadException "bad-exception" "An entry of `except` names a key that does not exist, or a value that the key never has, so it would except nothing."
        KeyWithoutRole "key-without-role" "Every key says what happens along it: name it in `combine.concat` (files follow one another) or in `combine.merge` (files hold different variables)."
        KeyWithTwoRoles "key-with-two-roles" "A key is named more than once in `combine`; it can be concatenated or merged, along one dimension, once."
        NotAKey "not-a-key" "An entry of `combine` must be a key of the pattern. Where the dimension has another name than the key, write `{dim: time, keys: [year, month]}`."
        FilesWithoutConcat "files-without-concat" "Several files are listed, but the recipe doesn't say along which dimension they follow one another. Add `combine: {concat: [time]}`, with one dimension."
        BadLength "bad-length" "A length of a chunk or shard is a whole number, at least 1; for chunks, -1 means the whole dimension."
        ShardMismatch "shard-mismatch" "A shard holds whole chunks: its length along a dimension is a multiple of the chunk's. Shards exist in `zarr3` only."
        BadSize "bad-size" "A size is a number and a unit, such as `64 MiB` or `100 MB`."
        BadWeight "bad-weight" "Weights of `favour` are numbers above zero."
        UnknownCodec "unknown-codec" "The codec is not one that every reader of Zarr understands. Use `blosc`, `zstd`, `gzip` or `crc32c`, or write a `numcodecs.*` codec out in full, with its configuration."
        BadCodec "bad-codec" "The codec's configuration holds an unknown setting, or a value out of range."
        BadPacking "bad-packing" "`scale_factor` and `add_offset` go with an integer `dtype`; the scale is not zero; `fill_value` fits the `dtype`."
        BadShare "bad-share" "A share is written `60 %` or `0.6`, between 0 and 100 %."
        BadBounds "bad-bounds" "`values_between` takes two numbers, the smaller one first; `join` takes a tolerance that is not negative."
        BadStep "bad-step" "A step contradicts itself: `isel` with `at` and a range, a step that names nothing, two variables renamed to one name."
        BadTimeUnits "bad-time-units" "`units` of a variable's encoding is what a time counts, such as `days since 1970-01-01`. It converts times only, and goes with no packing."
        PolicyWithoutUse "policy-without-use" "A policy can never matter in this recipe, or contradicts the rest of it: `late` or `overlap` where no files follow one another, `rewrite-tail` with shards."
        SecretInUrl "secret-in-url" "The URL holds a user name, a password, or a token as a parameter (`?token=…`, `?api_key=…`, `?X-Amz-Signature=…`). Recipes are public; the operator keeps credentials, outside the recipe, and a recipe names one with `auth`. Change the secret, too, if it was ever pushed."
        SecretInRecipe "secret-in-recipe" "A text in the recipe looks like the access key of a cloud account (`AKIA…`). Recipes are public: remove it, and revoke the key if it was ever pushed."
        BadAuth "bad-auth" "`auth` is the name of a credential: letters, digits, `-` and `_`, at most 64. The operator's `gristmill.toml` says in `[auth.NAME]` what it stands for and which hosts may have it."
        LicenseUnknown "license-unknown" "Advice: `license` should be an SPDX id, such as `CC-BY-4.0`, or a URL where the terms are written."
        TinyChunks "tiny-chunks" "Advice: chunks this small make a great many objects; readers wait for every one of them."
        CodecNotCore "codec-not-core" "Advice: `numcodecs.*` codecs are not in the Zarr specification; some readers can't open the result."
        LooksOdd "looks-odd" "Advice: YAML reads an unquoted word as something else than was probably meant, such as `no` or `1.10`. Quotes make it a text."
    }
    Plan {
        ConcatDimensionAbsent "concat-dimension-absent" "`combine.concat` names a dimension that no input has after the steps. Check the spelling with `gristmill inspect`, or add `- expand_dims: [name]` to the steps."
        ChunkDimensionUnknown "chunk-dimension-unknown" "`output.chunks`, `output.shards` or `favour` names a dimension that the result does not have. Names are those after the steps."
        VariableUnknown "variable-unknown" "`output.encoding` or `expect` names a variable or dimension that the result does not have. Names are those after the steps."
        StepNameAbsent "step-name-absent" "A step names a variable, dimension or coordinate that no input has at that point of the steps."
        StepImpossible "step-impossible" "A step cannot be done to an input: squeezing a dimension longer than 1, sorting by a coordinate that is absent, renaming to a name that is taken."
        TooManyObjects "too-many-objects" "The result would have so many objects that writing and listing them takes days. The message proposes chunk lengths that are sane."
        ChunkTooLarge "chunk-too-large" "One chunk would be larger than readers and codecs can handle (2 GiB). The message proposes a length."
        FillLengthUncertain "fill-length-uncertain" "`missing: fill` needs to know how long the missing file was; along this dimension the files have different lengths. Use `skip`, or except the cell."
        NamesDoNotMatch "names-do-not-match" "Files were found, but none of their paths holds what `match`, `include` or `exclude` ask for. The message shows some of the paths; `gristmill inputs RECIPE --raw` shows all of them."
        KeyNotRead "key-not-read" "What `match` captured, or a field, is not what `find.keys` says it is: no such date, no number, or absent. Correct the expression or the format, or leave those files out with `exclude`."
        TooManyFound "too-many-found" "More was found than is ever read: a million files, 20,000 pages, folders 32 deep, an hour of looking; a tenth of that for a recipe that is not trusted. Narrow the glob or the query."
        SourceNotRemembered "source-not-remembered" "`--frozen` asks no server and trusts what an earlier `plan` or `run` found in the files. This one was in none of them under the same keys and steps, or more is now wanted of it: run the command once without `--frozen`."
        AddressRefused "address-refused" "The operator's policy refuses the address: a private network, a path of the machine in a recipe that is not trusted, or a scheme that is not known."
    }
    Source {
        SourceAbsent "source-absent" "The file isn't there (404, 410, no such file). Check the pattern's dates; leave known gaps out with `except`, or say `missing: skip`."
        SourceForbidden "source-forbidden" "The server wants a login, or refuses the one it got (401, 403). The operator binds credentials to hosts; a recipe never holds them."
        SourceNotData "source-not-data" "The bytes are no format we read; often it is an HTML page that a server sends instead of the file."
        SourceCorrupt "source-corrupt" "The file is truncated or damaged. Fetch it anew; tell the archive if it stays so."
        SourceUnreadable "source-unreadable" "The address cannot be read as it stands: a redirect that leads nowhere, a folder instead of a file, a request that the server does not understand. Check the URL."
        NothingFound "nothing-found" "There is nothing at the place that `find` names: an empty folder, a table without rows, a query without results. Check the address and the query."
        NotAnIndex "not-an-index" "What the server sends is no listing: a login or error page, a table without a column of URLs, a document of another kind. Open the address in a browser."
        SourceUnsupported "source-unsupported" "A variable has a type or filter that we do not read. Drop it with `- drop: [name]` if it is not needed."
    }
    Data {
        CoordinateMismatch "coordinate-mismatch" "A coordinate that all inputs share has different values in some of them. If the difference is rounding, `combine: {join: {tolerance: 1e-6}}` accepts it and keeps the first input's values."
        StaticVariableDiffers "static-variable-differs" "A variable without the concat dimension should be the same in all inputs, but is not. Drop it, or give it the dimension with `expand_dims`."
        UnitsMismatch "units-mismatch" "`units` differ between inputs. Gristmill does not guess which is right: `combine: {units: convert}` converts to the first file's where the factor is exactly known; set them with an `attrs` step only if the numbers really are in that unit."
        CalendarMismatch "calendar-mismatch" "The time coordinates of two inputs use really different calendars; no conversion keeps dates and distances both."
        TimeNotJoinable "time-not-joinable" "The times of the inputs are counted differently, and there is no unit in which every value is a whole number; or the recipe says `times: fail`; or the units that it asks for cannot hold every value exactly."
        NotMonotonic "not-monotonic" "The coordinate along the concat dimension goes back and forth. Check the order of the inputs; `combine: {order: as_listed}` keeps them as they are."
        DuplicatedCoordinate "duplicated-coordinate" "The same coordinate value occurs in two inputs: they overlap. `combine: {overlap: first}` or `last` keeps one of the two; or except one of the files, cut with `isel`, or keep both with `combine: {order: as_listed}`."
        AttributeConflict "attribute-conflict" "An attribute differs between inputs, and the recipe says `attributes: fail`, or it is one that decides what the numbers mean, or one that names the site of which they are."
        TypeMismatch "type-mismatch" "A variable has types in different inputs that no common type holds exactly; or that differ at all, where the recipe says `dtype: fail`."
        PackingMismatch "packing-mismatch" "`scale_factor`, `add_offset` or `_Unsigned` differ between inputs, and the recipe says `packing: fail`. Without it such a variable is stored unpacked, as float64; a packing under `output.encoding` packs it anew."
        DimensionLengthMismatch "dimension-length-mismatch" "A dimension that is not concatenated has different lengths in different inputs."
        DimensionsDiffer "dimensions-differ" "A variable has other dimensions, or another order of them, in some inputs. `squeeze`, `expand_dims` or `transpose` can make them alike."
        VariableAbsent "variable-absent" "Some inputs lack a variable that others have. `combine: {absent: fill}` fills its part; `drop` removes it everywhere."
        SourceChanged "source-changed" "A file is not what it was when it was scanned. Run again: it is scanned anew, and only what depends on it is done again."
        ConversionInexact "conversion-inexact" "A value cannot be stored in the type or units of the result without loss. Drop the variable, or give it a wider `dtype` under `output.encoding`."
        FoundTwice "found-twice" "Several files were found for the same keys, or the same file several times. `find: {newest: …}` takes the newest by a named group or by `modified`; `exclude` leaves some out; or capture what tells them apart as a key."
        FoundIncomplete "found-incomplete" "Not every combination of the keys that were found has a file. `missing: skip` or `fill` accepts that; `late: skip` ends the series before it; or leave the others out with `exclude`."
        FoundCount "found-count" "There are fewer or more inputs than `find` expects with `at_least` and `at_most`. If the archive is as it should be, correct the number."
        ExpectationFailed "expectation-failed" "The data break a rule under `expect` in the recipe."
        Unappendable "unappendable" "New files cannot join what is published: they would change a type, the packing, units or chunks, and the published encoding is fixed. Make the new files agree, bake them to another target, or build the store anew with `--replace`."
    }
    Temporary {
        SourceTemporary "source-temporary" "The server was busy, slow or away, and all retries are used up. Run the same command again; what is done is kept."
    }
    Conflict {
        TargetHeld "target-held" "Another run writes to the same target right now."
        TargetMoved "target-moved" "Somebody else has committed to the Icechunk repository since this recipe was last baked into it, or while the run worked. Nothing was merged, and nothing of this run is visible. Look at what they have committed; `--replace` then puts this dataset on top of it (the history keeps theirs), or choose another target."
        TargetUnable "target-unable" "The target's store cannot do what this way of writing needs, such as keeping two writers apart. `gristmill store probe URL` shows what it can do and what follows; nothing was touched."
        PublishedChanged "published-changed" "A file that the published data were made from is no longer what it was. `inputs: {changed: keep}`, or `--changed keep`, leaves what is published as it is and says so in the report; `rebake`, or `--replace`, builds it anew."
        AppendRefused "append-refused" "The recipe does not simply go on where the published data end: it gives less, something else, or ends inside a chunk. Nothing was touched. `--replace` builds anew; `output: {append: rewrite-tail}` lets a last, partial chunk grow."
        TargetForeign "target-foreign" "The target holds another dataset, an earlier state of this one, or objects that no run of Gristmill accounts for. Choose another target, or `--replace`; nothing was touched."
    }
    Verification {
        VerificationFailed "verification-failed" "Values read back from the store are not those of the source. This is a fault of Gristmill or of the storage: please report it."
        ObjectAltered "object-altered" "The store does not give back what it acknowledged: an object is gone, has another size or other bytes. Nothing was published. Some S3-compatible servers, and proxies before them, store checksum trailers as data or re-encode what passes; `gristmill store probe` tells. Objects that are merely lost are written once more before a run gives up; after this error the next run writes the object again."
        TaskUnrepeatable "task-unrepeatable" "A task was done twice and gave different bytes. Results follow from the plan alone, so a file that changed unnoticed, a broken memory or disk, or a fault of Gristmill is behind it. Nothing was published; build the store anew with `--replace`, and report it if it happens again."
    }
    Resources {
        MemoryTooSmall "memory-too-small" "Even one task needs more memory than `--memory` allows. Raise it, or make the chunks smaller."
        DiskTooSmall "disk-too-small" "The disk has no room for the result or for the scratch array of a two-stage plan."
        BudgetExceeded "budget-exceeded" "The run would read more files, more bytes or for longer than `[limits]` of `gristmill.toml` (or `--max-inputs`, `--max-bytes`, `--max-minutes`) allows. Recipes that are not trusted have limits in any case. Bake less at once, or have the operator raise the limit."
    }
}

impl Code {
    /// Exit code of the command line (DESIGN section 8).
    #[must_use]
    pub fn exit(self) -> u8 {
        self.class().exit()
    }

    /// The page `docs/errors.md`.
    #[must_use]
    pub fn page() -> String {
        let head = "# Every error by its code\n\nGenerated from the code (`src/recipe/diagnostic/code.rs`); \
                    `GRISTMILL_BLESS=1 cargo test --test schema` writes it anew.\n";
        Class::ALL.into_iter().fold(head.to_owned(), |page, class| page + &class.section())
    }
}

impl Class {
    /// Its part of `docs/errors.md`.
    fn section(self) -> String {
        let head = format!("\n## {} (exit {})\n", self.title(), self.exit());
        let codes = Code::all().iter().filter(|code| code.class() == self);
        codes.fold(head, |section, code| section + &format!("\n### `{}`\n\n{}\n", code.name(), code.explain()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kebab_case_variants() {
        for code in Code::all() {
            let kebab = format!("{code:?}").chars().fold(String::new(), |mut name, letter| {
                if letter.is_uppercase() && !name.is_empty() {
                    name.push('-');
                }
                name.extend(letter.to_lowercase());
                name
            });
            assert_eq!(code.name(), kebab);
        }
        assert!(Code::all().len() >= 30);
    }
}
