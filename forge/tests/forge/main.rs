//! The forge against real git: repositories on disk, clones with work trees, real pushes.
#![allow(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in what the tests share as well"
)]

mod damage;
mod heads;
mod landing;
mod lanes;
mod names;
mod place;
mod pushes;
mod repositories;
mod texts;
