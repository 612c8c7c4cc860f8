//! The layers of the crate, held to their rules by reading the source.
//!
//! - Arrows point downwards, and the two sides of a link don't know each other.
//! - Below `net` nothing has a clock, a generator, a socket, a file, a thread or a runtime, nothing is `async`, and nothing
//!   iterates in hash order: the same input always gives the same output.
//!
//! The check works on paths as the compiler would read them, so a `use` group hides nothing and a comment is no offence. Each
//! rule has a control that breaks it.

#[path = "common/files.rs"]
mod files;
#[path = "common/source.rs"]
mod source;

use files::rust_files;
use source::{Path, Source, paths};

const LAYERS: [&str; 6] = ["proto", "crypto", "switchboard", "agent", "net", "python"];

/// What each layer may name, itself included.
fn may_name(layer: &str) -> &'static [&'static str] {
    match layer {
        "proto" => &["proto"],
        "crypto" => &["crypto", "proto"],
        "switchboard" => &["switchboard", "proto"],
        "agent" => &["agent", "crypto", "proto"],
        "net" => &["net", "agent", "switchboard", "crypto", "proto"],
        "python" => &LAYERS,
        _ => panic!("no layer is called {layer}"),
    }
}

fn is_sans_io(layer: &str) -> bool {
    !matches!(layer, "net" | "python")
}

/// Paths that don't occur in a sans-IO layer, and why.
const FORBIDDEN: [(&[&str], &str); 22] = [
    (&["tokio"], "a runtime"),
    (&["futures_util"], "a runtime"),
    (&["std", "net"], "a socket"),
    (&["std", "fs"], "a file"),
    (&["std", "env"], "the environment"),
    (&["std", "process"], "a process"),
    (&["std", "thread"], "a thread"),
    (&["thread", "spawn"], "a thread"),
    (&["thread", "sleep"], "a thread"),
    (&["SystemTime"], "a clock"),
    (&["Instant"], "a clock"),
    (&["HashMap"], "hash order"),
    (&["HashSet"], "hash order"),
    (&["rand", "rng"], "a global generator"),
    (&["getrandom"], "a global generator"),
    (&["OsRng"], "a global generator"),
    (&["SysRng"], "a global generator"),
    (&["SystemRandom"], "a global generator"),
    (&["RandomizedNonceKey"], "a global generator"),
    (&["EphemeralPrivateKey"], "a global generator"),
    (&["aws_lc_rs", "rand"], "a global generator"),
    (&["aws_lc_rs", "kem"], "a global generator"),
];

/// Functions of the crypto crates that take their randomness from a global generator.
const GENERATING: [&str; 9] = [
    "generate_pkcs8",
    "generate_pkcs8v1",
    "gen_keypair",
    "setup_sender",
    "single_shot_seal",
    "start_a",
    "start_b",
    "start_symmetric",
    "encap",
];

// The rules.

#[test]
fn arrows_point_downwards() {
    assert_no_offences(upward_arrows);
}

#[test]
fn sans_io_layers_have_no_clock_generator_socket_or_runtime() {
    assert_no_offences(forbidden_names);
}

#[test]
fn every_layer_is_looked_at() {
    for layer in LAYERS {
        assert!(!rust_files(&format!("src/{layer}")).is_empty(), "src/{layer} has no source");
    }
}

// The controls: a checker that finds nothing proves nothing.

#[test]
fn an_upward_arrow_is_reported() {
    let planted = [
        ("proto", "use crate::crypto::Identity;"),
        ("proto", "fn f() { crate::agent::Agent::host(); }"),
        ("crypto", "use super::switchboard::Switchboard;"),
        ("crypto", "use a2alinker::agent::Agent;"),
        ("switchboard", "use crate::{proto::Label, crypto::Identity};"),
        ("switchboard", "use crate::agent;"),
        ("agent", "use crate::net::tls;"),
        ("agent", "use super::super::switchboard::Config;"),
        ("agent", "pub(in crate::switchboard) fn f() {}"),
        ("net", "use crate::python::Handle;"),
        ("agent", "use crate::Error;"),
        ("proto", "use crate::*;"),
    ];
    for (layer, text) in planted {
        assert_eq!(upward_arrows(layer, &Source::new(text)).len(), 1, "{layer}: {text}");
    }
}

#[test]
fn a_downward_arrow_is_not_reported() {
    let allowed = [
        ("agent", "use crate::{crypto::{Identity, Session}, proto::{self, Label}};"),
        ("switchboard", "use crate::proto::{Label, LaneQueue}; use crate::switchboard::link::Link;"),
        ("proto", "use super::codec::Reader; // crate::agent uses this\nconst A: &str = \"crate::agent\";"),
        ("net", "use crate::agent::Agent; use crate::switchboard::Switchboard;"),
        ("crypto", "//! See [`crate::agent`].\n/* crate::net /* crate::net */ */ fn f<'a>(a: &'a str) -> char { '\"' }"),
    ];
    for (layer, text) in allowed {
        assert_eq!(upward_arrows(layer, &Source::new(text)), Vec::<String>::new(), "{layer}: {text}");
    }
}

#[test]
fn a_forbidden_name_is_reported() {
    let planted = [
        "use tokio::time::sleep;",
        "use std::{collections::BTreeMap, net::SocketAddr};",
        "use std::time::{Duration, Instant};",
        "let t = std::time::SystemTime::now();",
        "let t = Instant::now();",
        "std::thread::spawn(f);",
        "use std::thread;",
        "let x = rand::rng();",
        "use rand::{rng, RngCore};",
        "getrandom::fill(&mut seed);",
        "let pair = Ed25519KeyPair::generate();",
        "let pair = Ed25519KeyPair::generate_pkcs8(&random);",
        "use aws_lc_rs::{aead, rand};",
        "use aws_lc_rs::kem::DecapsulationKey;",
        "let key: RandomizedNonceKey = f();",
        "use aws_lc_rs::agreement::EphemeralPrivateKey;",
        "let keys = Kem::gen_keypair();",
        "let state = Spake2::start_symmetric(&password, &id);",
        "let state = Spake2::start_a(&password, &id, &id);",
        "use std::collections::HashMap;",
        "let seen: HashSet<u8> = f();",
        "async fn f() {}",
        "let f = async move { 1 };",
        "f().await;",
        "println!(\"{x}\");",
        "use std::fs;",
    ];
    for text in planted {
        let offences = forbidden_names("crypto", &Source::new(text));
        assert_eq!(offences.len(), 1, "{text}: {offences:?}");
    }
}

#[test]
fn an_allowed_name_is_not_reported() {
    let allowed = [
        "use std::time::Duration; use std::collections::{BTreeMap, VecDeque};",
        "let keys = KeyPair::generate(random); let keys = Kem::gen_keypair_with_rng(&mut random);",
        "// Instant::now() and tokio are for net\nlet text = \"tokio\"; let raw = r#\"async \"HashMap\"\"#;",
        "let net = network(); let instant = now.monotonic; let thread = message.thread;",
    ];
    for text in allowed {
        assert_eq!(forbidden_names("crypto", &Source::new(text)), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn net_may_have_what_the_core_may_not() {
    let text = "use tokio::net::TcpStream; async fn f() { let now = std::time::Instant::now(); }";
    assert_eq!(forbidden_names("net", &Source::new(text)), Vec::<String>::new());
}

// The checks.

fn upward_arrows(layer: &str, source: &Source) -> Vec<String> {
    let allowed = may_name(layer);
    let is_offence = |path: &Path| {
        let rooted = match path.segments.first().map(String::as_str) {
            Some("crate" | "a2alinker") => true,
            Some("super") => false,
            _ => return false,
        };
        let Some(name) = path.segments.iter().find(|segment| !matches!(segment.as_str(), "crate" | "a2alinker" | "super")) else {
            return false;
        };
        if allowed.contains(&name.as_str()) {
            return false;
        }
        // Below `crate` everything but the layers is for the shells: the public error is made of all layers.
        LAYERS.contains(&name.as_str()) || (rooted && is_sans_io(layer))
    };
    paths(source).iter().filter(|path| is_offence(path)).map(Path::to_string).collect()
}

fn forbidden_names(layer: &str, source: &Source) -> Vec<String> {
    if !is_sans_io(layer) {
        return Vec::new();
    }
    let offence = |path: &Path| {
        let last = path.segments.last().map_or("", String::as_str);
        let reason = match last {
            "async" | "await" => "waiting",
            "println" | "eprintln" | "print" | "eprint" | "dbg" if path.is_macro => "output",
            "generate" if path.is_called_without_arguments => "a global generator",
            name if GENERATING.contains(&name) => "a global generator",
            _ => FORBIDDEN.iter().find(|(forbidden, _)| path.contains(forbidden))?.1,
        };
        Some(format!("{path} ({reason})"))
    };
    paths(source).iter().filter_map(offence).collect()
}

fn assert_no_offences(check: fn(&str, &Source) -> Vec<String>) {
    let mut offences = Vec::new();
    for layer in LAYERS {
        for file in rust_files(&format!("src/{layer}")) {
            let text = std::fs::read_to_string(&file).expect("a source file can be read");
            offences
                .extend(check(layer, &Source::new(&text)).into_iter().map(|offence| format!("{}: {offence}", file.display())));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}
