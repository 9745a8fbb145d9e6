//! `pointsman kernel detect`: reads package indices on this machine, and posts what is in them.

use pointsman_api::generation::Written;
use pointsman_api::kernel::{Detection, NewKernel, Package};
use pointsman_detect::{Detected, Options, Report, SAMPLE_DISTRO, Source, distro_of_os_release};
use serde_json::json;
use ureq::http::Method;

use crate::args::kernel::Detect;
use crate::client::Client;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::Table;
use crate::output::text::{self, bytes, count};
use crate::progress::Progress;

/// What says which distro this machine runs.
const OS_RELEASE: &str = "/etc/os-release";
/// Packages of one version that the record takes; more are left out, the image comes first.
const MAX_PACKAGES: usize = 16;

pub(super) fn run(context: &Context, args: Detect) -> Result<Exit, Error> {
    let sources = parse(&args.sources)?;
    let distro = match args.distro {
        Some(distro) => distro,
        None => distro_of(&sources)?,
    };
    // Before minutes of reading: is there a server to tell?
    let client = if args.dry_run {
        None
    } else {
        Some(context.client()?)
    };
    let options = Options {
        arch: args.arch,
        ..Options::default()
    };
    let report = read(&Progress::new(&context.out), &sources, &options);

    let withheld = args.strict && report.is_partial();
    let written = match &client {
        Some(client) if !withheld && !report.versions.is_empty() => {
            let comment = args
                .why
                .comment
                .unwrap_or_else(|| comment(&distro, &report));
            Some(post(client, &distro, &report, Some(comment))?)
        }
        _ => None,
    };
    print(context, &distro, &report, written.as_ref())?;
    for failure in &report.failures {
        let hint = failure.hint();
        context.out.error(&Error::hinted(failure.to_string(), hint));
    }
    if withheld {
        context
            .out
            .warn("nothing was recorded, since a source failed and --strict is set");
    }
    Ok(if report.is_partial() {
        Exit::Failure
    } else {
        Exit::Ok
    })
}

fn parse(sources: &[String]) -> Result<Vec<Source>, Error> {
    sources
        .iter()
        .map(|text| {
            text.parse().map_err(|error: pointsman_detect::Error| {
                Error::usage(error.to_string(), error.hint())
            })
        })
        .collect()
}

/// The distro of sources that say it by themselves: this machine's lists, and the sample.
fn distro_of(sources: &[Source]) -> Result<String, Error> {
    if sources.iter().all(|source| *source == Source::Sample) {
        return Ok(SAMPLE_DISTRO.to_owned());
    }
    if !sources.iter().all(|source| *source == Source::apt()) {
        return Err(Error::usage(
            "which distro are these indices of?",
            "name it with --distro, like --distro debian-12",
        ));
    }
    machine_distro().ok_or_else(|| {
        Error::usage(
            format!("{OS_RELEASE} does not say which distro this machine runs"),
            "name it with --distro, like --distro debian-12",
        )
    })
}

/// The distro of this machine, by its builder name.
pub(super) fn machine_distro() -> Option<String> {
    distro_of_os_release(&std::fs::read_to_string(OS_RELEASE).ok()?)
}

/// Reads the sources, showing how far it is.
pub(super) fn read(progress: &Progress, sources: &[Source], options: &Options) -> Report {
    let report = pointsman_detect::detect(sources, options, &mut |at| {
        progress.detail(|| match at.total {
            Some(total) => format!(
                "reading {}: {} of {}, {}",
                at.source,
                bytes(at.bytes),
                bytes(total),
                count(at.stanzas, "package")
            ),
            None => format!(
                "reading {}: {}, {}",
                at.source,
                bytes(at.bytes),
                count(at.stanzas, "package")
            ),
        });
    });
    progress.clear();
    report
}

/// What the generation says, where nobody says something else.
fn comment(distro: &str, report: &Report) -> String {
    let sources = report.sources.len() as u64;
    format!(
        "Detection of {distro} kernels in {}",
        count(sources, "package index").replace("indexs", "indices")
    )
}

/// Tells the server, in one change. The reader keeps no more versions than one change may have.
pub(super) fn post(
    client: &Client,
    distro: &str,
    report: &Report,
    comment: Option<String>,
) -> Result<Written, Error> {
    let kernels = report
        .versions
        .iter()
        .map(|version| new_kernel(distro, version))
        .collect();
    let body = Detection { comment, kernels };
    client.send(&Method::POST, &client.at(&["detections"]), &body)
}

fn new_kernel(distro: &str, detected: &Detected) -> NewKernel {
    let packages = detected
        .packages
        .iter()
        .take(MAX_PACKAGES)
        .map(|package| Package {
            name: package.name.clone(),
            version: package.version.clone(),
            arch: package.arch.clone(),
            filename: package.filename.clone(),
            archive: package.archive.clone().unwrap_or_default(),
            sha256: package.sha256.clone(),
            size: package.size,
            // The reader's own words: image, headers, modules, and their variants.
            role: serde_json::to_value(package.role)
                .ok()
                .and_then(|role| role.as_str().map(str::to_owned))
                .unwrap_or_default(),
        });
    NewKernel {
        distro: distro.to_owned(),
        version: detected.version.clone(),
        state: None,
        missing: detected
            .missing
            .iter()
            .map(|part| part.as_str().to_owned())
            .collect(),
        packages: packages.collect(),
    }
}

fn print(
    context: &Context,
    distro: &str,
    report: &Report,
    written: Option<&Written>,
) -> Result<(), Error> {
    if context.out.is_json() {
        return context
            .out
            .document(&json!({"distro": distro, "report": report, "written": written}));
    }
    let mut table = Table::new(&[
        "SOURCE",
        "SIZE#",
        "PACKAGES#",
        "KERNEL PACKAGES#",
        "VERSIONS#",
    ]);
    for source in &report.sources {
        table.add(vec![
            source.name.clone(),
            bytes(source.bytes),
            source.stanzas.to_string(),
            source.kernel_packages.to_string(),
            source.versions.to_string(),
        ]);
    }
    context.out.table(&table)?;
    for conflict in &report.conflicts {
        context.out.warn(format!(
            "two different files are called {} {}: the one with SHA-256 {} counts",
            text::safe(&conflict.name),
            text::safe(&conflict.version),
            text::short(&conflict.sha256[0])
        ));
    }
    context.out.line(format!("{distro}: {}", summary(report)))?;
    match written {
        Some(written) => context.out.line(text::written(written)),
        None => Ok(()),
    }
}

/// How many versions there are, and why some cannot be fetched.
pub(super) fn summary(report: &Report) -> String {
    let versions = report.versions.len() as u64;
    let mut line = count(versions, "version");
    let complete = report
        .versions
        .iter()
        .filter(|version| version.complete)
        .count() as u64;
    if complete < versions {
        line += &format!(
            ", {} incomplete: {}",
            versions - complete,
            incomplete(report)
        );
    }
    if !report.headers_only.is_empty() {
        line += &format!(
            "; {} with headers and no image left out",
            report.headers_only.len()
        );
    }
    line
}

/// What is missing, and of how many versions.
fn incomplete(report: &Report) -> String {
    let mut reasons: Vec<(String, u64)> = Vec::new();
    for version in report.versions.iter().filter(|version| !version.complete) {
        let parts: Vec<&str> = version.missing.iter().map(|part| part.as_str()).collect();
        let reason = format!("no {}", parts.join(", no "));
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, number)) => *number += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons
        .iter()
        .map(|(reason, number)| format!("{number} with {reason}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_becomes_a_detection() {
        let report = read(&Progress::Silent, &[Source::Sample], &Options::default());
        assert!(!report.is_partial());
        let kernels: Vec<NewKernel> = report
            .versions
            .iter()
            .map(|version| new_kernel(SAMPLE_DISTRO, version))
            .collect();
        assert!(!kernels.is_empty());
        for (kernel, detected) in kernels.iter().zip(&report.versions) {
            assert_eq!(kernel.missing.is_empty(), detected.complete);
            assert!(
                kernel
                    .packages
                    .iter()
                    .all(|package| !package.role.is_empty())
            );
            assert!(
                kernel
                    .packages
                    .iter()
                    .any(|package| package.role.starts_with("image"))
            );
        }
        let text = summary(&report);
        assert!(
            text.starts_with(&format!("{} version", report.versions.len())),
            "{text}"
        );
    }

    #[test]
    fn foreign_indices_name_their_distro() {
        let file = parse(&["./Packages".to_owned()]).unwrap();
        assert_eq!(distro_of(&file).unwrap_err().exit(), Exit::Usage);
        let sample = parse(&["sample".to_owned()]).unwrap();
        assert_eq!(distro_of(&sample).unwrap(), SAMPLE_DISTRO);
        assert_eq!(
            parse(&["ftp://x".to_owned()]).unwrap_err().exit(),
            Exit::Usage
        );
    }

    #[test]
    fn comments_count() {
        let mut report = Report::default();
        insta::assert_snapshot!(comment("debian-12", &report), @"Detection of debian-12 kernels in 0 package indices");
        report.sources = read(&Progress::Silent, &[Source::Sample], &Options::default()).sources;
        report.sources.truncate(1);
        insta::assert_snapshot!(comment("debian-12", &report), @"Detection of debian-12 kernels in 1 package index");
    }
}
