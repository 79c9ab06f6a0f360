//! Whether a text is a unit, and a name a standard name, as CF spells them (CF §3.1, §3.3; UDUNITS-2's grammar and names).
//!
//! Names and forms only: what a unit means is `units`. Invariant: what UDUNITS reads is not called wrong; what it does not know may be
//! (`psu`, `dBuV`), and is what this is for.

/// Names of units that take prefixes, and whose plural is formed with `s`.
const NAMES: &str = r"
    meter metre gram gramme second ampere kelvin mole candela radian steradian hertz gray becquerel coulomb lumen lux katal newton
    pascal joule watt volt farad ohm siemens weber tesla henry sievert liter litre tonne bar minute hour day week fortnight month year
    degree arc_degree arc_minute arc_second arcminute arcsecond angle_degree electronvolt electron_volt hectare are barn knot mile
    foot inch yard pound ounce calorie erg dyne gal gauss poise stokes curie roentgen rad rem langley atmosphere standard_atmosphere
    torr horsepower acre gallon bit byte baud count circle cycle turn revolution percent micron angstrom nautical_mile metric_ton
    dobson sverdrup astronomical_unit light_year parsec atomic_mass_unit common_year leap_year Julian_year Gregorian_year
    tropical_year sidereal_day kayser einstein gravity standard_free_fall rankine fahrenheit celsius octet jansky
";

/// Symbols that take prefixes.
const SYMBOLS: &str = r"
    m g s A K mol cd rad sr Hz Gy Bq C lm lx kat N Pa J W V F Ω S Wb T H Sv L l t bar b eV u h d cal Gal P St Ci R G yr a Jy erg dyn B
    pc
";

/// Names that are complete as they stand; `level` and its like are of CF alone, and after them come the words of the grammar.
const WHOLE: &str = r#"
    sec min hr hours degrees feet ft in inches yd mi lb lbs oz atm at mmHg inHg cmHg mmH2O psi hp kt kts kn kph mph nmile NM nmi ua au
    ly ha acre DU ppv ppm ppmv ppb ppbv ppt pptv ppq ppqv BZ dBZ Z dB pH rps cps rpm bps gpm gpdm geopotential ° ' " % °C °F °K degC
    deg_C degF deg_F degK deg_K degR Celsius Kelvin Fahrenheit degree_C degrees_C degree_K degrees_K degree_F degrees_F degree_Celsius
    degrees_Celsius degree_celsius degrees_celsius degree_Kelvin degrees_Kelvin degree_kelvin degrees_kelvin degree_north
    degrees_north degree_N degrees_N degreeN degreesN degree_east degrees_east degree_E degrees_E degreeE degreesE degree_south
    degrees_south degree_S degrees_S degree_west degrees_west degree_W degrees_W degree_true degrees_true degree_T degrees_T deg
    henries hertz luxes siemens standard_free_fall g0 level layer sigma_level per PER Per re RE Re lg ln lb
"#;

const PREFIX_NAMES: [&str; 24] = [
    "yotta", "zetta", "exa", "peta", "tera", "giga", "mega", "kilo", "hecto", "deca", "deka", "deci", "centi", "milli", "micro", "nano",
    "pico", "femto", "atto", "zepto", "yocto", "kibi", "mebi", "gibi",
];
const PREFIX_SYMBOLS: [&str; 21] =
    ["Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "d", "c", "m", "µ", "μ", "u", "n", "p", "f", "a", "z"];

/// The first word of `units` that is no unit; `None` where all are, or nothing is said.
#[must_use]
pub fn unknown_unit(units: &str) -> Option<&str> {
    // What follows is a moment.
    let units = [" since ", " after ", " from ", " @ "].iter().find_map(|word| units.split_once(word)).map_or(units, |(before, _)| before);
    let is_part = |letter: char| letter.is_alphabetic() || matches!(letter, '_' | '°' | '%' | '\'' | '"' | 'µ' | 'μ');
    let mut rest = units;
    while let Some(start) = rest.find(|letter: char| !is_apart(letter)) {
        rest = rest.get(start..)?;
        let end = rest.find(|letter: char| !is_part(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            // A sign that has no place in a unit.
            return rest.get(..rest.chars().next()?.len_utf8());
        }
        // `mmH2O` and `g0` hold a digit.
        let longer = after.chars().take_while(|letter| letter.is_alphanumeric()).map(char::len_utf8).sum::<usize>();
        if let Some(whole) = rest.get(..end + longer).filter(|whole| longer > 0 && is_one_of(WHOLE, whole)) {
            rest = rest.get(whole.len()..)?;
            continue;
        }
        if !is_known(word) {
            return Some(word);
        }
        rest = after;
    }
    None
}

/// What stands between units: numbers, signs of powers, products and quotients.
fn is_apart(letter: char) -> bool {
    letter.is_ascii_digit() || letter.is_whitespace() || "+-.*/^()·⋅×:,⁺⁻¹²³⁴⁵⁶⁷⁸⁹⁰".contains(letter)
}

fn is_one_of(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|known| known == word)
}

fn is_known(word: &str) -> bool {
    // `1e-3` and `1E6`: the number's own letter.
    if word == "e" || word == "E" || is_one_of(WHOLE, word) || is_one_of(SYMBOLS, word) || is_name(word) {
        return true;
    }
    let symbol = PREFIX_SYMBOLS.iter().filter_map(|prefix| word.strip_prefix(prefix)).any(|rest| is_one_of(SYMBOLS, rest));
    let either = |word: &str| is_name(word) || is_one_of(SYMBOLS, word);
    symbol || PREFIX_NAMES.iter().filter_map(|prefix| word.strip_prefix(prefix)).any(either)
}

fn is_name(word: &str) -> bool {
    let known = |word: &str| NAMES.split_whitespace().any(|name| name.eq_ignore_ascii_case(word));
    known(word) || word.strip_suffix('s').is_some_and(known)
}

/// Modifiers that may follow a standard name (CF Appendix C).
const MODIFIERS: [&str; 4] = ["detection_minimum", "number_of_observations", "standard_error", "status_flag"];

/// True if a text has the form of a standard name: small letters, digits and underscores, then perhaps a modifier.
#[must_use]
pub fn is_standard_name(text: &str) -> bool {
    let (name, modifier) = text.split_once(' ').map_or((text, None), |(name, modifier)| (name, Some(modifier)));
    let letters = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.chars().all(letters)
        && modifier.is_none_or(|modifier| MODIFIERS.contains(&modifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_udunits_reads_is_known() {
        for units in [
            "",
            "1",
            "K",
            "m s-1",
            "m/s",
            "m s^-1",
            "m s**-1",
            "kg m-2 s-1",
            "kg/(m2 s)",
            "W m-2",
            "hPa",
            "mbar",
            "degC",
            "°C",
            "%",
            "1e-3",
            "10^-6 m",
            "days since 2000-01-01",
            "hours since 1900-01-01 00:00:0.0",
            "degrees_north",
            "degree",
            "mol m-3",
            "micromol/kg",
            "umol m-2 s-1",
            "µg m-3",
            "m3 m-3",
            "kilometers",
            "J kg-1 K-1",
            "dBZ",
            "mm h-1",
            "Pa s",
            "s-1",
            "rad",
            "mmH2O",
            "kg kg**-1",
            "month",
            "m2 s-2",
            "GW h",
            "0.01 m",
            "lg(re 1 mW)",
            "meters per second",
            "sigma_level",
            "g kg-1",
            "DU",
            "Sv",
            "ppmv",
            "m²",
            "kg·m⁻²",
        ] {
            assert_eq!(unknown_unit(units), None, "{units}");
        }
    }

    #[test]
    fn what_it_does_not_read_is_told() {
        for (units, word) in [
            ("psu", "psu"),
            ("unitless", "unitless"),
            ("kg m-2 sec-1 of water", "of"),
            ("deg C north", "north"),
            ("none", "none"),
            ("#/cm3", "#"),
            ("K & m", "&"),
            ("mm/unknownday", "unknownday"),
        ] {
            assert_eq!(unknown_unit(units), Some(word), "{units}");
        }
    }

    #[test]
    fn standard_names_have_their_form() {
        for name in ["air_temperature", "sea_surface_temperature", "air_temperature standard_error", "x2"] {
            assert!(is_standard_name(name), "{name}");
        }
        for name in ["Air Temperature", "sea surface temperature", "2m_temperature", "", "air_temperature error", "température"] {
            assert!(!is_standard_name(name), "{name}");
        }
    }
}
