//! What the two sides agree on, in memory.

use tokio_rustls::rustls;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, NamedGroup, ProtocolVersion, ServerConnection};

use super::{Acceptance, KeySource, ServerTls, Trust, client_config, exporter};

#[test]
fn a_link_is_tls_1_3_with_the_post_quantum_hybrid_and_both_ends_export_the_same() {
    let server = ServerTls::new(&KeySource::Fresh, &["localhost".to_owned()]).expect("a key");
    let mut server = ServerConnection::new(server.config).expect("a configuration");
    let mut client = client("wss://localhost:7447");
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    while client.is_handshaking() || server.is_handshaking() {
        client.write_tls(&mut to_server).expect("memory takes everything");
        server.read_tls(&mut &to_server[..]).expect("all of it is there");
        server.process_new_packets().expect("a good client");
        server.write_tls(&mut to_client).expect("memory takes everything");
        client.read_tls(&mut &to_client[..]).expect("all of it is there");
        client.process_new_packets().expect("a good server");
        (to_server, to_client) = (Vec::new(), Vec::new());
    }
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.negotiated_key_exchange_group().map(|group| group.name()), Some(NamedGroup::X25519MLKEM768));
    let exported = exporter(&client).expect("the handshake is over");
    assert_eq!(exported, exporter(&server).expect("the handshake is over"));
    assert_ne!(exported, [0; 32]);
}

#[test]
fn the_hybrid_is_what_a_client_offers_first() {
    let mut hello = Vec::new();
    client("wss://localhost:7447").write_tls(&mut hello).expect("memory takes everything");
    // A key share of ML-KEM-768 with X25519 is 1,216 bytes long.
    assert!(hello.len() > 1_216, "{} bytes", hello.len());
}

fn client(address: &str) -> ClientConnection {
    let address = address.parse().expect("an address");
    let (config, _) = client_config(&address, &Trust::system(), Acceptance::Vouched).expect("a configuration");
    ClientConnection::new(config, ServerName::try_from("localhost").expect("a name")).expect("a connection")
}
