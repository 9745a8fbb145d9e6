//! What a turn looks at: the versions that changes touched, and the sweeps that they call for.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use pointsman_patterns::{Kind, Pattern};

use crate::db::Db;
use crate::db::event::Position;
use crate::db::turn::{Change, NewSweep, Sweep, TurnStart};
use crate::error::Result;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Causes {
    /// Versions to ask `ignore` about.
    pub(super) ignore: BTreeSet<i64>,
    /// Versions to ask `advance` about.
    pub(super) advance: BTreeSet<i64>,
    /// Sweeps to begin.
    pub(super) sweeps: Vec<NewSweep>,
    /// What may have mended a pipeline that holds.
    pub(super) remedy: Remedy,
    /// When something will have to be looked at even if nothing changes.
    pub(super) next_look: Option<DateTime<Utc>>,
}

/// What a pipeline that holds waits for, beside another binding: while it holds, its cursor stays, and
/// the same changes are read again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remedy {
    /// The newest change of a pattern, or of a note by a person.
    change: Option<Position>,
    /// Patterns that have expired.
    expired: Vec<i64>,
}

impl Causes {
    /// Reads what `changes` mean for the pipeline.
    pub(super) async fn read(
        db: &Db,
        start: &TurnStart,
        changes: &[Change],
        at: DateTime<Utc>,
    ) -> Result<Self> {
        let mut causes = Self::default();
        // By name first: one query for all of them.
        let mut existence = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for change in changes {
            match change.kind.as_str() {
                "kernel_version" => {
                    let name = kernel_name(&change.name);
                    if change.existence {
                        existence.extend(name.clone());
                    }
                    touched.extend(name);
                }
                "run" | "kernel_request" => {
                    touched.extend(change.name.split(' ').next().and_then(kernel_name));
                }
                "host_kernel" => {
                    let name = change.name.split(' ').nth(1).and_then(kernel_name);
                    existence.extend(name.clone());
                    touched.extend(name);
                }
                "kernel_ignore" => {
                    causes.remedy.change = Some(change.position);
                    if let Some((rule, distro)) = db.rule_by_name(&change.name).await? {
                        causes.sweep(match start.rules_scope_all {
                            true => NewSweep {
                                hook: "ignore",
                                distro,
                                ignore: None,
                            },
                            false => NewSweep {
                                hook: "ignore",
                                distro,
                                ignore: Some(rule),
                            },
                        });
                    }
                }
                "binding" => {
                    let mut parts = change.name.split('/');
                    if parts.next() == Some(&start.name) {
                        causes.sweep_all(parts.next());
                    }
                }
                // A policy's own note is no news to it, or one that counts would never come to rest.
                "note" if !change.by_policy => {
                    // Pipeline, hook, place, perhaps distro and version, key: none has a slash in it.
                    let parts: Vec<&str> = change.name.split('/').collect();
                    if parts[0] == start.name {
                        causes.remedy.change = Some(change.position);
                        match parts[..] {
                            [_, _, _, distro, version, _] => {
                                touched.insert((distro.to_owned(), version.to_owned()));
                            }
                            _ => causes.sweep_all(parts.get(1).copied()),
                        }
                    }
                }
                "distro" => {
                    let distro = Some(db.names().distro_id(&change.name, "distro").await?);
                    causes.sweep(NewSweep {
                        hook: "ignore",
                        distro,
                        ignore: None,
                    });
                    causes.sweep(NewSweep {
                        hook: "advance",
                        distro,
                        ignore: None,
                    });
                }
                "kernel_state" => causes.sweep(NewSweep {
                    hook: "advance",
                    distro: None,
                    ignore: None,
                }),
                _ => {}
            }
        }
        causes.ignore = ids(db, existence).await?;
        causes.advance = ids(db, touched).await?;
        let (expired, next) = db.expired_rules().await?;
        causes.remedy.expired.clone_from(&expired);
        for rule in expired {
            causes.sweep(NewSweep {
                hook: "ignore",
                distro: None,
                ignore: Some(rule),
            });
        }
        if start.wake_at.is_some_and(|wake| wake <= at) {
            causes.sweep(NewSweep {
                hook: "ignore",
                distro: None,
                ignore: None,
            });
            causes.sweep(NewSweep {
                hook: "advance",
                distro: None,
                ignore: None,
            });
        }
        causes.next_look = [next, start.wake_at].into_iter().flatten().min();
        Ok(causes)
    }

    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.ignore.is_empty() && self.advance.is_empty() && self.sweeps.is_empty()
    }

    /// Everything that a hook of the kernel pipeline is asked about.
    fn sweep_all(&mut self, hook: Option<&str>) {
        let hook = match hook {
            Some("ignore") => "ignore",
            Some("advance") => "advance",
            _ => return,
        };
        self.sweep(NewSweep {
            hook,
            distro: None,
            ignore: None,
        });
    }

    fn sweep(&mut self, sweep: NewSweep) {
        if !self.sweeps.contains(&sweep) {
            self.sweeps.push(sweep);
        }
    }

    /// Adds the next page of a sweep, and gives it: only versions that the pattern can match, where
    /// the sweep is one pattern's.
    pub(super) async fn take_sweep(
        &mut self,
        db: &Db,
        sweep: &Sweep,
        page: i64,
    ) -> Result<Vec<i64>> {
        let rule = match sweep.ignore {
            Some(id) => db.rule(id).await?,
            None => None,
        };
        let mut like = None;
        let mut clauses = vec![];
        if let Some((kind, pattern, _)) = &rule {
            match kind.parse() {
                Ok(Kind::Like) => like = Some(pattern.as_str()),
                // The database's regular expressions are another language, so only what every match
                // must contain is asked of it; the plugin decides.
                Ok(Kind::Regex) => {
                    clauses = Pattern::parse(Kind::Regex, pattern)
                        .map(|p| p.prefilter())
                        .unwrap_or_default();
                }
                Err(_) => {}
            }
        }
        let ids = db.sweep_page(sweep, like, &clauses, page).await?;
        match sweep.hook.as_str() {
            "ignore" => self.ignore.extend(&ids),
            _ => self.advance.extend(&ids),
        }
        Ok(ids)
    }
}

fn kernel_name(name: &str) -> Option<(String, String)> {
    let (distro, version) = name.split_once('/')?;
    Some((distro.to_owned(), version.to_owned()))
}

async fn ids(db: &Db, names: BTreeSet<(String, String)>) -> Result<BTreeSet<i64>> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names: Vec<(String, String)> = names.into_iter().collect();
    Ok(db.kernel_ids(&names).await?.into_iter().collect())
}
