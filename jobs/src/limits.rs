//! Every bound of this crate, with its unit and its reason. A job is hostile until proven otherwise:
//! nothing that it leaves behind decides how much memory, disk or time the host spends on it.

/// Characters of an attempt's id: it is a folder's name and an environment variable.
pub const MAX_ID_CHARS: usize = 64;
/// Bytes of program and arguments together, as the contract with the policies says.
pub const MAX_COMMAND_BYTES: usize = 64 * 1024;
/// Bytes of the environment of a spec: the kernel allows 128 KiB for one string, 2 MiB in all.
pub const MAX_ENV_BYTES: usize = 256 * 1024;
/// Bytes of one secret: a token, a key, a file of credentials.
pub const MAX_SECRET_BYTES: u64 = 64 * 1024;
/// Secrets of one job.
pub const MAX_SECRETS: usize = 64;
/// Globs of one spec, for artifacts and for JUnit files each.
pub const MAX_GLOBS: usize = 64;
/// Bytes of one glob.
pub const MAX_GLOB_BYTES: usize = 512;
/// Bytes of a `spec.json` that the shim reads: command and environment at their most, escaped.
pub const MAX_SPEC_BYTES: u64 = 4 * 1024 * 1024;

/// Milliseconds of wall clock that a job has when nothing else is said: an hour.
pub const DEFAULT_TIMEOUT_MS: u64 = 60 * 60 * 1000;
/// Milliseconds between SIGTERM and SIGKILL when nothing else is said.
pub const DEFAULT_KILL_GRACE_MS: u64 = 10_000;
/// Bytes of output that are kept when nothing else is said: half from the beginning, half from the end.
pub const DEFAULT_OUTPUT_BYTES: u64 = 16 * 1024 * 1024;
/// Open files of a job when nothing else is said; the machine's own bound still holds.
pub const DEFAULT_OPEN_FILES: u64 = 65_536;

/// Milliseconds between two looks of the shim at `cancel` and `lease`. It is woken for a cancel; this
/// is for a wake that was lost.
pub const CHECK_MS: u64 = 1_000;
/// Milliseconds that a shim has to begin, before its attempt is given up and can never run: a loaded
/// machine takes a second, a healthy one a few milliseconds.
pub const START_PATIENCE_MS: u64 = 30_000;
/// Milliseconds after which a folder that was being made, or removed, by a host that died is swept.
pub const ABANDONED_MS: u64 = 60 * 60 * 1000;

/// Bytes of the file in which a job writes its outputs, and of what is read of it.
pub const MAX_OUTPUTS_BYTES: u64 = 256 * 1024;
/// Outputs of one job.
pub const MAX_OUTPUTS: usize = 256;
/// Bytes of an output's name.
pub const MAX_OUTPUT_KEY_BYTES: usize = 128;
/// Bytes of an output's value.
pub const MAX_OUTPUT_VALUE_BYTES: usize = 8 * 1024;

/// Directory entries looked at while artifacts are searched: a large checkout has 100,000.
pub const MAX_ENTRIES: usize = 500_000;
/// Directories within one another that are entered while artifacts are searched. Each costs an open
/// file, and no real build output is that deep.
pub const MAX_DEPTH: usize = 64;
/// Artifacts of one attempt.
pub const MAX_ARTIFACTS: usize = 1_000;
/// Bytes of one artifact.
pub const MAX_ARTIFACT_BYTES: u64 = 1024 * 1024 * 1024;
/// Bytes of all artifacts of one attempt.
pub const MAX_ARTIFACTS_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// Problems that a report tells of; the last one says that there are more.
pub const MAX_PROBLEMS: usize = 100;

/// JUnit files of one attempt: Maven writes one a class.
pub const MAX_JUNIT_FILES: usize = 2_000;
/// Bytes of one JUnit file. They carry the output of tests, so they grow.
pub const MAX_JUNIT_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of all JUnit files of one attempt: this bounds the time that parsing takes.
pub const MAX_JUNIT_TOTAL_BYTES: u64 = 128 * 1024 * 1024;
/// Elements within one another in a JUnit file; real ones have five.
pub const MAX_JUNIT_DEPTH: usize = 32;
/// Tests kept of one attempt, those that did not pass first: what the contract lets `triage` see.
pub const MAX_TESTS: usize = 1_000;
/// Bytes kept of what a test said.
pub const MAX_TEST_MESSAGE_BYTES: usize = 1024;
/// Bytes of a test's name and of its suite's.
pub const MAX_TEST_NAME_BYTES: usize = 512;

/// Bytes of one part of a log, whatever is asked for.
pub const MAX_LOG_PART_BYTES: usize = 1024 * 1024;

/// Bytes up to which an object is stored in one request; larger ones travel in parts of this size.
pub const STORE_PART_BYTES: usize = 8 * 1024 * 1024;
