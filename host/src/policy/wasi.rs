//! WASI with nothing behind it, for guests whose toolchain imports it (Python, `wasm32-wasip2`).
//!
//! The functions are there and answer: the clock stands at the decision's time, chance comes from its
//! seed, what is printed goes to the decision's log, and there are no files, no sockets, no names to
//! look up, no environment and no arguments. Nothing that a guest calls here waits: the epoch deadline
//! stops wasm, not the host, so a sleep ends at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand_core::TryRng;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream, WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::{cli, filesystem, random, sockets, sync};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};

use super::limits::{CallLimits, Limiter};

/// Bytes of what a guest prints that are kept, the last ones: a traceback comes at the end.
pub const LOG_BYTES: usize = 8 * 1024;

/// Streams, pollables and the like that a guest may hold at once. A Python guest holds some ten; each
/// costs the host a few hundred bytes, which no limit of the guest's own memory sees.
const MAX_RESOURCES: usize = 1_024;

/// Bytes of chance that a guest may ask for at once, which the host holds on their way.
const MAX_RANDOM_BYTES: u64 = 64 * 1024;

/// The interfaces that are linked, of any version that is compatible with 0.2.
const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Whether an import of this name is given to a guest.
pub(super) fn is_linked(import: &str) -> bool {
    import.split_once('@').is_some_and(|(interface, version)| {
        INTERFACES.contains(&interface) && version.starts_with("0.2.")
    })
}

/// What a store holds for its guest.
pub struct State {
    pub(super) limiter: Limiter,
    at_ms: u64,
    seed: u64,
    /// Made when the guest first calls WASI: most policies never do.
    wasi: Option<Box<Wasi>>,
}

struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    log: Log,
}

impl State {
    /// For a call at this time (milliseconds since 1970) with this seed.
    pub(super) fn new(limits: &CallLimits, at_ms: u64, seed: u64) -> State {
        State {
            limiter: Limiter::new(limits),
            at_ms,
            seed,
            wasi: None,
        }
    }

    /// What the guest printed; empty where it printed nothing.
    pub(super) fn log(&self) -> String {
        self.wasi
            .as_ref()
            .map(|wasi| wasi.log.text())
            .unwrap_or_default()
    }

    fn wasi(&mut self) -> &mut Wasi {
        let seed = self.seed;
        self.wasi
            .get_or_insert_with(|| Box::new(Wasi::with_nothing_behind(seed)))
    }
}

impl Wasi {
    fn with_nothing_behind(seed: u64) -> Wasi {
        let log = Log::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        // A builder begins with nothing: no files, no arguments, no environment, input that ended.
        let ctx = WasiCtx::builder()
            .stdout(log.clone())
            .stderr(log.clone())
            .secure_random(Chance(seed))
            .insecure_random(Chance(seed ^ u64::MAX))
            .insecure_random_seed(u128::from(seed))
            .max_random_size(MAX_RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Wasi { ctx, table, log }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi();
        WasiCtxView {
            ctx: &mut wasi.ctx,
            table: &mut wasi.table,
        }
    }
}

/// Gives guests the interfaces of [`INTERFACES`].
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let l = linker;
    wall_clock::add_to_linker::<_, Clocks>(l, stopped)?;
    monotonic_clock::add_to_linker::<_, Clocks>(l, stopped)?;
    random::random::add_to_linker::<_, WasiRandom>(l, |s: &mut State| s.wasi().ctx.random())?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, |s: &mut State| s.wasi().ctx.random())?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, |s: &mut State| {
        s.wasi().ctx.random()
    })?;
    cli::environment::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, State::cli)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)?;
    sync::io::error::add_to_linker::<_, Table>(l, table)?;
    sync::io::poll::add_to_linker::<_, Table>(l, table)?;
    sync::io::streams::add_to_linker::<_, Table>(l, table)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    let network = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<_, WasiSockets>(l, &network, State::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sync::sockets::tcp::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sync::sockets::udp::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sync::sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    Ok(())
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

fn table(state: &mut State) -> &mut ResourceTable {
    &mut state.wasi().table
}

/// Clocks that stand still.
struct Clocks;

struct Stopped<'a> {
    at_ms: u64,
    table: &'a mut ResourceTable,
}

impl HasData for Clocks {
    type Data<'a> = Stopped<'a>;
}

fn stopped(state: &mut State) -> Stopped<'_> {
    let at_ms = state.at_ms;
    Stopped {
        at_ms,
        table: table(state),
    }
}

impl wall_clock::Host for Stopped<'_> {
    fn now(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        let now = Duration::from_millis(self.at_ms);
        Ok(wall_clock::Datetime {
            seconds: now.as_secs(),
            nanoseconds: now.subsec_nanos(),
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime {
            seconds: 0,
            nanoseconds: 1_000_000,
        })
    }
}

impl monotonic_clock::Host for Stopped<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.at_ms.saturating_mul(1_000_000))
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1_000_000)
    }

    fn subscribe_instant(&mut self, _when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.subscribe_duration(0)
    }

    fn subscribe_duration(&mut self, _how_long: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let over = self.table.push(Over)?;
        subscribe(self.table, over)
    }
}

/// A sleep, over as soon as it begins.
struct Over;

#[async_trait]
impl Pollable for Over {
    async fn ready(&mut self) {}
}

/// SplitMix64: chance that is the same for the same seed, on any machine, for as long as decisions are
/// kept; a library's generator may change with its version. It guards no secret.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl TryRng for Chance {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.next() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// What a guest prints: the last [`LOG_BYTES`] of both streams, in the order in which they were written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    kept: VecDeque<u8>,
    dropped: u64,
}

impl Log {
    fn append(&self, bytes: &[u8]) {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match bytes.len().checked_sub(LOG_BYTES) {
            Some(beyond) => {
                written.dropped += beyond as u64;
                &bytes[beyond..]
            }
            None => bytes,
        };
        let beyond = (written.kept.len() + bytes.len()).saturating_sub(LOG_BYTES);
        written.kept.drain(..beyond);
        written.dropped += beyond as u64;
        written.kept.extend(bytes);
    }

    fn text(&self) -> String {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = written.dropped;
        let kept = written.kept.make_contiguous();
        // Cut in the middle of a character, perhaps, and NUL is what a text of the database cannot hold.
        let text = String::from_utf8_lossy(kept).replace('\0', "");
        match dropped {
            0 => text,
            _ => format!("[{dropped} bytes before this]\n{text}"),
        }
    }
}

impl IsTerminal for Log {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Log {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only the streams of later versions of WASI are asked for this way, and none is linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Log {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[async_trait]
impl Pollable for Log {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_end() {
        let log = Log::default();
        log.append(b"first ");
        log.append(&vec![b'x'; LOG_BYTES - 4]);
        log.append(b"last");
        let text = log.text();
        assert!(
            text.starts_with("[6 bytes before this]\nxxx"),
            "{}",
            &text[..40]
        );
        assert!(text.ends_with("xlast"));
        log.append(&vec![b'y'; 3 * LOG_BYTES]);
        assert!(log.text().ends_with("yyy"));
        assert!(log.text().len() < LOG_BYTES + 64);
    }

    #[test]
    fn chance_is_as_published() {
        // The first outputs of SplitMix64 for the seed 1234567.
        let mut chance = Chance(1_234_567);
        assert_eq!(chance.next(), 6_457_827_717_110_365_317);
        assert_eq!(chance.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn other_versions_are_not_linked() {
        assert!(is_linked("wasi:clocks/wall-clock@0.2.0"));
        assert!(is_linked("wasi:io/poll@0.2.6"));
        assert!(!is_linked("wasi:io/poll@0.3.0"));
        assert!(!is_linked("wasi:io/poll"));
        assert!(!is_linked("wasi:http/types@0.2.0"));
    }
}
