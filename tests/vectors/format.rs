//! The text form of vectors: `[section]`, `name = value`, `#` comments; values are hexadecimal unless a test reads them as text.

use std::{fmt::Write, path::PathBuf};

use data_encoding::HEXLOWER;

/// One case: a name and its fields, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub name: String,
    fields: Vec<(String, String)>,
}

impl Section {
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), fields: Vec::new() }
    }

    pub fn bytes(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_owned(), HEXLOWER.encode(value.as_ref())));
        self
    }

    pub fn words(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn text(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| field == name);
        &found.unwrap_or_else(|| panic!("[{}] has no field {name}", self.name)).1
    }

    pub fn hex(&self, name: &str) -> Vec<u8> {
        HEXLOWER.decode(self.text(name).as_bytes()).expect("a hexadecimal field")
    }

    pub fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.hex(name).try_into().unwrap_or_else(|_| panic!("[{}] {name} has not {N} bytes", self.name))
    }
}

/// Reads a file of vectors.
pub fn read(file: &str) -> Vec<Section> {
    let text = std::fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(name) => sections.push(Section::new(name)),
            None => {
                let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{file}: {line}"));
                let section = sections.last_mut().expect("a section before its fields");
                section.fields.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
    assert!(!sections.is_empty(), "{file} holds no vectors");
    sections
}

/// Returns the section called `name`.
pub fn section<'a>(sections: &'a [Section], name: &str) -> &'a Section {
    sections.iter().find(|section| section.name == name).unwrap_or_else(|| panic!("no section [{name}]"))
}

/// Compares what was computed with the file, or writes the file where `A2ALINKER_WRITE_VECTORS` is 1.
///
/// A change here is a change of the protocol: other implementations hold themselves to these files.
pub fn assert_pinned(file: &str, story: &str, computed: &[Section]) {
    if std::env::var_os("A2ALINKER_WRITE_VECTORS").is_some_and(|value| value == "1") {
        // By renaming, because other tests read the files meanwhile.
        let written = path(&format!("{file}.new"));
        std::fs::write(&written, format(story, computed)).expect("the vectors can be written");
        std::fs::rename(written, path(file)).expect("the vectors can be replaced");
        return;
    }
    for (pinned, computed) in read(file).iter().zip(computed) {
        for (pinned_field, field) in pinned.fields.iter().zip(&computed.fields) {
            assert_eq!(pinned_field, field, "{file} [{}]", computed.name);
        }
        assert_eq!(pinned, computed, "{file} [{}]", computed.name);
    }
    assert_eq!(read(file).len(), computed.len(), "{file}");
}

fn format(story: &str, sections: &[Section]) -> String {
    let mut text: String = story.lines().map(|line| format!("# {line}\n")).collect();
    text.push_str("# Written by `A2ALINKER_WRITE_VECTORS=1 cargo test --test vectors`.\n");
    for section in sections {
        write!(text, "\n[{}]\n", section.name).expect("a string can be written to");
        for (name, value) in &section.fields {
            writeln!(text, "{}", format!("{name} = {value}").trim_end()).expect("a string can be written to");
        }
    }
    text
}

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file)
}
