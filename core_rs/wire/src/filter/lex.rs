//! Pieces of a filter's text: words, quoted strings, signs.
//!
//! Owns where a piece ends, and the errors that point at a character. Refuses to know what the
//! pieces mean.

use backlane_engine::error::Invalid;

/// Characters that end a bare word, besides blanks. In a value `:` is allowed, for times and names.
const SIGNS: &str = "()=!<>\"':";

/// A piece of a filter's text, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The byte at which the piece begins.
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The end of the text.
    End,
    /// A sign, such as `(` or `<=`.
    Sign(&'static str),
    /// A bare word.
    Word(Text),
    /// A quoted string.
    Quoted(Text),
}

/// The text of a word or of a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Whether a `*` follows the text: it stands for anything.
    pub(super) is_prefix: bool,
}

/// The text, read piece by piece.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// An error that points at the character that begins at a byte.
    pub(super) fn error(&self, at: usize, what: &str) -> Invalid {
        let place = self.text[..at].chars().count() + 1;
        Invalid::new("filter", format!("at character {place}: {what}"))
    }

    /// The next piece, which stays where it is.
    pub(super) fn peek(&mut self) -> Result<Piece, Invalid> {
        let before = self.at;
        let piece = self.next();
        self.at = before;
        piece
    }

    /// The next piece, outside of a value.
    pub(super) fn next(&mut self) -> Result<Piece, Invalid> {
        self.piece(SIGNS)
    }

    /// The next piece, where a value stands.
    pub(super) fn value(&mut self) -> Result<Piece, Invalid> {
        self.piece(SIGNS.trim_end_matches(':'))
    }

    /// Passes over blanks and one character.
    pub(super) fn skip(&mut self, sign: char) {
        self.skip_blanks();
        if self.rest().starts_with(sign) {
            self.at += sign.len_utf8();
        }
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_ascii_start().len();
    }

    /// The byte of the next character.
    pub(super) const fn place(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn piece(&mut self, ends: &str) -> Result<Piece, Invalid> {
        self.skip_blanks();
        let at = self.at;
        let kind = match self.rest().chars().next() {
            None => Kind::End,
            Some(quote @ ('"' | '\'')) => Kind::Quoted(self.quoted(quote)?),
            Some(_) => match self.sign(ends) {
                Some(sign) => Kind::Sign(sign),
                None => Kind::Word(self.word(ends)?),
            },
        };
        Ok(Piece { at, kind })
    }

    fn sign(&mut self, ends: &str) -> Option<&'static str> {
        const LONGEST_FIRST: [&str; 10] = ["<=", ">=", "!=", "<", ">", "=", "(", ")", ":", "!"];
        let fits = |sign: &&&str| self.rest().starts_with(**sign) && ends.contains(**sign);
        let long = |sign: &&&str| sign.len() == 2 && self.rest().starts_with(**sign);
        let found = LONGEST_FIRST.iter().find(|sign| long(sign) || fits(sign));
        self.at += found.map_or(0, |sign| sign.len());
        found.copied()
    }

    fn word(&mut self, ends: &str) -> Result<Text, Invalid> {
        let ends = |one: char| one.is_ascii_whitespace() || ends.contains(one);
        let word = self.rest();
        let word = &word[..word.find(ends).unwrap_or(word.len())];
        let begin = self.at;
        self.at += word.len();
        let text = word.strip_suffix('*').unwrap_or(word);
        if let Some(star) = text.find('*') {
            return Err(self.misplaced(begin + star));
        }
        Ok(Text {
            text: text.to_owned(),
            is_prefix: text.len() < word.len(),
        })
    }

    fn quoted(&mut self, quote: char) -> Result<Text, Invalid> {
        let begin = self.at;
        let mut chars = self.rest().char_indices().skip(1);
        let (mut text, mut star) = (String::new(), None);
        while let Some((offset, one)) = chars.next() {
            let escaped = (one == '\\').then(|| chars.next()).flatten();
            if one == quote {
                self.at = begin + offset + 1;
                let is_prefix = star.is_some();
                return Ok(Text { text, is_prefix });
            }
            if let Some(star) = star {
                return Err(self.misplaced(star));
            }
            match (one, escaped) {
                ('\\', Some((_, escaped @ ('"' | '\'' | '\\' | '*')))) => text.push(escaped),
                ('\\', _) => {
                    let what = r#"expected one of \" \' \\ \* : a \ escapes only these"#;
                    return Err(self.error(begin + offset, what));
                }
                ('*', _) => star = Some(begin + offset),
                (one, _) => text.push(one),
            }
        }
        let what = format!("expected a {quote} that ends the string which begins here");
        Err(self.error(begin, &what))
    }

    fn misplaced(&self, at: usize) -> Invalid {
        let what = r#"a * may only stand at the end of a value; "\*" is a plain one"#;
        self.error(at, what)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::End => out.write_str("the end"),
            Self::Sign(sign) => out.write_str(sign),
            Self::Word(Text { text, is_prefix }) | Self::Quoted(Text { text, is_prefix }) => {
                let star = if *is_prefix { "*" } else { "" };
                let cut: String = text.chars().take(40).collect();
                let dots = if cut.len() < text.len() { "…" } else { "" };
                write!(out, "\"{cut}{dots}{star}\"")
            }
        }
    }
}
