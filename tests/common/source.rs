//! Rust source as tokens and paths: as much of the grammar as the tests about the source need.

use std::fmt;

/// Source text without comments, literals and lifetimes: identifiers, and punctuation one character at a time.
pub struct Source {
    tokens: Vec<String>,
}

impl Source {
    /// Reads source text. What it makes of text that isn't Rust is not defined.
    pub fn new(text: &str) -> Self {
        let mut lexer = Lexer { rest: text, tokens: Vec::new() };
        while lexer.step() {}
        Self { tokens: lexer.tokens }
    }
}

/// A path with its `use` groups multiplied out, such as `std::net::TcpStream`; a single identifier is one, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    /// Whether `()` follows.
    pub is_called_without_arguments: bool,
    /// Whether `!` follows.
    pub is_macro: bool,
}

impl Path {
    /// Returns whether the segments of `part` occur next to each other.
    pub fn contains(&self, part: &[&str]) -> bool {
        self.segments.windows(part.len()).any(|window| window == part)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.segments.join("::"))
    }
}

/// Returns all paths in the source.
pub fn paths(source: &Source) -> Vec<Path> {
    let mut parser = Parser { tokens: &source.tokens, place: 0, paths: Vec::new() };
    while parser.place < parser.tokens.len() {
        if parser.at_identifier() {
            parser.path(Vec::new());
        } else {
            parser.place += 1;
        }
    }
    parser.paths
}

struct Parser<'a> {
    tokens: &'a [String],
    place: usize,
    paths: Vec<Path>,
}

impl Parser<'_> {
    /// Reads a path that begins here, below `prefix`, and what its group multiplies it to.
    fn path(&mut self, mut prefix: Vec<String>) {
        loop {
            if self.at("{") {
                self.place += 1;
                return self.group(&prefix);
            }
            if !self.at_identifier() && !self.at("*") {
                break;
            }
            prefix.push(self.tokens[self.place].clone());
            self.place += 1;
            if !(self.at(":") && self.is(1, ":")) || self.is(2, "<") {
                break;
            }
            self.place += 2;
        }
        let is_called_without_arguments = self.at("(") && self.is(1, ")");
        let is_macro = self.at("!") && !self.is(1, "=");
        self.paths.push(Path { segments: prefix, is_called_without_arguments, is_macro });
    }

    fn group(&mut self, prefix: &[String]) {
        while self.place < self.tokens.len() && !self.at("}") {
            if self.at_identifier() || self.at("*") || self.at("{") {
                self.path(prefix.to_vec());
            } else {
                self.place += 1;
            }
        }
        self.place += 1;
    }

    fn at(&self, token: &str) -> bool {
        self.is(0, token)
    }

    fn is(&self, ahead: usize, token: &str) -> bool {
        self.tokens.get(self.place + ahead).is_some_and(|found| found == token)
    }

    fn at_identifier(&self) -> bool {
        self.tokens.get(self.place).is_some_and(|token| token.starts_with(starts_identifier))
    }
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<String>,
}

impl Lexer<'_> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if self.rest.starts_with("//") {
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.block_comment();
        } else if let Some(length) = raw_string_length(self.rest) {
            self.skip(length);
        } else if first == '"' {
            self.skip(quoted_length(self.rest, '"'));
        } else if first == '\'' {
            self.skip(character_or_lifetime_length(self.rest));
        } else if starts_identifier(first) {
            let length = self.rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(self.rest.len());
            // The prefix of a byte or C string belongs to the literal.
            if !self.rest[length..].starts_with('"') {
                self.tokens.push(self.rest[..length].to_owned());
            }
            self.skip(length);
        } else {
            if !first.is_whitespace() {
                self.tokens.push(first.to_string());
            }
            self.skip(first.len_utf8());
        }
        true
    }

    fn skip(&mut self, length: usize) {
        self.rest = &self.rest[length..];
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match self.rest.as_bytes() {
                [] => return,
                [b'/', b'*', ..] => (depth, self.rest) = (depth + 1, &self.rest[2..]),
                [b'*', b'/', ..] => (depth, self.rest) = (depth - 1, &self.rest[2..]),
                _ => self.skip(self.rest.chars().next().map_or(0, char::len_utf8)),
            }
            if depth == 0 {
                return;
            }
        }
    }
}

fn starts_identifier(character: char) -> bool {
    character.is_alphabetic() || character == '_'
}

fn raw_string_length(text: &str) -> Option<usize> {
    let after_prefix = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = after_prefix.len() - after_prefix.trim_start_matches('#').len();
    let body = after_prefix[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end)? + end.len();
    Some(text.len() - body.len() + length)
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (place, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return place + 1,
            _ => {}
        }
    }
    text.len()
}

fn character_or_lifetime_length(text: &str) -> usize {
    let mut characters = text[1..].chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted_length(text, '\''),
        _ => 1 + text[1..].find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len() - 1),
    }
}
