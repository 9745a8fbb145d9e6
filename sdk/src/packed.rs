//! Many short strings in one, as the contract sends long lists of names.

/// Packs strings. None of them may hold a NUL.
pub fn pack<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> String {
    let mut packed = String::new();
    for string in strings {
        packed.push_str(string.as_ref());
        packed.push('\0');
    }
    packed
}

/// The strings in a packed one.
///
/// ```
/// use pointsman_sdk::packed::{pack, unpack};
///
/// let packed = pack(["6.1.0-9-amd64", "", "6.5.0-1-amd64"]);
/// assert!(unpack(&packed).eq(["6.1.0-9-amd64", "", "6.5.0-1-amd64"]));
/// assert_eq!(unpack("").count(), 0);
/// ```
pub fn unpack(packed: &str) -> impl Iterator<Item = &str> + Clone {
    packed.split_terminator('\0')
}
