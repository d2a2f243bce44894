//! From the text of a filter to its clauses, by recursive descent.
//!
//! Owns the grammar: in AIP-160, OR binds tighter than AND. Refuses to judge an execution.

use backlane_engine::error::Invalid;
use backlane_engine::rules::status::{EndReason, Status};
use prost_types::Timestamp;

use super::clause::{
    Compare, Expr, NameField, NumberField, Pattern, Scalar, Term, TimeField, Wanted,
};
use super::lex::{Kind, Lexer, Piece, Text};
use super::words::{self, FIELDS, Field};

/// Most levels of parentheses and negations.
const MAX_DEPTH: usize = 32;
/// Most terms of one filter.
const MAX_TERMS: usize = 256;

const OPERATORS: &str = "one of = != < <= > >= :";

/// Reads a filter; `None` if there is nothing in it.
pub(super) fn read(text: &str, wall_ms: u64) -> Result<Option<Expr>, Invalid> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        wall_ms,
        terms: 0,
    };
    if parser.lexer.peek()?.kind == Kind::End {
        return Ok(None);
    }
    let expr = parser.expression(0)?;
    let rest = parser.lexer.next()?;
    if rest.kind == Kind::End {
        return Ok(Some(expr));
    }
    Err(parser.unexpected(&rest, "AND, OR or the end of the filter"))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    wall_ms: u64,
    terms: usize,
}

impl Parser<'_> {
    fn unexpected(&self, piece: &Piece, expected: &str) -> Invalid {
        let what = format!("expected {expected}, not {}", piece.kind);
        self.lexer.error(piece.at, &what)
    }

    fn expression(&mut self, depth: usize) -> Result<Expr, Invalid> {
        let mut parts = vec![self.factor(depth)?];
        while self.passes("AND")? {
            parts.push(self.factor(depth)?);
        }
        Ok(one_or(parts, Expr::All))
    }

    fn factor(&mut self, depth: usize) -> Result<Expr, Invalid> {
        let mut parts = vec![self.term(depth)?];
        while self.passes("OR")? {
            parts.push(self.term(depth)?);
        }
        Ok(one_or(parts, Expr::Any))
    }

    /// Whether the keyword comes next; it is passed over then.
    fn passes(&mut self, keyword: &str) -> Result<bool, Invalid> {
        let is_next = is_word(&self.lexer.peek()?.kind, keyword);
        if is_next {
            self.lexer.next()?;
        }
        Ok(is_next)
    }

    fn term(&mut self, depth: usize) -> Result<Expr, Invalid> {
        let piece = self.lexer.peek()?;
        if depth > MAX_DEPTH {
            let what = format!("expected at most {MAX_DEPTH} levels of parentheses and NOT");
            return Err(self.lexer.error(piece.at, &what));
        }
        if is_word(&piece.kind, "NOT") {
            self.lexer.next()?;
            return self.term(depth + 1).map(not);
        }
        if matches!(&piece.kind, Kind::Word(word) if word.text.starts_with('-')) {
            self.lexer.skip('-');
            return self.term(depth + 1).map(not);
        }
        if piece.kind == Kind::Sign("(") {
            self.lexer.next()?;
            return self.group(depth);
        }
        self.restriction()
    }

    fn group(&mut self, depth: usize) -> Result<Expr, Invalid> {
        let expr = self.expression(depth + 1)?;
        let end = self.lexer.next()?;
        if end.kind == Kind::Sign(")") {
            return Ok(expr);
        }
        Err(self.unexpected(&end, "AND, OR or )"))
    }

    fn restriction(&mut self) -> Result<Expr, Invalid> {
        let name = self.lexer.next()?;
        self.terms += 1;
        if self.terms > MAX_TERMS {
            let what = format!("expected at most {MAX_TERMS} conditions");
            return Err(self.lexer.error(name.at, &what));
        }
        let Kind::Word(word) = &name.kind else {
            return Err(self.unexpected(&name, "a field, NOT or ("));
        };
        let (known, rest) = match word.text.split_once('.') {
            Some(("metadata", key)) => ("metadata", Some(key)),
            _ => (&*word.text, None),
        };
        let Some(field) = words::field(known).filter(|_| !word.is_prefix) else {
            return Err(self.unexpected(&name, &format!("a field: {}", fields())));
        };
        match field {
            Field::Metadata => self.metadata(rest, name.at + "metadata.".len()),
            Field::Status => self.named(words::status, &statuses(), Term::Status),
            Field::Reason => self.named(words::reason, &reasons(), Term::Reason),
            Field::Name(field) => self.name(field),
            Field::Number(field) => self.number(field),
            Field::Time(field) => self.time(field),
        }
    }

    /// An operator: the comparison, and whether it is negated. `None` stands for `:`.
    fn operator(&mut self) -> Result<(usize, Option<Compare>, bool), Invalid> {
        let piece = self.lexer.next()?;
        let compare = match &piece.kind {
            Kind::Sign("=" | "!=") => Some(Compare::Equal),
            Kind::Sign("<") => Some(Compare::Less),
            Kind::Sign("<=") => Some(Compare::AtMost),
            Kind::Sign(">") => Some(Compare::More),
            Kind::Sign(">=") => Some(Compare::AtLeast),
            Kind::Sign(":") => None,
            _ => return Err(self.unexpected(&piece, OPERATORS)),
        };
        Ok((piece.at, compare, piece.kind == Kind::Sign("!=")))
    }

    /// An operator of a field that has no order.
    fn equality(&mut self) -> Result<bool, Invalid> {
        match self.operator()? {
            (_, Some(Compare::Equal), negated) => Ok(negated),
            (at, ..) => Err(self.lexer.error(at, "expected = or != after this field")),
        }
    }

    /// An operator of a field that has an order.
    fn comparison(&mut self) -> Result<(Compare, bool), Invalid> {
        match self.operator()? {
            (_, Some(compare), negated) => Ok((compare, negated)),
            (at, None, _) => Err(self
                .lexer
                .error(at, "expected one of = != < <= > >= after this field")),
        }
    }

    fn value(&mut self, expected: &str) -> Result<(Piece, Text), Invalid> {
        let piece = self.lexer.value()?;
        match &piece.kind {
            Kind::Word(text) | Kind::Quoted(text) => {
                let text = text.clone();
                Ok((piece, text))
            }
            Kind::End | Kind::Sign(_) => Err(self.unexpected(&piece, expected)),
        }
    }

    fn named<T>(
        &mut self,
        read: impl Fn(&str) -> Option<T>,
        names: &str,
        term: impl Fn(T) -> Term,
    ) -> Result<Expr, Invalid> {
        let negated = self.equality()?;
        let (piece, text) = self.value(names)?;
        let value = read(&text.text).filter(|_| !text.is_prefix);
        let value = value.ok_or_else(|| self.unexpected(&piece, names))?;
        Ok(negate(negated, Expr::Is(term(value))))
    }

    fn name(&mut self, field: NameField) -> Result<Expr, Invalid> {
        let negated = self.equality()?;
        let (_, text) = self.value("a name, or the beginning of one and a *")?;
        let term = Term::Name(field, pattern(text));
        Ok(negate(negated, Expr::Is(term)))
    }

    fn number(&mut self, field: NumberField) -> Result<Expr, Invalid> {
        let (compare, negated) = self.comparison()?;
        let (piece, text) = self.value("a number")?;
        let value = number(&text).ok_or_else(|| self.unexpected(&piece, "a number"))?;
        Ok(negate(
            negated,
            Expr::Is(Term::Number(field, compare, value)),
        ))
    }

    fn time(&mut self, field: TimeField) -> Result<Expr, Invalid> {
        const EXPECTED: &str =
            "a time such as 2026-01-31T08:00:00Z, or one relative to now such as -1h30m";
        let (compare, negated) = self.comparison()?;
        let (piece, text) = self.value(EXPECTED)?;
        let at_ms = instant(&text, self.wall_ms);
        let at_ms = at_ms.ok_or_else(|| self.unexpected(&piece, EXPECTED))?;
        Ok(negate(negated, Expr::Is(Term::Time(field, compare, at_ms))))
    }

    /// A condition on metadata, whose key begins at the byte `at` if it is bare.
    fn metadata(&mut self, rest: Option<&str>, at: usize) -> Result<Expr, Invalid> {
        let Some(rest) = rest else {
            return self.has_key();
        };
        let key = self.key(rest, at)?;
        let (place, compare, negated) = self.operator()?;
        let piece = self.lexer.value()?;
        let wanted = match (&piece.kind, compare) {
            (Kind::Word(Text { text, is_prefix }), None) if text.is_empty() && *is_prefix => {
                Wanted::Present
            }
            (Kind::Word(text), _) => wanted(compare, bare(text.clone())),
            (Kind::Quoted(text), _) => wanted(compare, Scalar::Text(pattern(text.clone()))),
            (Kind::End | Kind::Sign(_), _) => return Err(self.unexpected(&piece, "a value")),
        };
        if let Wanted::Compared(compare, scalar) = &wanted
            && *compare != Compare::Equal
            && !has_order(scalar)
        {
            let what = "expected = or != before this value";
            return Err(self.lexer.error(place, what));
        }
        let term = Term::Metadata(key.into(), wanted);
        Ok(negate(negated, Expr::Is(term)))
    }

    /// `metadata:KEY`.
    fn has_key(&mut self) -> Result<Expr, Invalid> {
        let piece = self.lexer.next()?;
        if piece.kind != Kind::Sign(":") {
            return Err(self.unexpected(&piece, ". and a key, or : and a key, after metadata"));
        }
        let (piece, text) = self.value("a key")?;
        if text.is_prefix || text.text.is_empty() {
            return Err(self.unexpected(&piece, "a key"));
        }
        let term = Term::Metadata(text.text.into(), Wanted::Present);
        Ok(Expr::Is(term))
    }

    fn key(&mut self, rest: &str, at: usize) -> Result<String, Invalid> {
        let legal = |one: char| one.is_alphanumeric() || one == '_' || one == '-';
        if let Some((offset, _)) = rest.char_indices().find(|(_, one)| !legal(*one)) {
            let what =
                r#"expected a letter, a digit, _ or - : quote other keys, as metadata."a.b""#;
            return Err(self.lexer.error(at + offset, what));
        }
        if !rest.is_empty() {
            return Ok(rest.to_owned());
        }
        let place = self.lexer.place();
        let piece = self.lexer.next()?;
        match piece.kind {
            Kind::Quoted(text) if !text.is_prefix && piece.at == place => Ok(text.text),
            _ => Err(self.unexpected(&piece, "a key of the metadata")),
        }
    }
}

fn is_word(kind: &Kind, keyword: &str) -> bool {
    matches!(kind, Kind::Word(word) if word.text == keyword && !word.is_prefix)
}

fn one_or(mut parts: Vec<Expr>, many: impl Fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn not(expr: Expr) -> Expr {
    Expr::Not(Box::new(expr))
}

fn negate(negated: bool, expr: Expr) -> Expr {
    if negated { not(expr) } else { expr }
}

fn pattern(text: Text) -> Pattern {
    Pattern {
        text: text.text.into(),
        is_prefix: text.is_prefix,
    }
}

fn wanted(compare: Option<Compare>, scalar: Scalar) -> Wanted {
    match compare {
        None => Wanted::Has(scalar),
        Some(compare) => Wanted::Compared(compare, scalar),
    }
}

fn has_order(scalar: &Scalar) -> bool {
    match scalar {
        Scalar::Number(_) => true,
        Scalar::Text(pattern) => !pattern.is_prefix,
        Scalar::Null | Scalar::Bool(_) => false,
    }
}

/// The value of a bare word in a condition on metadata.
fn bare(text: Text) -> Scalar {
    match (&*text.text, text.is_prefix) {
        ("null", false) => Scalar::Null,
        ("true", false) => Scalar::Bool(true),
        ("false", false) => Scalar::Bool(false),
        _ => number(&text).map_or_else(|| Scalar::Text(pattern(text)), Scalar::Number),
    }
}

fn number(text: &Text) -> Option<f64> {
    let first = text.text.trim_start_matches(['-', '+']).chars().next()?;
    let number = text.text.parse::<f64>().ok();
    number.filter(|number| !text.is_prefix && first.is_ascii_digit() && number.is_finite())
}

/// A time in milliseconds since the epoch.
fn instant(text: &Text, wall_ms: u64) -> Option<u64> {
    if text.is_prefix {
        return None;
    }
    if let Some(ago) = text.text.strip_prefix('-') {
        return Some(wall_ms.saturating_sub(duration_ms(ago)?));
    }
    if let Some(ahead) = text.text.strip_prefix('+') {
        return wall_ms.checked_add(duration_ms(ahead)?);
    }
    // Without the T it would be a date, which has no zone.
    let has_time = text.text.contains(['T', 't']);
    let Timestamp { seconds, nanos } = text.text.parse().ok().filter(|_| has_time)?;
    let seconds = u64::try_from(seconds).ok()?.checked_mul(1_000)?;
    seconds.checked_add(u64::try_from(nanos / 1_000_000).ok()?)
}

/// A duration such as `90s` or `1h30m`.
fn duration_ms(text: &str) -> Option<u64> {
    let (mut rest, mut total) = (text, 0_u64);
    while !rest.is_empty() {
        let unit = rest.find(|one: char| !one.is_ascii_digit())?;
        let (digits, after) = rest.split_at(unit);
        let end = after.find(|one: char| one.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        let part = digits.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        total = total.checked_add(part)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn listed<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn fields() -> String {
    let names = FIELDS.iter().map(|(name, _)| match *name {
        "metadata" => "metadata.KEY",
        name => name,
    });
    listed(names)
}

fn statuses() -> String {
    let names = Status::ALL.iter().map(|status| status.name());
    format!("a status: {}", listed(names))
}

fn reasons() -> String {
    let names = EndReason::ALL.iter().map(|one| words::reason_name(*one));
    format!("a reason: {}", listed(names))
}
