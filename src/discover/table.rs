//! Comma-separated values (RFC 4180), or separated by tabs or semicolons, as rows of texts.
//!
//! Invariant: reading takes linear time and never fails; what is no table is one column.

/// The rows of a table; lines that are empty or begin with `#` are none.
pub(super) fn rows(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start_matches('\u{feff}');
    let first = text.lines().find(|line| !is_blank(line)).unwrap_or_default();
    let separator = ['\t', ';', ','].into_iter().find(|separator| first.contains(*separator)).unwrap_or(',');
    let (mut rows, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or_default();
        if is_blank(line) {
            rest = rest.get(line.len() + 1..).unwrap_or_default();
            continue;
        }
        let (cells, after) = row(rest, separator);
        rows.push(cells);
        rest = after;
    }
    rows
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

/// The cells of the first row, and what follows it.
fn row(text: &str, separator: char) -> (Vec<String>, &str) {
    let (mut cells, mut cell, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let mut letters = text.char_indices().peekable();
    let mut take = |cell: &mut String, was_quoted: &mut bool| {
        let text = if *was_quoted { std::mem::take(cell) } else { std::mem::take(cell).trim().to_owned() };
        *was_quoted = false;
        cells.push(text);
    };
    let mut end = text.len();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if(|(_, next)| *next == '"').is_some() => cell.push('"'),
            '"' if quoted => quoted = false,
            '"' if cell.trim().is_empty() && !was_quoted => {
                cell.clear();
                (quoted, was_quoted) = (true, true);
            }
            letter if quoted => cell.push(letter),
            '\n' => {
                end = at + 1;
                break;
            }
            '\r' => {}
            letter if letter == separator => take(&mut cell, &mut was_quoted),
            letter if was_quoted && letter.is_whitespace() => {}
            letter => cell.push(letter),
        }
    }
    take(&mut cell, &mut was_quoted);
    (cells, text.get(end..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tables_as_people_write_them() {
        let text = "\u{feff}# made by hand\nurl, time ,note\r\na.nc,2001,\"says \"\"hi\"\", twice\"\r\n\r\nb.nc,2002,\"two\nlines\"\n";
        let expected = [["url", "time", "note"], ["a.nc", "2001", "says \"hi\", twice"], ["b.nc", "2002", "two\nlines"]];
        assert_eq!(rows(text), expected);
        assert_eq!(rows("url\ttime\na,b.nc\t1"), [["url", "time"], ["a,b.nc", "1"]]);
        assert_eq!(rows("https://h/a.nc\nhttps://h/b.nc\n"), [["https://h/a.nc"], ["https://h/b.nc"]]);
        assert_eq!(rows("a;b\n;\n"), [["a", "b"], ["", ""]]);
        assert!(rows("").is_empty() && rows("\n# x\n \n").is_empty());
        assert_eq!(rows("a,\"never closed\nb,c"), [["a", "never closed\nb,c"]]);
    }
}
