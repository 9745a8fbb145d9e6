//! Links in the documents that lead to files which are not there.

use std::path::Path;

use super::Finding;

pub(super) fn check(root: &Path, file: &Path, text: &str) -> Vec<Finding> {
    let folder = root.join(file.parent().unwrap_or(Path::new("")));
    links(text)
        .into_iter()
        .filter_map(|(line, target)| {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            let is_file = !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:");
            let there = match path.strip_prefix('/') {
                Some(path) => root.join(path).exists(),
                None => folder.join(path).exists(),
            };
            (is_file && !there).then(|| Finding::new(file, line, format!("a dead link: {target}")))
        })
        .collect()
}

/// The targets of `[text](target)` and `[text]: target` outside of code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // What stands between backticks is code: every second part.
        let prose: Vec<&str> = line.split('`').step_by(2).collect();
        let prose = prose.join("`");
        for part in prose.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                // A title may follow: `(target "title")`.
                let target = target.split_whitespace().next().unwrap_or_default();
                found.push((index + 1, target.to_owned()));
            }
        }
        if let Some((_, target)) = prose.split_once("]: ")
            && prose.starts_with('[')
        {
            let target = target.split_whitespace().next().unwrap_or_default();
            found.push((index + 1, target.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_to_missing_files_are_dead() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("docs")).unwrap();
        std::fs::write(dir.path().join("docs/there.md"), "").unwrap();
        let text = "\
            [a](there.md) [b](there.md#part) [c](/docs/there.md) [d](https://e.org/x.md)\n\
            [e](#part) [f](mailto:a@b.c) `[g](code.md)` [h](gone.md \"title\")\n\
            ```\n[i](code.md)\n```\n\
            [j]: gone-too.md\n";
        let found: Vec<(usize, String)> = check(dir.path(), Path::new("docs/a.md"), text)
            .into_iter()
            .map(|finding| (finding.line, finding.message))
            .collect();
        assert_eq!(
            found,
            [
                (2, "a dead link: gone.md".to_owned()),
                (6, "a dead link: gone-too.md".to_owned())
            ]
        );
    }
}
