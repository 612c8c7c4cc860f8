//! The server build holds no code that could open what it passes on: not in its source, not in its dependencies.

use std::process::Command;

/// Crates that only an agent needs: whoever has none of them can neither make nor open an envelope, nor pair by a code.
const AGENT_ONLY: [&str; 5] = ["hpke", "spake2", "curve25519-dalek", "x-wing", "ml-kem"];

#[test]
fn the_server_build_has_neither_hpke_nor_spake2() {
    let server = dependencies("server");
    assert!(server.iter().any(|name| name == "tokio-tungstenite"), "the list is complete");
    for name in AGENT_ONLY {
        assert!(!server.iter().any(|found| found == name), "the server build depends on {name}");
    }
}

#[test]
fn the_same_look_at_the_client_build_finds_both() {
    let client = dependencies("client");
    assert!(["hpke", "spake2"].iter().all(|wanted| client.iter().any(|name| name == wanted)));
}

/// The crates of a build with one feature, as cargo resolves them.
fn dependencies(feature: &str) -> Vec<String> {
    let arguments =
        ["tree", "--offline", "--locked", "--no-default-features", "--edges", "normal", "--prefix", "none", "--format", "{lib}"];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--features", feature])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().replace('_', "-")).collect()
}
