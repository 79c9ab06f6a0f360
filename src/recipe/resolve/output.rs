//! `output`: chunks, shards, encoding, format.

use std::collections::BTreeMap;

use super::Resolver;
use crate::array::DataType;
use crate::cf::time::is_reference;
use crate::recipe::diagnostic::{Code, Span};
use crate::recipe::document::{AppendWritten, Auto, ChunksWritten, EncodingWritten, FormatWritten, OutputWritten};
use crate::recipe::tree::Place;
use crate::recipe::{Chunks, EncodingChoice, Output, OutputFormat};
use crate::size::ByteSize;

/// Bytes of a chunk where the recipe is silent.
const CHUNK_SIZE: ByteSize = ByteSize(64 << 20);

/// Types that can be stored, by name.
const TYPES: [DataType; 10] = [
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
    DataType::UInt64,
    DataType::Float32,
    DataType::Float64,
];

impl Resolver<'_> {
    pub(super) fn output(&mut self, written: &OutputWritten) -> Output {
        let place = self.root.get("output");
        let chunks = self.chunks(place.get("chunks"), written.chunks.as_ref());
        let chunks_span = if place.get("chunks").is_written() { place.get("chunks").key() } else { Span::default() };
        let format = self.format(place.get("format"), written.format);
        let shards = written.shards.as_ref().map(|lengths| self.lengths(place.get("shards"), lengths, "shard"));
        if let Some(shards) = &shards {
            self.shards(place.get("shards"), shards, &chunks, format);
        }
        let mut encoding = BTreeMap::new();
        for (name, choice) in written.encoding.iter().flatten() {
            let spot = place.get("encoding").get(name);
            if name == "*" && choice.units.is_some() {
                let help = "name the time variable";
                self.error(Code::BadTimeUnits, spot.get("units").key(), "`units` are of one variable, not of all", help);
            }
            encoding.insert(name.clone(), (self.encoding(spot, choice), spot.key()));
        }
        let rewrite_tail = matches!(written.append, Some(AppendWritten::RewriteTail));
        if rewrite_tail && shards.is_some() {
            let help = "remove `shards`, or append whole shards";
            let message = "a last, partial shard cannot be rewritten: whoever reads it meanwhile would mix the old one's index with the new one's chunks";
            self.error(Code::PolicyWithoutUse, place.get("append").span(), message, help);
        }
        Output { chunks, chunks_span, shards, encoding, format, rewrite_tail }
    }

    fn format(&mut self, place: Place<'_>, written: Option<FormatWritten>) -> OutputFormat {
        match written {
            None | Some(FormatWritten::Zarr3) => {}
            Some(FormatWritten::Zarr2) => return OutputFormat::Zarr2,
            Some(FormatWritten::Icechunk) => return self.icechunk(place.span()),
            Some(FormatWritten::Virtual) => {
                self.later(place.span(), "`format: virtual`", "write `zarr3`, `zarr2` or `icechunk`, or remove the key");
            }
        }
        OutputFormat::Zarr3
    }

    fn icechunk(&mut self, span: Span) -> OutputFormat {
        if cfg!(not(feature = "icechunk")) {
            let help = "use a released binary, build with `--features icechunk`, or write `zarr3`";
            self.error(Code::NotYetSupported, span, "`format: icechunk` is not in this build of gristmill", help);
        }
        OutputFormat::Icechunk
    }

    fn chunks(&mut self, place: Place<'_>, written: Option<&ChunksWritten>) -> Chunks {
        match written {
            None => Chunks::Auto { size: CHUNK_SIZE, favour: BTreeMap::new() },
            Some(ChunksWritten::Lengths(lengths)) => Chunks::Sizes(self.lengths(place, lengths, "chunk")),
            Some(ChunksWritten::Auto(key)) => match &key.auto {
                None => Chunks::Sizes(BTreeMap::new()),
                Some(auto) => self.auto(place.get("auto"), auto),
            },
        }
    }

    fn auto(&mut self, place: Place<'_>, auto: &Auto) -> Chunks {
        let size = auto.size.as_ref().map_or(Ok(CHUNK_SIZE), |size| size.0.parse::<ByteSize>());
        let small = matches!(size, Ok(size) if size.0 < 1024);
        if let Some(message) =
            size.as_ref().err().map(ToString::to_string).or_else(|| small.then(|| "a chunk of less than 1 KiB is refused".to_owned()))
        {
            self.error(Code::BadSize, place.get("size").span(), message, "64 MiB is a good size for most uses");
        }
        for (name, _) in auto.favour.iter().flatten().filter(|(_, weight)| **weight <= 0.0) {
            let span = place.get("favour").get(name).span();
            self.error(
                Code::BadWeight,
                span,
                format!("the weight of `{name}` is not above zero"),
                "1 is neutral; 10 makes chunks ten times as long",
            );
        }
        Chunks::Auto { size: size.unwrap_or(CHUNK_SIZE), favour: auto.favour.clone().unwrap_or_default() }
    }

    /// Lengths by dimension; -1 (whole) is left out, for chunks.
    fn lengths(&mut self, place: Place<'_>, written: &BTreeMap<String, i64>, what: &str) -> BTreeMap<String, u64> {
        let mut lengths = BTreeMap::new();
        for (name, &length) in written {
            match u64::try_from(length) {
                Ok(positive @ 1..) => {
                    lengths.insert(name.clone(), positive);
                }
                _ if length == -1 && what == "chunk" => {}
                _ => {
                    let help = if what == "chunk" {
                        "write a whole number from 1, or -1 for the whole dimension"
                    } else {
                        "write a whole number from 1"
                    };
                    let message = format!("a {what} cannot be {length} long along `{name}`");
                    self.error(Code::BadLength, place.get(name).span(), message, help);
                }
            }
        }
        lengths
    }

    fn shards(&mut self, place: Place<'_>, shards: &BTreeMap<String, u64>, chunks: &Chunks, format: OutputFormat) {
        if format == OutputFormat::Zarr2 {
            self.error(Code::ShardMismatch, place.key(), "Zarr 2 has no shards", "remove `shards`, or write `format: zarr3`");
        }
        let Chunks::Sizes(sizes) = chunks else { return };
        for (name, shard) in shards {
            if let Some(chunk) = sizes.get(name).filter(|chunk| shard % **chunk != 0) {
                let message = format!("a shard of {shard} along `{name}` does not hold whole chunks of {chunk}");
                let help = format!("write a multiple of {chunk}, such as {}", shard.div_ceil(*chunk).saturating_mul(*chunk));
                self.error(Code::ShardMismatch, place.get(name).span(), message, help);
            }
        }
    }

    fn encoding(&mut self, place: Place<'_>, written: &EncodingWritten) -> EncodingChoice {
        let codecs = written.codecs.as_ref().map(|codecs| self.codecs(place.get("codecs"), codecs));
        let chunks = written.chunks.as_ref().map(|lengths| self.lengths(place.get("chunks"), lengths, "chunk"));
        let dtype = written.dtype.as_ref().and_then(|name| self.dtype(place.get("dtype").span(), name));
        let packing = self.packing(place, written, dtype);
        let fill = written.fill_value;
        if let Some(fill) = fill {
            self.fill(place.get("fill_value").span(), fill, dtype);
        }
        let units = written.units.clone();
        if units.as_ref().is_some_and(|units| !is_reference(units)) {
            let help =
                "only times can be counted anew here: write `days since 1970-01-01`; other units are the step `attrs`' or `combine.units`'";
            self.error(Code::BadTimeUnits, place.get("units").span(), "these units count no time from a date", help);
        }
        if units.is_some() && packing.is_some() {
            let help = "remove `scale_factor` and `add_offset`, or `units`";
            self.error(Code::BadTimeUnits, place.get("units").span(), "times are counted, not packed", help);
        }
        EncodingChoice { codecs, chunks, dtype, packing, fill, units }
    }

    fn dtype(&mut self, span: Span, name: &str) -> Option<DataType> {
        let dtype = TYPES.into_iter().find(|dtype| dtype.name() == name);
        if dtype.is_none() {
            let names: Vec<&str> = TYPES.iter().map(|dtype| dtype.name()).collect();
            self.error(Code::UnknownValue, span, format!("`{name}` is not a type"), format!("one of: {}", names.join(", ")));
        }
        dtype
    }

    fn packing(&mut self, place: Place<'_>, written: &EncodingWritten, dtype: Option<DataType>) -> Option<(f64, f64)> {
        let (scale, offset) = (written.scale_factor, written.add_offset);
        let spot = if scale.is_some() { place.get("scale_factor") } else { place.get("add_offset") };
        if scale.is_none() && offset.is_none() {
            return None;
        }
        let typed = dtype.is_some() || written.dtype.is_some();
        if !typed || dtype.is_some_and(DataType::is_float) {
            self.error(Code::BadPacking, spot.key(), "packing needs an integer type", "add `dtype: int16`");
        }
        if scale == Some(0.0) {
            self.error(
                Code::BadPacking,
                spot.span(),
                "a scale of 0 would make every value the same",
                "write the step between neighbouring values",
            );
        }
        Some((scale.unwrap_or(1.0), offset.unwrap_or(0.0)))
    }

    fn fill(&mut self, span: Span, fill: i64, dtype: Option<DataType>) {
        let Some(dtype) = dtype else {
            self.error(Code::BadPacking, span, "a fill value needs an integer type", "add `dtype: int16`");
            return;
        };
        let bits = dtype.size() * 8;
        let fits = match dtype {
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => fill >= 0 && (bits == 64 || fill >> bits == 0),
            DataType::Float32 | DataType::Float64 => false,
            _ => bits == 64 || (fill >> (bits - 1) == 0 || fill >> (bits - 1) == -1),
        };
        if !fits {
            let help = "floats mark missing values with NaN; an integer's mark lies within its range";
            self.error(Code::BadPacking, span, format!("{fill} cannot be the fill value of {dtype}"), help);
        }
    }
}
