//! The shim as a program of its own, for the tests of this crate: `pointsman-shim __shim PATH`. The
//! server uses its own executable with the same hidden subcommand.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(word), Some(path), None) if word == "__shim" => {
            pointsman_jobs::shim(Path::new(&path))
        }
        _ => ExitCode::from(2),
    }
}
