//! What several stock policies share, so that a word means the same in all of them: the commands that
//! people write, what a permission allows, texts that stay within their bounds, and what every plan of
//! lanes has to look at.

pub mod command;
pub mod permission;
pub mod plan;
pub mod rehearsal;
pub mod text;

pub use command::{Command, commands};
pub use permission::Permission;
