//! Which packages are kernels, and of which version. Names alone do not tell: Debian's
//! `linux-image-6.12-amd64` is a metapackage and `linux-image-6.12.117+deb12-amd64` a kernel.
//!
//! The rule, for a name whose version begins with a digit:
//! - debug symbols and signing templates are told by their suffix;
//! - **a metapackage depends on a package of its own kind that belongs to another kernel.** A real
//!   image depends on no other image. Real headers depend on other headers only for the part that
//!   kernels of one build share, whose name says so: `6.1.0-56-common` for `6.1.0-56-rt-amd64`
//!   (Debian), `5.15.0-57` for `5.15.0-57-generic` (Ubuntu).
//!
//! Sizes were considered (a metapackage installs some 13 kB) and rejected: they are a guess that
//! holds until somebody puts a changelog into the package. `Source` does not tell either: Debian
//! builds the signed images and their metapackages from one source.

use crate::limits::MAX_NEEDS;
use crate::report::Role;

/// A package that belongs to one kernel version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KernelName<'a> {
    pub(crate) role: Role,
    /// As `uname -r` says it.
    pub(crate) version: &'a str,
}

/// What a package is, by its name and its dependencies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// Of one kernel version; `needs` names what else of that kernel it depends on.
    Kernel {
        name: KernelName<'a>,
        needs: Vec<&'a str>,
    },
    /// Named like a kernel, and none.
    SetAside,
    /// Anything else.
    Other,
}

/// Suffixes of packages that are about a kernel and hold none.
const NO_KERNEL_SUFFIXES: [&str; 3] = ["-dbg", "-dbgsym", "-signed-template"];

/// What this package is.
pub(crate) fn classify<'a>(package: &'a str, depends: &'a str) -> Kind<'a> {
    let Some(name) = parse(package) else {
        // Other metapackages: `linux-image-amd64`, `linux-headers-generic-hwe-22.04`.
        let like = package.starts_with("linux-image-") || package.starts_with("linux-headers-");
        return if like { Kind::SetAside } else { Kind::Other };
    };
    if NO_KERNEL_SUFFIXES
        .iter()
        .any(|suffix| package.ends_with(suffix))
    {
        return Kind::SetAside;
    }
    let mut needs = Vec::new();
    for other in depends_on(depends) {
        let Some(need) = parse(other) else { continue };
        match (group(name.role), group(need.role)) {
            (Group::Image, Group::Image) if need.version != name.version => return Kind::SetAside,
            (Group::Headers, Group::Headers) if !shares(need.version, name.version) => {
                return Kind::SetAside;
            }
            (Group::Headers, Group::Headers) | (Group::Image, Group::Modules)
                if needs.len() < MAX_NEEDS =>
            {
                needs.push(other);
            }
            _ => {}
        }
    }
    Kind::Kernel { name, needs }
}

#[derive(PartialEq, Eq)]
enum Group {
    Image,
    Headers,
    Modules,
}

fn group(role: Role) -> Group {
    match role {
        Role::Image | Role::ImageUnsigned => Group::Image,
        Role::Headers | Role::HeadersShared => Group::Headers,
        Role::Modules => Group::Modules,
    }
}

/// Takes a name apart. The version begins with a digit, which leaves out `linux-image-extra-…`,
/// `linux-image-uc-…`, `linux-modules-extra-…` and the metapackages named after a flavour.
fn parse(package: &str) -> Option<KernelName<'_>> {
    let rest = package.strip_prefix("linux-")?;
    let numbered = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let found = |role, version| Some(KernelName { role, version });
    if let Some(version) = rest.strip_prefix("image-unsigned-") {
        return numbered(version).then_some(KernelName {
            role: Role::ImageUnsigned,
            version,
        });
    }
    if let Some(version) = rest.strip_prefix("image-") {
        return match version.strip_suffix("-unsigned") {
            _ if !numbered(version) => None,
            Some(version) => found(Role::ImageUnsigned, version),
            None => found(Role::Image, version),
        };
    }
    if let Some(version) = rest.strip_prefix("headers-") {
        return numbered(version).then_some(KernelName {
            role: Role::Headers,
            version,
        });
    }
    if let Some(version) = rest.strip_prefix("modules-") {
        return numbered(version).then_some(KernelName {
            role: Role::Modules,
            version,
        });
    }
    // Ubuntu names the shared part after the source package: `linux-hwe-6.8-headers-6.8.0-40`.
    let (_, version) = rest.rsplit_once("-headers-")?;
    numbered(version).then_some(KernelName {
        role: Role::HeadersShared,
        version,
    })
}

/// Whether headers of the version `part` are the shared part of the headers of `whole`.
fn shares(part: &str, whole: &str) -> bool {
    let base = shared_base(part).unwrap_or(part);
    whole == base
        || whole
            .strip_prefix(base)
            .is_some_and(|rest| rest.starts_with('-'))
}

/// The build that Debian's shared headers are for: `6.1.0-56` of `6.1.0-56-common-rt`.
pub(crate) fn shared_base(version: &str) -> Option<&str> {
    version
        .strip_suffix("-common")
        .or_else(|| version.split_once("-common-").map(|(base, _)| base))
}

/// The names in a relationship field. Of alternatives (`a | b`) only the first counts: it is the
/// one that the archive itself installs.
fn depends_on(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').filter_map(|group| {
        let first = group.split('|').next()?.trim();
        let end = first
            .find([' ', '\t', '(', ':', '['])
            .unwrap_or(first.len());
        (end > 0).then(|| &first[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kernel(package: &str, depends: &str) -> Option<(Role, String)> {
        match classify(package, depends) {
            Kind::Kernel { name, .. } => Some((name.role, name.version.to_owned())),
            Kind::SetAside | Kind::Other => None,
        }
    }

    #[test]
    fn debian() {
        let image = "kmod, initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool";
        let some = |role, version: &str| Some((role, version.to_owned()));
        let cases = [
            (
                "linux-image-6.12.117+deb12-amd64",
                image,
                some(Role::Image, "6.12.117+deb12-amd64"),
            ),
            (
                "linux-image-6.1.0-56-rt-amd64-unsigned",
                image,
                some(Role::ImageUnsigned, "6.1.0-56-rt-amd64"),
            ),
            (
                "linux-headers-6.1.0-56-amd64",
                "linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1",
                some(Role::Headers, "6.1.0-56-amd64"),
            ),
            (
                "linux-headers-6.1.0-56-rt-amd64",
                "linux-headers-6.1.0-56-common-rt (= 6.1.192-2)",
                some(Role::Headers, "6.1.0-56-rt-amd64"),
            ),
            (
                "linux-headers-6.12.117+deb12-amd64",
                "linux-headers-6.12.117+deb12-common, linux-image-6.12.117+deb12-amd64 (= 1) | linux-image-6.12.117+deb12-amd64-unsigned",
                some(Role::Headers, "6.12.117+deb12-amd64"),
            ),
            (
                "linux-image-6.12-amd64",
                "linux-image-6.12.117+deb12-amd64 (= 6.12.117-1~deb12u1)",
                None,
            ),
            (
                "linux-headers-6.12-amd64",
                "linux-headers-6.12.117+deb12-amd64 (= 6.12.117-1~deb12u1)",
                None,
            ),
            ("linux-image-2.6-amd64", "linux-image-2.6.32-5-amd64", None),
            (
                "linux-headers-4.19.0-5-all",
                "linux-headers-4.19.0-5-all-amd64 (= 4.19.37-5)",
                None,
            ),
            (
                "linux-headers-4.19.0-5-all-amd64",
                "linux-headers-4.19.0-5-amd64, linux-headers-4.19.0-5-rt-amd64",
                None,
            ),
            (
                "linux-image-6.12-amd64-signed-template",
                "dpkg-dev, python3:any",
                None,
            ),
            ("linux-image-6.1.0-56-amd64-dbg", "", None),
            (
                "linux-image-6.12-rt-amd64-dbg",
                "linux-image-6.12.117+deb12-rt-amd64-dbg (= 1)",
                None,
            ),
            (
                "linux-image-amd64",
                "linux-image-6.1.0-56-amd64 (= 6.1.192-2)",
                None,
            ),
            // A kernel of a development release, whose name a metapackage could have.
            (
                "linux-image-6.10-amd64",
                image,
                some(Role::Image, "6.10-amd64"),
            ),
        ];
        for (package, depends, want) in cases {
            assert_eq!(kernel(package, depends), want, "{package}");
        }
    }

    #[test]
    fn ubuntu() {
        let some = |role, version: &str| Some((role, version.to_owned()));
        let cases = [
            (
                "linux-image-5.15.0-57-generic",
                "kmod, linux-base (>= 4.5), linux-modules-5.15.0-57-generic",
                some(Role::Image, "5.15.0-57-generic"),
            ),
            (
                "linux-image-unsigned-5.15.0-1030-aws",
                "linux-modules-5.15.0-1030-aws",
                some(Role::ImageUnsigned, "5.15.0-1030-aws"),
            ),
            (
                "linux-image-5.4.0-1001-kvm",
                "",
                some(Role::Image, "5.4.0-1001-kvm"),
            ),
            (
                "linux-headers-5.15.0-57-generic",
                "linux-headers-5.15.0-57, libc6 (>= 2.34)",
                some(Role::Headers, "5.15.0-57-generic"),
            ),
            (
                "linux-headers-6.8.0-40-generic",
                "linux-hwe-6.8-headers-6.8.0-40, libc6",
                some(Role::Headers, "6.8.0-40-generic"),
            ),
            (
                "linux-hwe-6.8-headers-6.8.0-40",
                "",
                some(Role::HeadersShared, "6.8.0-40"),
            ),
            (
                "linux-modules-5.15.0-57-generic",
                "",
                some(Role::Modules, "5.15.0-57-generic"),
            ),
            (
                "linux-image-generic-hwe-22.04",
                "linux-image-6.8.0-40-generic",
                None,
            ),
            ("linux-image-extra-4.4.0-21-generic", "", None),
            ("linux-image-uc-5.15.0-57-generic", "", None),
            ("linux-modules-extra-5.15.0-57-generic", "", None),
            ("linux-image-5.15.0-57-generic-dbgsym", "", None),
            ("linux-image-unsigned-5.15.0-57-generic-dbgsym", "", None),
            ("linux-tools-5.15.0-57-generic", "", None),
            ("linux-libc-dev", "", None),
        ];
        for (package, depends, want) in cases {
            assert_eq!(kernel(package, depends), want, "{package}");
        }
    }

    #[test]
    fn what_a_kernel_needs_is_of_its_own_build() {
        let needs = |package, depends| match classify(package, depends) {
            Kind::Kernel { needs, .. } => needs,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            needs(
                "linux-headers-6.8.0-40-generic",
                "linux-hwe-6.8-headers-6.8.0-40 (>= 1), gcc-12:any"
            ),
            ["linux-hwe-6.8-headers-6.8.0-40"]
        );
        assert_eq!(
            needs(
                "linux-image-5.15.0-57-generic",
                "kmod, linux-modules-5.15.0-57-generic"
            ),
            ["linux-modules-5.15.0-57-generic"]
        );
        // `linux-kbuild-6.1` is shared by all builds of 6.1: were it part of a version, every old
        // version would look rebuilt whenever a new one comes out.
        assert_eq!(
            needs(
                "linux-headers-6.1.0-56-amd64",
                "linux-headers-6.1.0-56-common, linux-kbuild-6.1"
            ),
            ["linux-headers-6.1.0-56-common"]
        );
    }

    proptest! {
        #[test]
        fn never_panics(package in "(linux-)?(image|headers|modules|a-headers)?-?.{0,12}", depends in ".{0,40}") {
            let _ = classify(&package, &depends);
        }
    }
}
