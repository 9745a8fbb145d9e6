//! The question of the calls: a pull request of about 1 kB with its reviews.

use pointsman_host::policy::wit::{review, types};

/// The time that a policy sees.
const AT: u64 = 1_790_000_000_000;

/// A commit.
fn commit(n: u64) -> String {
    format!(
        "{:040x}",
        u128::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    )
}

/// What comes with every question.
pub(super) fn context() -> types::Context {
    types::Context {
        pipeline: "merge".to_owned(),
        at: AT,
        seed: 7,
        settings: "{}".to_owned(),
        notes: vec![],
        facts: vec![],
        attrs: vec![],
    }
}

/// The n-th pull request.
pub(super) fn question(n: u64) -> review::Question {
    let text = str::to_owned;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let head = commit(n);
    let submitted = |by: &str, state: &str, head: String| review::Submitted {
        by: by.to_owned(),
        state: state.to_owned(),
        at: AT - 3_600_000,
        head,
        patch_id: String::new(),
        attrs: vec![pair("permission", "write")],
    };
    let changed = [
        "drivers/net/ethernet/intel/ice/ice_main.c",
        "drivers/net/ethernet/intel/ice/ice_txrx.c",
        "drivers/net/ethernet/intel/ice/ice_txrx.h",
        "include/linux/netdevice.h",
        "Documentation/networking/scaling.rst",
    ];
    review::Question {
        pull_request: types::PullRequest {
            number: 1_000 + n,
            author: text("ann"),
            title: text("ice: keep the ring's statistics when the number of queues changes"),
            target: text("main"),
            opened_at: AT - 86_400_000,
            merge_base: commit(n + 1_000_000),
            patch_id: commit(n + 2_000_000),
            state: text("open"),
            labels: vec![types::Label {
                name: text("area:net"),
                by: text("bors"),
                at: AT - 80_000_000,
                head: head.clone(),
            }],
            changed: changed.iter().flat_map(|path| [path, "\0"]).collect(),
            changed_total: 5,
            commands: vec![],
            depends: vec![],
            runs: vec![],
            notes: vec![],
            attrs: vec![
                pair("author.permission", "write"),
                pair(
                    "body",
                    "The counters were freed with the rings. They move to the vector, which lives on.",
                ),
                pair("head.branch", "keep-statistics"),
                pair("head.repository", "ann/linux"),
                pair("mergeable", "true"),
            ],
            head: head.clone(),
        },
        reviews: vec![
            submitted("cy", "commented", commit(n + 3_000_000)),
            submitted("bob", "approved", head),
        ],
    }
}

/// Bytes of all texts of a question, which is what is copied into the guest.
pub(super) fn text_bytes(question: &review::Question) -> usize {
    fn of(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::String(text) => text.len(),
            serde_json::Value::Array(items) => items.iter().map(of).sum(),
            serde_json::Value::Object(fields) => fields.values().map(of).sum(),
            _ => 8,
        }
    }
    serde_json::to_value(question).map_or(0, |value| of(&value))
}
