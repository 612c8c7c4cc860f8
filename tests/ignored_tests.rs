//! A test that is ignored is a promise not kept: each must stand, with its reason, in tests/allowed_skips.txt.
//!
//! `tests/conftest.py` holds the Python tests to the same list.

#[path = "common/files.rs"]
mod files;

use std::path::Path;

use files::rust_files;

#[test]
fn every_ignored_test_stands_in_the_list() {
    let allowed =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/allowed_skips.txt")).expect("the list");
    let mut unlisted = Vec::new();
    for file in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let text = std::fs::read_to_string(&file).expect("a source file can be read");
        unlisted.extend(ignored(&text).into_iter().filter(|entry| !is_listed(&allowed, entry)));
    }
    assert!(unlisted.is_empty(), "ignored, but not in tests/allowed_skips.txt:\n{}", unlisted.join("\n"));
}

#[test]
fn an_ignored_test_is_found_with_its_reason() {
    let planted = ["#[test]", "#[ignore = \"needs a TPM\"]", "fn opens_a_sealed_key() {}"].join("\n");
    assert_eq!(ignored(&planted), ["opens_a_sealed_key -- needs a TPM"]);
    let without_reason = ["#[ignore]", "#[test]", "async fn waits() {}"].join("\n");
    assert_eq!(ignored(&without_reason), ["waits -- no reason"]);
}

#[test]
fn only_the_same_name_with_the_same_reason_is_listed() {
    let allowed = "# a comment\nopens_a_sealed_key -- needs a TPM\n";
    assert!(is_listed(allowed, "opens_a_sealed_key -- needs a TPM"));
    assert!(!is_listed(allowed, "opens_a_sealed_key -- too slow"));
    assert!(!is_listed(allowed, "sealed_key -- needs a TPM"));
    assert!(!is_listed(allowed, "# a comment"));
}

/// Returns `name -- reason` for each ignored test.
fn ignored(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut reason = None;
    for line in text.lines().map(str::trim) {
        if let Some(attribute) = line.strip_prefix("#[ignore") {
            let quoted = attribute.split('"').nth(1).unwrap_or("no reason");
            reason = Some(quoted.to_owned());
        }
        if let Some(name) = line.split("fn ").nth(1).and_then(|rest| rest.split(['(', '<']).next())
            && let Some(reason) = reason.take()
        {
            found.push(format!("{name} -- {reason}"));
        }
    }
    found
}

fn is_listed(allowed: &str, entry: &str) -> bool {
    !entry.starts_with('#') && allowed.lines().any(|line| line.trim() == entry)
}
