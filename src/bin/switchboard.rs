//! The stand-alone switchboard: arguments, one line on stdout, and signals. Contains no Python, no session code and no cipher
//! for messages.
//!
//! Exit codes: 0 after SIGTERM or SIGINT, 1 when it can't start, 2 for wrong arguments.

use std::path::PathBuf;
use std::process::ExitCode;

use a2alinker::net::address::{Advertise, Listen};
use a2alinker::net::os;
use a2alinker::net::server::{Security, Server, ServerConfig};
use a2alinker::net::tls::KeySource;
use clap::Parser;
use tokio::runtime;

/// Relays between agents that trust one another and not the relay.
#[derive(Debug, Parser)]
#[command(name = "a2alinker-switchboard", version)]
struct Arguments {
    /// Where to listen. Port 0 is any free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7447")]
    listen: Listen,

    /// The name by which others reach this machine.
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<Advertise>,

    /// The key of the self-signed certificate. With it a restart keeps the pin.
    #[arg(long, value_name = "FILE", group = "protection")]
    key: Option<PathBuf>,

    /// Makes such a key, and uses it. The file must not exist.
    #[arg(long, value_name = "FILE", group = "protection")]
    new_key: Option<PathBuf>,

    /// A certificate chain in PEM, instead of a self-signed one.
    #[arg(long, value_name = "FILE", group = "protection", requires = "private_key")]
    certificate: Option<PathBuf>,

    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    private_key: Option<PathBuf>,

    /// Speaks ws:// without TLS. Anybody on the path sees who talks, and when.
    #[arg(long, group = "protection")]
    plain: bool,

    /// Speaks ws:// to a proxy that ends TLS.
    #[arg(long, group = "protection")]
    behind_proxy: bool,
}

impl Arguments {
    fn security(&self) -> Security {
        if self.plain {
            return Security::Plain;
        }
        if self.behind_proxy {
            return Security::BehindProxy;
        }
        let source = match (&self.key, &self.new_key, &self.certificate, &self.private_key) {
            (Some(file), ..) => KeySource::File(file.clone()),
            (_, Some(file), ..) => KeySource::NewFile(file.clone()),
            (_, _, Some(chain), Some(key)) => KeySource::Certificate { chain: chain.clone(), key: key.clone() },
            _ => KeySource::Fresh,
        };
        Security::Tls(source)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("a2alinker-switchboard: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let config = ServerConfig {
        listen: arguments.listen.clone(),
        advertise: arguments.advertise.clone(),
        security: arguments.security(),
        ..ServerConfig::default()
    };
    os::raise_descriptor_limit();
    // One thread: waking another link's task is then a push on a list, and a frame crosses no thread on its way. Measured on two
    // cores, several threads neither answer sooner nor spend less on a frame, and one thread carries a gigabyte a second.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the address is printed, as whoever reads it may send a signal at once.
        let ended = end_signals()?;
        let server = Server::start(config, runtime.handle())?;
        println!("{}", server.url());
        for remark in remarks(arguments, &server) {
            eprintln!("{remark}");
        }
        ended.await;
        server.shutdown().await;
        Ok(())
    })
}

/// What an operator should know about what was started.
fn remarks(arguments: &Arguments, server: &Server) -> Vec<String> {
    let mut remarks = Vec::new();
    match arguments.security() {
        Security::Tls(KeySource::Fresh) => {
            remarks.push("The key lives in memory: a restart changes the pin. Keep it with --new-key FILE.".to_owned());
        }
        Security::Plain if !arguments.listen.is_loopback() => {
            remarks
                .push("Without TLS anybody on the path sees which agents talk, and when. What they say stays sealed.".to_owned());
        }
        Security::BehindProxy if arguments.advertise.is_none() => {
            remarks.push("The address above is for the proxy. Give away its own, or name it with --advertise.".to_owned());
        }
        Security::Tls(_) | Security::Plain | Security::BehindProxy => {}
    }
    if arguments.listen.is_loopback() && arguments.advertise.is_none() {
        remarks.push("Only this machine can reach it. For others: --listen 0.0.0.0:7447 --advertise NAME".to_owned());
    } else if arguments.advertise.is_none() {
        remarks
            .push(format!("If others reach this machine by another name than {}, say so with --advertise.", server.url().host));
    }
    remarks
}

/// Starts to listen for the signals that end a process; the future is ready when one has come.
#[cfg(unix)]
fn end_signals() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Starts to listen for the signal that ends a process; the future is ready when it has come.
#[cfg(not(unix))]
fn end_signals() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without the signal the process is ended from outside, which needs no help.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
