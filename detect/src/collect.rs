//! From packages to kernel versions. An index is collected whole before anything of it counts, so
//! that one that fails half way adds nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::deb_version::{DebVersion, natural_order};
use crate::error::ErrorKind;
use crate::kernel_name::{Kind, classify, shared_base};
use crate::limits::{Limits, MAX_KERNEL_VERSION_BYTES};
use crate::report::{Conflict, Detected, Package, Part, Report, Role};
use crate::stanza::Stanza;

/// The architecture of packages that fit every machine.
const ALL: &str = "all";

/// A package of one kernel version.
#[derive(Debug)]
struct KernelPackage {
    package: Package,
    kernel: String,
    /// Names of packages of the same kernel that it depends on.
    needs: Vec<String>,
}

/// The kernels of one index.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    found: Vec<KernelPackage>,
    pub(crate) set_aside: u64,
    pub(crate) other_arch: u64,
}

impl Kernels {
    /// Takes a stanza in, if it is a kernel's. With `arch`, packages of others are only counted.
    pub(crate) fn add(
        &mut self,
        stanza: &Stanza,
        arch: Option<&str>,
        archive: Option<&str>,
        limits: &Limits,
    ) -> Result<(), ErrorKind> {
        let (name, needs) = match classify(stanza.package(), stanza.depends()) {
            Kind::Kernel { name, needs } => (name, needs),
            Kind::SetAside => {
                self.set_aside += 1;
                return Ok(());
            }
            Kind::Other => return Ok(()),
        };
        let own_arch = stanza.architecture();
        if own_arch != ALL && arch.is_some_and(|arch| arch != own_arch) {
            self.other_arch += 1;
            return Ok(());
        }
        let too_large = |what, max: usize| ErrorKind::TooLarge {
            what,
            max: max as u64,
            line: stanza.line(),
        };
        if name.version.len() > MAX_KERNEL_VERSION_BYTES {
            return Err(too_large(
                "bytes of one kernel version",
                MAX_KERNEL_VERSION_BYTES,
            ));
        }
        if self.found.len() == limits.kernel_packages {
            return Err(too_large("kernel packages", limits.kernel_packages));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-._~".contains(&b);
        if !stanza.package().bytes().all(plain) || !own_arch.bytes().all(plain) {
            return Err(ErrorKind::Malformed {
                line: stanza.line(),
                byte: 0,
                why: format!("a package name that none may have: {:?}", stanza.package()),
            });
        }
        self.found.push(KernelPackage {
            kernel: name.version.to_owned(),
            needs: needs.into_iter().map(str::to_owned).collect(),
            package: Package {
                name: stanza.package().to_owned(),
                version: stanza.version().to_owned(),
                arch: own_arch.to_owned(),
                filename: stanza.filename().to_owned(),
                sha256: stanza.sha256().to_ascii_lowercase(),
                size: stanza.size(),
                role: name.role,
                archive: archive.map(str::to_owned),
            },
        });
        Ok(())
    }

    pub(crate) fn packages(&self) -> u64 {
        self.found.len() as u64
    }

    /// The one architecture of these kernels; none if there are no kernels.
    pub(crate) fn arch(&self) -> Result<Option<String>, ErrorKind> {
        let arches: BTreeSet<_> = self
            .found
            .iter()
            .map(|kernel| kernel.package.arch.as_str())
            .filter(|arch| *arch != ALL)
            .collect();
        if arches.len() > 1 {
            return Err(ErrorKind::SeveralArchitectures {
                found: arches.into_iter().map(str::to_owned).collect(),
            });
        }
        Ok(arches.first().map(|arch| (*arch).to_owned()))
    }

    /// The versions that have an image here.
    pub(crate) fn versions(&self) -> BTreeSet<&str> {
        self.found
            .iter()
            .filter(|kernel| is_image(kernel.package.role))
            .map(|kernel| kernel.kernel.as_str())
            .collect()
    }
}

fn is_image(role: Role) -> bool {
    matches!(role, Role::Image | Role::ImageUnsigned)
}

/// All indices together.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// By name and architecture, the newest of each.
    newest: BTreeMap<(String, String), KernelPackage>,
    conflicts: BTreeMap<(String, String), Conflict>,
    versions: BTreeSet<String>,
}

impl Merged {
    /// Takes in the kernels of an index, or nothing of it if there would be too many versions.
    pub(crate) fn add(&mut self, kernels: Kernels, limits: &Limits) -> Result<(), ErrorKind> {
        let new: BTreeSet<_> = kernels
            .versions()
            .into_iter()
            .filter(|version| !self.versions.contains(*version))
            .map(str::to_owned)
            .collect();
        if self.versions.len() + new.len() > limits.versions {
            return Err(ErrorKind::TooLarge {
                what: "kernel versions in one report",
                max: limits.versions as u64,
                line: 0,
            });
        }
        self.versions.extend(new);
        for kernel in kernels.found {
            self.take(kernel);
        }
        Ok(())
    }

    fn take(&mut self, new: KernelPackage) {
        let key = (new.package.name.clone(), new.package.arch.clone());
        let Some(old) = self.newest.get(&key) else {
            self.newest.insert(key, new);
            return;
        };
        let same = old.package.version == new.package.version;
        if same && old.package.sha256 != new.package.sha256 {
            let mut sha256 = [old.package.sha256.clone(), new.package.sha256.clone()];
            sha256.sort();
            let conflict = Conflict {
                name: new.package.name.clone(),
                version: new.package.version.clone(),
                sha256,
            };
            self.conflicts
                .insert((conflict.name.clone(), conflict.version.clone()), conflict);
        }
        // Versions were checked when the stanza was read. What the order finds equal is decided by
        // the text, then the checksum, so that the order of sources does not matter.
        let parsed = (
            DebVersion::parse(&new.package.version),
            DebVersion::parse(&old.package.version),
        );
        let newer = parsed
            .0
            .cmp(&parsed.1)
            .then_with(|| new.package.version.cmp(&old.package.version))
            .then_with(|| old.package.sha256.cmp(&new.package.sha256))
            .then_with(|| old.package.archive.cmp(&new.package.archive))
            .then_with(|| old.package.filename.cmp(&new.package.filename));
        if newer.is_gt() {
            self.newest.insert(key, new);
        }
    }

    /// Writes versions, headers without an image and conflicts into the report.
    pub(crate) fn finish(self, report: &mut Report) {
        let mut by_kernel: BTreeMap<&str, Vec<&KernelPackage>> = BTreeMap::new();
        let mut by_name: BTreeMap<&str, &KernelPackage> = BTreeMap::new();
        let mut needed: BTreeSet<&str> = BTreeSet::new();
        for kernel in self.newest.values() {
            by_kernel.entry(&kernel.kernel).or_default().push(kernel);
            by_name.insert(&kernel.package.name, kernel);
            needed.extend(kernel.needs.iter().map(String::as_str));
        }
        for (version, packages) in by_kernel {
            if packages.iter().any(|kernel| is_image(kernel.package.role)) {
                report.versions.push(detected(version, &packages, &by_name));
            } else if packages.iter().any(|kernel| {
                // What other headers share is not the headers of a version.
                kernel.package.role == Role::Headers
                    && !needed.contains(kernel.package.name.as_str())
                    && shared_base(version).is_none()
            }) {
                report.headers_only.push(version.to_owned());
            }
        }
        report
            .versions
            .sort_by(|a, b| natural_order(&a.version, &b.version));
        report.headers_only.sort_by(|a, b| natural_order(a, b));
        report.conflicts = self.conflicts.into_values().collect();
    }
}

/// One version: its own packages, and those that they need of the same build.
fn detected(
    version: &str,
    own: &[&KernelPackage],
    by_name: &BTreeMap<&str, &KernelPackage>,
) -> Detected {
    let mut packages: BTreeMap<(Role, &str), Package> = BTreeMap::new();
    for kernel in own {
        let role = kernel.package.role;
        if is_image(role) || role == Role::Headers {
            packages.insert((role, &kernel.package.name), kernel.package.clone());
        }
        for need in &kernel.needs {
            let Some(need) = by_name.get(need.as_str()) else {
                continue;
            };
            let role = match need.package.role {
                Role::Headers => Role::HeadersShared,
                other => other,
            };
            let package = Package {
                role,
                ..need.package.clone()
            };
            packages.insert((role, &need.package.name), package);
        }
    }
    let has = |wanted: Role| packages.keys().any(|(role, _)| *role == wanted);
    let headers = has(Role::Headers);
    Detected {
        version: version.to_owned(),
        arch: own
            .iter()
            .find(|kernel| is_image(kernel.package.role))
            .map_or_else(String::new, |kernel| kernel.package.arch.clone()),
        complete: headers,
        missing: if headers {
            Vec::new()
        } else {
            vec![Part::Headers]
        },
        unsigned_only: !has(Role::Image),
        packages: packages.into_values().collect(),
    }
}
