//! Notes: what the policies of a pipeline remember, and people may see and edit.

use crate::wire;

wire! {
    /// One note.
    pub struct Note {
        /// The hook of the binding that is given it.
        pub hook: String,
        /// The place of that binding in the hook's chain.
        pub position: i32,
        /// What it is about: the distro of a kernel version. Where it is about neither a kernel version nor a
        /// pull request, it is about the pipeline itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub distro: Option<String>,
        /// What it is about: the kernel version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<String>,
        /// What it is about: the repository of a pull request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub repository: Option<String>,
        /// What it is about: the number of the pull request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub number: Option<i32>,
        /// Unique for one place and one subject.
        pub key: String,
        /// What it says.
        pub value: String,
        /// The decision that asked for it; absent: a person wrote it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub decision: Option<i64>,
        /// The generation that last changed it.
        pub generation: i64,
    }
}

wire! {
    /// Which note.
    #[serde(deny_unknown_fields)]
    pub struct NoteName {
        /// The hook of the binding that is given it.
        pub hook: String,
        /// The place of that binding in the hook's chain; 0 unless told otherwise.
        #[serde(default)]
        pub position: i32,
        /// Of a kernel version: its distro. Of neither that nor a pull request: of the pipeline itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub distro: Option<String>,
        /// Of a kernel version. Only `advance` is given those.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<String>,
        /// Of a pull request: its repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub repository: Option<String>,
        /// Of a pull request: its number. All hooks of a merge pipeline are given those but `select`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub number: Option<i32>,
        /// Not empty, with neither control characters nor a slash.
        pub key: String,
    }
}

wire! {
    /// A note to write.
    #[serde(deny_unknown_fields)]
    pub struct NewNote {
        /// The hook of the binding that is given it.
        pub hook: String,
        /// The place of that binding in the hook's chain; 0 unless told otherwise.
        #[serde(default)]
        pub position: i32,
        /// Of a kernel version: its distro. Of neither that nor a pull request: of the pipeline itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub distro: Option<String>,
        /// Of a kernel version. Only `advance` is given those.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub version: Option<String>,
        /// Of a pull request: its repository.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub repository: Option<String>,
        /// Of a pull request: its number. All hooks of a merge pipeline are given those but `select`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub number: Option<i32>,
        /// Not empty, with neither control characters nor a slash.
        pub key: String,
        /// What it says; with the key at most 1,024 bytes.
        pub value: String,
    }
}

wire! {
    /// A batch of changes to notes: all or none. What they are about is looked at again with them.
    #[serde(deny_unknown_fields)]
    pub struct PutNotes {
        /// Why; the generation's comment.
        #[serde(default)]
        pub comment: Option<String>,
        /// Notes to write, with `remove` at most 1,000. A subject has at most 64 of one place.
        #[serde(default)]
        pub notes: Vec<NewNote>,
        /// Notes to remove.
        #[serde(default)]
        pub remove: Vec<NoteName>,
    }
}
