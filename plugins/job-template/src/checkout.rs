//! How the commit comes into the job's folder.

/// The script that does it, for `sh -c`: its arguments are the depth, then the command. It is given
/// values by its environment alone.
pub const CHECKOUT: &str = include_str!("checkout.sh");

/// What the script is told.
pub(crate) const VARIABLES: [&str; 3] = ["source.repo", "work.commit", "work.tree"];

/// The command with the checkout before it.
pub(crate) fn before(depth: u32, command: Vec<String>) -> Vec<String> {
    let depth = depth.to_string();
    let first = ["sh", "-c", CHECKOUT, "checkout", depth.as_str()];
    first
        .into_iter()
        .map(str::to_owned)
        .chain(command)
        .collect()
}
