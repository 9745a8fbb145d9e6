//! Addresses under `/v1`, with path segments and query values encoded in one place.

use std::fmt::Display;

use url::Url;

/// The address of one call.
#[derive(Debug, Clone)]
pub(crate) struct Address(Url);

impl Address {
    pub(crate) fn new(server: &Url, segments: &[&str]) -> Address {
        let mut url = server.clone();
        url.set_query(None);
        url.set_fragment(None);
        // An address with a host always has a path, so this cannot fail; a server may sit under a
        // prefix of a proxy.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1").extend(segments);
        }
        Address(url)
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Adds a parameter.
    pub(crate) fn with(mut self, key: &str, value: impl Display) -> Address {
        self.0
            .query_pairs_mut()
            .append_pair(key, &value.to_string());
        self
    }

    /// Adds a parameter where there is a value.
    pub(crate) fn maybe(self, key: &str, value: Option<impl Display>) -> Address {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Adds `key=a,b` where there is a value.
    pub(crate) fn list(self, key: &str, values: &[String]) -> Address {
        if values.is_empty() {
            self
        } else {
            self.with(key, values.join(","))
        }
    }

    /// Adds `key=true` where it is so.
    pub(crate) fn flag(self, key: &str, set: bool) -> Address {
        if set { self.with(key, true) } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(server: &str, segments: &[&str]) -> Address {
        Address::new(&Url::parse(server).unwrap(), segments)
    }

    #[test]
    fn names_are_encoded() {
        let address = at("http://h:1", &["kernels", "ubuntu-22.04", "5.15%+~?#x"])
            .with("like", "%+debug_&%")
            .list("state", &["seen".to_owned(), "built".to_owned()])
            .list("none", &[])
            .flag("missing", true)
            .flag("deleted", false)
            .maybe("limit", Some(7))
            .maybe("cursor", None::<&str>);
        insta::assert_snapshot!(address.as_str(), @"http://h:1/v1/kernels/ubuntu-22.04/5.15%25+~%3F%23x?like=%25%2Bdebug_%26%25&state=seen%2Cbuilt&missing=true&limit=7");
    }

    #[test]
    fn a_server_may_sit_under_a_prefix() {
        insta::assert_snapshot!(at("https://h/pm/", &["whoami"]).as_str(), @"https://h/pm/v1/whoami");
        insta::assert_snapshot!(at("https://h/pm", &["whoami"]).as_str(), @"https://h/pm/v1/whoami");
    }
}
