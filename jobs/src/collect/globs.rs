//! Globs over paths in the job's folder.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::Error;
use crate::limits::{MAX_GLOB_BYTES, MAX_GLOBS};

/// A set of globs, and what of a tree they make worth entering: a checkout has many more directories
/// than those with reports in them.
#[derive(Debug)]
pub(crate) struct Globs {
    files: GlobSet,
    directories: GlobSet,
}

impl Globs {
    /// `field` is the one of the spec that an error names.
    pub(crate) fn new(field: &'static str, globs: &[String]) -> Result<Self, Error> {
        let bad = |why: String| Error::BadSpec { field, why };
        if globs.len() > MAX_GLOBS {
            return Err(bad(format!("are more than {MAX_GLOBS} globs")));
        }
        let mut files = GlobSetBuilder::new();
        let mut directories = GlobSetBuilder::new();
        for glob in globs {
            let text = glob
                .strip_prefix("./")
                .unwrap_or(glob)
                .trim_end_matches('/');
            if text.is_empty() || text.len() > MAX_GLOB_BYTES {
                return Err(bad(format!("have a glob of {} bytes", glob.len())));
            }
            if text.starts_with('/') || text.split('/').any(|part| part == "..") {
                return Err(bad(format!(
                    "have {glob:?}, which is not within the job's folder"
                )));
            }
            let build = |text: &str| {
                GlobBuilder::new(text)
                    .literal_separator(true)
                    .backslash_escape(true)
                    .build()
                    .map_err(|error| bad(format!("have {glob:?}: {}", error.kind())))
            };
            files.add(build(text)?);
            // What names a directory means everything in it.
            let below = format!("{text}/**");
            files.add(build(&below)?);
            directories.add(build(text)?);
            directories.add(build(&below)?);
            // A `{a,b/c}` or `[/]` that spans a separator cannot be cut there: then enter everything.
            if text.contains(['{', '[', '\\']) {
                directories.add(build("**")?);
                continue;
            }
            for (at, _) in text.match_indices('/') {
                directories.add(build(&text[..at])?);
            }
            if let Some(at) = text.find("**") {
                directories.add(build(&format!("{}**", &text[..at]))?);
            }
        }
        let set = |builder: GlobSetBuilder| builder.build().map_err(|e| bad(e.to_string()));
        Ok(Self {
            files: set(files)?,
            directories: set(directories)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether a file is meant.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.files.is_match(path)
    }

    /// Whether a directory may have something in it that is meant.
    pub(crate) fn may_be_below(&self, directory: &str) -> bool {
        self.directories.is_match(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::Globs;

    fn globs(texts: &[&str]) -> Globs {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Globs::new("artifacts", &texts).unwrap()
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_do_not() {
        let set = globs(&["out/*.xml", "logs/**/*.txt"]);
        assert!(set.matches("out/a.xml"));
        assert!(!set.matches("out/b/a.xml"));
        assert!(!set.matches("xout/a.xml"));
        assert!(set.matches("logs/a.txt") && set.matches("logs/x/y/a.txt"));
    }

    #[test]
    fn a_directory_means_what_is_in_it() {
        let set = globs(&["build/reports/"]);
        assert!(set.matches("build/reports/tests/index.html"));
        assert!(!set.matches("build/other"));
        assert!(set.may_be_below("build") && set.may_be_below("build/reports/tests"));
        assert!(!set.may_be_below("src") && !set.may_be_below("build/classes"));
    }

    #[test]
    fn only_what_can_match_is_entered() {
        let set = globs(&["a/*/c/*.xml", "**/target/x"]);
        assert!(set.may_be_below("a") && set.may_be_below("a/b") && set.may_be_below("z/y"));
        let set = globs(&["a/*/c/*.xml"]);
        assert!(set.may_be_below("a/b/c") && !set.may_be_below("a/b/d") && !set.may_be_below("b"));
        let set = globs(&["{a,b/c}/x.xml"]);
        assert!(set.matches("b/c/x.xml") && set.may_be_below("b") && set.may_be_below("b/c"));
    }

    #[test]
    fn what_leads_out_is_refused() {
        for text in ["/etc/passwd", "../x", "a/../../x", "", "[", "a{"] {
            let error = Globs::new("artifacts", &[text.to_owned()]).unwrap_err();
            assert_eq!(error.code(), "bad-spec", "{text}");
        }
    }
}
