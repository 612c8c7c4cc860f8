//! A switchboard of its own for each test, on a free port.

#![allow(dead_code)] // each test uses its part

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use a2alinker::net::address::Address;
use a2alinker::net::server::{Security, Server, ServerConfig};
use a2alinker::net::tls::KeySource;
use tokio::runtime::Handle;

/// A switchboard on the test's own runtime. Ends when dropped.
pub struct TestSwitchboard {
    pub server: Server,
}

impl TestSwitchboard {
    /// With a self-signed certificate.
    pub fn start() -> Self {
        Self::with(ServerConfig { security: Security::Tls(KeySource::Fresh), ..Self::config() })
    }

    /// Over plain WebSocket.
    pub fn plain() -> Self {
        Self::with(ServerConfig { security: Security::Plain, ..Self::config() })
    }

    pub fn with(config: ServerConfig) -> Self {
        Self { server: Server::start(config, &Handle::current()).expect("a free port") }
    }

    /// On any free port of this machine.
    pub fn config() -> ServerConfig {
        ServerConfig { listen: "127.0.0.1:0".parse().expect("an address"), ..ServerConfig::default() }
    }

    pub fn url(&self) -> &Address {
        self.server.url()
    }
}

/// The stand-alone binary as a process. Killed when dropped.
pub struct SwitchboardProcess {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub url: Address,
}

impl SwitchboardProcess {
    /// Starts it with `arguments` and waits for its address.
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_a2alinker-switchboard"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built with the tests");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let url = line.parse().unwrap_or_else(|error| panic!("instead of an address {line:?}: {error}"));
        Self { child, _stdout: stdout, url }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the process to end by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().expect("a child of ours") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the switchboard ends when it is told to")
    }
}

impl Drop for SwitchboardProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
