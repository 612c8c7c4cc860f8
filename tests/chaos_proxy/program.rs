//! A TCP proxy on which everything goes wrong that goes wrong on networks: for the tests with real processes.
//!
//! ```text
//! chaos_proxy --to 127.0.0.1:7447 --seed 7        {"at":0.000,"missed":0,"what":"listening","port":40123}
//! cut                                             {"at":3.104,"missed":0,"what":"obeyed","order":"cut","connections":1}
//! ```
//!
//! Orders come on standard input, a line each (see `orders.rs`), and what happened goes to standard output. The end of standard input ends
//! the proxy, so that it never outlives its test. An example, so that neither the library nor the wheel contains it.

mod flow;
mod orders;
mod proxy;
mod report;

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use proxy::{Config, Proxy};
use report::{Happening, Report, Told};
use tokio::sync::mpsc;

/// Orders that wait.
const ORDERS: usize = 64;

#[derive(Parser)]
#[command(about = "A TCP proxy on which everything goes wrong")]
struct Arguments {
    /// Where it leads to
    #[arg(long)]
    to: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Bytes that the kernel holds for each socket and way
    #[arg(long)]
    buffer: Option<u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { to, listen, seed, buffer } = Arguments::parse();
    let (report, told) = Report::new();
    let proxy = match Proxy::start(Config { listen, to, seed, buffer }, report.clone()) {
        Ok(proxy) => proxy,
        Err(error) => {
            eprintln!("chaos_proxy: {error}");
            return ExitCode::FAILURE;
        }
    };
    report.tell(Happening::Listening { port: proxy.port });
    std::thread::spawn(|| print(told));
    let (sender, mut orders) = mpsc::channel(ORDERS);
    std::thread::spawn(move || read(&sender));
    while let Some(line) = orders.recv().await {
        proxy.obey(&line);
    }
    // A thread may wait for ever in a write to a pipe that nobody reads.
    std::process::exit(0)
}

fn read(orders: &mpsc::Sender<String>) {
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        if !line.trim().is_empty() && orders.blocking_send(line).is_err() {
            return;
        }
    }
}

fn print(mut told: mpsc::Receiver<Told>) {
    let mut out = io::stdout().lock();
    while let Some(line) = told.blocking_recv() {
        // Nobody is left who reads it: the end of standard input follows.
        if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
