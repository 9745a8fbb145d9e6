//! The policies that `plugin new` begins with, compiled natively with the SDK of this checkout.

#[path = "../../../cli/templates/rust/advance.rs"]
mod advance;
#[path = "../../../cli/templates/rust/gate.rs"]
mod gate;
#[path = "../../../cli/templates/rust/ignore.rs"]
mod ignore;
#[path = "../../../cli/templates/rust/react.rs"]
mod react;
#[path = "../../../cli/templates/rust/review.rs"]
mod review;
#[path = "../../../cli/templates/rust/run.rs"]
mod run;
#[path = "../../../cli/templates/rust/select.rs"]
mod select;
#[path = "../../../cli/templates/rust/triage.rs"]
mod triage;
