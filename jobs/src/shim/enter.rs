//! The second stage: a fresh process that sets its own limits and identity and then becomes the
//! command. It exists because between `fork` and `exec` nothing can be done without `unsafe`; in a
//! process of its own all of it is plain code, in the order that it needs.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::SigSet;
use rustix::process::{Resource, Rlimit, Signal, getppid, getrlimit, setrlimit};
use rustix::thread as own_thread;

use crate::Spec;
use crate::folder::Folder;
use crate::limits::DEFAULT_OPEN_FILES;

/// Where programs are looked for when the spec says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Out of memory, the kernel takes a job before anything else of ours.
const OOM_SCORE: &str = "500";

/// Becomes the command of the attempt in `folder`. If that fails, says why on standard input, which is
/// the shim's end of a socket; that it closes without a word is the sign that the command runs.
pub(super) fn enter(folder: &Folder) -> ExitCode {
    let Ok(report) = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3) else {
        return ExitCode::from(127);
    };
    let why = match prepare(folder) {
        Ok(mut command) => {
            let error = command.exec();
            format!(
                "{} could not be run: {error}",
                command.get_program().display()
            )
        }
        Err(why) => why,
    };
    tell(report, &why);
    ExitCode::from(127)
}

fn tell(report: OwnedFd, why: &str) {
    let _ = std::fs::File::from(report).write_all(why.as_bytes());
}

/// Everything up to the `exec`.
fn prepare(folder: &Folder) -> Result<Command, String> {
    let spec = folder.spec().map_err(|error| error.to_string())?;
    let shim = folder.begun().map_err(|error| error.to_string())?;
    let command = command(folder, &spec)?;
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");

    // While still the host's user: nobody else need be able to come here by path.
    std::env::set_current_dir(folder.path("work"))
        .map_err(|error| format!("its folder cannot be entered: {error}"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let _ = std::fs::write("/proc/self/oom_score_adj", OOM_SCORE);
    let _ = rustix::process::setpriority_process(None, 0);
    rustix::process::setsid().map_err(failed("no session of its own"))?;
    // The shim takes its signals by descriptor and has them blocked; a job has them as usual.
    SigSet::empty()
        .thread_set_mask()
        .map_err(|error| format!("signals: {error}"))?;

    let is_root = rustix::process::geteuid().is_root();
    if spec.user.is_some() || !is_root {
        // Without this a set-uid program could leave the shim behind as a user that it may not signal.
        own_thread::set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    }
    if let Some(user) = spec.user
        && is_root
    {
        let uid = rustix::process::Uid::from_raw(user.uid);
        let gid = rustix::process::Gid::from_raw(user.gid);
        let groups = spec
            .groups
            .iter()
            .copied()
            .map(rustix::process::Gid::from_raw);
        let groups: Vec<_> = groups.collect();
        own_thread::set_thread_groups(&groups).map_err(failed("groups"))?;
        own_thread::set_thread_res_gid(gid, gid, gid).map_err(failed("group"))?;
        own_thread::set_thread_res_uid(uid, uid, uid).map_err(failed("user"))?;
    }
    // After the change of user, which clears it. If the shim is killed, the command goes with it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(failed("death signal"))?;
    let parent = getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    if shim.is_none_or(|begun| begun.shim != parent) {
        return Err("the shim is gone".to_owned());
    }
    limit(&spec)?;
    Ok(command)
}

fn command(folder: &Folder, spec: &Spec) -> Result<Command, String> {
    let (program, arguments) = spec
        .command
        .split_first()
        .ok_or("the spec has no command")?;
    let id = folder.0.file_name().unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", folder.path("home"))
        .env("TMPDIR", folder.path("tmp"))
        .env("LC_ALL", "C.UTF-8")
        .env("CI", "true")
        .envs(&spec.env)
        .env("POINTSMAN_ATTEMPT", id)
        .env("POINTSMAN_OUTPUTS", folder.path("outputs"))
        .env("POINTSMAN_WORK", folder.path("work"));
    for name in spec.secrets.keys() {
        command.env(format!("{name}_FILE"), folder.path("secrets").join(name));
    }
    Ok(command)
}

/// Lowers the limits for good. Address space comes last: from there on this process may not grow.
fn limit(spec: &Spec) -> Result<(), String> {
    let lower = |resource, wanted: u64, what: &str| {
        let hard = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let value = Some(wanted.min(hard));
        let limit = Rlimit {
            current: value,
            maximum: value,
        };
        setrlimit(resource, limit)
            .map_err(|error| format!("limit of {what}: {}", io::Error::from(error)))
    };
    lower(Resource::Core, 0, "core files")?;
    lower(
        Resource::Nofile,
        spec.open_files.unwrap_or(DEFAULT_OPEN_FILES),
        "open files",
    )?;
    if let Some(bytes) = spec.file_bytes {
        lower(Resource::Fsize, bytes, "file size")?;
    }
    if let (Some(count), Some(_)) = (spec.processes, spec.user) {
        lower(Resource::Nproc, count, "processes")?;
    }
    if let Some(bytes) = spec.memory_bytes {
        lower(Resource::As, bytes, "memory")?;
    }
    Ok(())
}

/// Starts the second stage: the same executable, even if its file was replaced meanwhile.
pub(super) fn spawn(
    folder: &Folder,
    report: OwnedFd,
    output: OwnedFd,
) -> io::Result<std::process::Child> {
    Command::new("/proc/self/exe")
        .arg("__shim")
        .arg(folder.path("spec.json"))
        .env_clear()
        .current_dir("/")
        .stdin(report)
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}
