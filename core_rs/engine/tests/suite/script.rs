//! The language of scenarios: lines of words.
//!
//! Owns only the text of scenarios: `verb words... -> expected words...`. Refuses to know what a
//! verb does. The language is described in `tests/conformance/README.md`.

/// One command of a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) verb: String,
    pub(crate) words: Vec<Word>,
    pub(crate) expected: Vec<Word>,
}

/// A word: a plain value, or `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
}

impl Line {
    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        find(&self.words, key)
    }

    /// The word without a key at position `at`.
    pub(crate) fn plain(&self, at: usize) -> &str {
        let mut plain = self.words.iter().filter(|word| word.key.is_none());
        plain
            .nth(at)
            .map(|word| &*word.value)
            .expect("a word is missing")
    }

    pub(crate) fn keyed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.words
            .iter()
            .filter_map(|word| Some((word.key.as_deref()?, &*word.value)))
    }
}

pub(crate) fn find<'a>(words: &'a [Word], key: &str) -> Option<&'a str> {
    let word = words.iter().find(|word| word.key.as_deref() == Some(key));
    word.map(|word| &*word.value)
}

/// Reads a scenario.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()));
    let commands = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    commands
        .map(|(number, line)| parse_line(number, line))
        .collect()
}

fn parse_line(number: usize, line: &str) -> Line {
    let words = split(line);
    let arrow = words
        .iter()
        .position(|word| word == "->")
        .unwrap_or(words.len());
    let read = |words: &[String]| words.iter().map(|word| parse_word(word)).collect();
    Line {
        number,
        verb: words[0].clone(),
        words: read(&words[1..arrow]),
        expected: read(words.get(arrow + 1..).unwrap_or_default()),
    }
}

/// Splits a line at spaces, except within quotes or brackets.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            '{' | '[' if !quoted => depth += 1,
            '}' | ']' if !quoted => depth -= 1,
            _ => {}
        }
        if letter == ' ' && depth == 0 && !quoted {
            words.push(std::mem::take(&mut word));
        } else {
            word.push(letter);
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

fn parse_word(word: &str) -> Word {
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
    };
    match word.split_once('=') {
        Some((key, value)) if is_key(key) => Word {
            key: Some(key.into()),
            value: value.into(),
        },
        _ => Word {
            key: None,
            value: word.into(),
        },
    }
}

/// The text of a value, without quotes if it has any.
pub(crate) fn text(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value)
}

/// A duration, such as `500ms`, `5s`, `2m` or `1h`, in milliseconds.
pub(crate) fn duration(value: &str) -> u64 {
    let digits = value
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let scale = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => panic!("{value} is no length of time"),
    };
    number.parse::<u64>().expect("digits") * scale
}

/// A time relative to now, such as `+5s` or `-1s`, as signed milliseconds.
pub(crate) fn relative(value: &str) -> i64 {
    let sign = if value.starts_with('-') { -1 } else { 1 };
    sign * i64::try_from(duration(value.trim_start_matches(['+', '-']))).expect("not so far")
}

/// A time relative to now, in milliseconds since the epoch.
pub(crate) fn instant(value: &str, now_ms: u64) -> u64 {
    now_ms.saturating_add_signed(relative(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes_and_brackets_together() {
        let line = &parse("# no\n\n  fail a message=\"a b\" output={\"x\": [1, 2]} -> queued")[0];
        assert_eq!((3, "fail", "a"), (line.number, &*line.verb, line.plain(0)));
        assert_eq!(Some("\"a b\""), line.get("message"));
        assert_eq!(Some("{\"x\": [1, 2]}"), line.get("output"));
        assert_eq!("queued", line.expected[0].value);
    }
}
