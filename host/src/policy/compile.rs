//! From wasm to native code, in a child process with limits: the compiler is large, and what it is fed
//! comes from a stranger. A component that makes it loop, swell or crash costs one child.
//!
//! The child is this very program, started again: wasm in on stdin, artifact out on stdout, words on
//! stderr. It limits itself before it reads a byte, which needs no unsafe code between fork and exec.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, Signal, nice, setrlimit};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use wasmtime::Engine;

use super::engine::{self, into_anyhow};
use super::inspect::MAX_COMPONENT_BYTES;
use super::rejection::Rejection;

/// Processor time of a compilation, in seconds. The largest honest component takes some 6 s, and a
/// host that was built without optimisation, on a slow machine, ten times that.
const COMPILE_CPU_SECS: u64 = 90;

/// Wall clock of a compilation: the processor time, and as much again on a loaded machine.
pub const COMPILE_DEADLINE: Duration = Duration::from_secs(2 * COMPILE_CPU_SECS);

/// Address space of a compilation. The compiler holds the wasm, all machine code and its relocations:
/// 600 MiB for a component of 15 MB, so well over 1 GiB for the largest that is taken.
const COMPILE_MEMORY_BYTES: u64 = 3 * 1024 * 1024 * 1024;

/// Native code of one component; machine code is some 4 times its wasm.
const MAX_ARTIFACT_BYTES: u64 = 256 * 1024 * 1024;

/// What is kept of the child's words.
const MAX_WORDS_BYTES: u64 = 4096;

/// A compilation gives way to plugin calls and requests.
const COMPILE_NICENESS: i32 = 10;

/// The component is bad (`EX_DATAERR` of sysexits); any other failure is the host's.
const EXIT_BAD_COMPONENT: u8 = 65;

/// How components are compiled.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// In a child process: the absolute path of a program that calls [`compile_child_main`], and its
    /// arguments. `/proc/self/exe` is this program even after its file was replaced.
    Child {
        /// Program and arguments; at least one.
        command: Vec<OsString>,
        /// How long it may take.
        deadline: Duration,
    },
    /// In this process, without limits: for tests and benchmarks with components of their own.
    InProcess,
}

impl Compiler {
    /// A child that is this program again, with these arguments.
    pub fn this_program<I, A>(arguments: I) -> Compiler
    where
        I: IntoIterator<Item = A>,
        A: Into<OsString>,
    {
        let mut command = vec![OsString::from("/proc/self/exe")];
        command.extend(arguments.into_iter().map(Into::into));
        Compiler::Child {
            command,
            deadline: COMPILE_DEADLINE,
        }
    }

    /// Compiles a component to an artifact for `engine`.
    pub(super) async fn compile(&self, engine: &Engine, wasm: Bytes) -> Result<Vec<u8>, Rejection> {
        match self {
            Compiler::Child { command, deadline } => in_child(command, *deadline, &wasm).await,
            Compiler::InProcess => {
                let engine = engine.clone();
                let compile = move || engine.precompile_component(&wasm);
                match tokio::task::spawn_blocking(compile).await {
                    Ok(Ok(artifact)) => Ok(artifact),
                    Ok(Err(error)) => Err(Rejection::DoesNotCompile {
                        detail: format!("{error:#}"),
                    }),
                    Err(error) => Err(host_failed(format!("the compiler crashed: {error}"))),
                }
            }
        }
    }
}

async fn in_child(
    command: &[OsString],
    deadline: Duration,
    wasm: &[u8],
) -> Result<Vec<u8>, Rejection> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(host_failed(
            "no command is set for compiling plugins".into(),
        ));
    };
    let mut child = Command::new(program)
        .args(arguments)
        // Nothing that this process was told, secrets included, is the child's business.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            host_failed(format!(
                "cannot start {} to compile it: {error}",
                program.display()
            ))
        })?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(host_failed("the compiling child has no pipes".into()));
    };
    let feed = async move {
        // A child that gave up early says why on stderr; the broken pipe adds nothing.
        let _ = stdin.write_all(wasm).await;
    };
    let talk = async {
        let ((), artifact, words) = tokio::join!(
            feed,
            read_at_most(stdout, MAX_ARTIFACT_BYTES),
            read_at_most(stderr, MAX_WORDS_BYTES)
        );
        // With its pipes closed a child that writes on is ended by the broken pipe.
        (child.wait().await, artifact, words)
    };
    // On time-out the child is dropped, which kills it.
    let (status, artifact, words) =
        tokio::time::timeout(deadline, talk)
            .await
            .map_err(|_| Rejection::CompileTooSlow {
                limit_secs: deadline.as_secs(),
            })?;
    let status =
        status.map_err(|error| host_failed(format!("cannot await the compiler: {error}")))?;
    if artifact.len() as u64 > MAX_ARTIFACT_BYTES {
        return Err(Rejection::CompileTooBig {
            detail: format!("its machine code is over {MAX_ARTIFACT_BYTES} bytes"),
        });
    }
    if status.success() {
        return Ok(artifact);
    }
    Err(failure(status, &words))
}

/// Reads to the end, or one byte past the limit.
async fn read_at_most(pipe: impl AsyncRead + Unpin, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A read that fails looks like an end: the exit status tells the rest.
    let _ = pipe.take(limit + 1).read_to_end(&mut bytes).await;
    bytes
}

/// What a child that failed says about the component.
fn failure(status: ExitStatus, words: &[u8]) -> Rejection {
    let words = String::from_utf8_lossy(words).trim().to_owned();
    if status.code() == Some(i32::from(EXIT_BAD_COMPONENT)) {
        return Rejection::DoesNotCompile { detail: words };
    }
    if status.signal() == Some(Signal::XCPU.as_raw()) {
        return Rejection::CompileTooSlow {
            limit_secs: COMPILE_CPU_SECS,
        };
    }
    // How Rust's allocator ends a process that is refused memory.
    if status.signal() == Some(Signal::ABORT.as_raw()) && words.contains("memory allocation of") {
        return Rejection::CompileTooBig {
            detail: format!("the compiler has {COMPILE_MEMORY_BYTES} bytes"),
        };
    }
    host_failed(format!("the compiler ended with {status}: {words}"))
}

fn host_failed(detail: String) -> Rejection {
    Rejection::HostFailed { detail }
}

/// What the compiling child does: its whole `main`.
///
/// Reads a component from stdin, writes the artifact to stdout. Fails with words on stderr: exit code
/// 65 where the component is bad, 1 where the host is.
pub fn compile_child_main() -> ExitCode {
    let compiled = limit_this_process().and_then(|()| compile_stdin());
    let (code, words) = match compiled {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(bad)) => (EXIT_BAD_COMPONENT, bad),
        Err(error) => (1, format!("{error:#}")),
    };
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "{words}");
    ExitCode::from(code)
}

fn limit_this_process() -> anyhow::Result<()> {
    let limits = [
        (Resource::As, COMPILE_MEMORY_BYTES),
        (Resource::Cpu, COMPILE_CPU_SECS),
        // It writes to a pipe and leaves nothing behind.
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        // For the processor the soft limit ends the child with a signal that tells why, the hard one
        // a second later with one that does not.
        let hard = if resource == Resource::Cpu {
            limit + 1
        } else {
            limit
        };
        setrlimit(
            resource,
            Rlimit {
                current: Some(limit),
                maximum: Some(hard),
            },
        )
        .with_context(|| format!("cannot limit {resource:?} of the compiling child"))?;
    }
    // Politeness only: a container may forbid it.
    let _ = nice(COMPILE_NICENESS);
    Ok(())
}

/// The inner error is what is wrong with the component.
fn compile_stdin() -> anyhow::Result<Result<(), String>> {
    let mut wasm = Vec::new();
    std::io::stdin()
        .take(MAX_COMPONENT_BYTES as u64 + 1)
        .read_to_end(&mut wasm)
        .context("cannot read the component")?;
    if wasm.len() > MAX_COMPONENT_BYTES {
        return Ok(Err(format!("it has more than {MAX_COMPONENT_BYTES} bytes")));
    }
    let artifact = match engine::compiling()?
        .precompile_component(&wasm)
        .map_err(|error| into_anyhow(&error))
    {
        Ok(artifact) => artifact,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(&artifact)
        .context("cannot write the artifact")?;
    stdout.flush().context("cannot write the artifact")?;
    Ok(Ok(()))
}
