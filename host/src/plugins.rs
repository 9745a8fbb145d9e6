//! Plugins on their way in: checked by the runtime, then kept in the record.
//!
//! The HTTP server speaks to this, never to the runtime itself.

pub mod schema;

use bytes::Bytes;
use pointsman_api::pipeline::Limits;

use crate::db::plugin::NewPlugin;
use crate::db::{Actor, Db};
use crate::error::{Error, Kind, Refusal, Result};
use crate::policy::{CallLimits, Hook, Outcome, Plugin, Rejection, Runtime};

pub use crate::policy::MAX_COMPONENT_BYTES;

/// See the module.
#[derive(Clone)]
pub struct Plugins {
    db: Db,
    runtime: Runtime,
    ceilings: CallLimits,
}

impl Plugins {
    /// On this database and this runtime; a binding may let one call use this much at most.
    pub fn new(db: Db, runtime: Runtime, ceilings: CallLimits) -> Self {
        Self {
            db,
            runtime,
            ceilings,
        }
    }

    /// Refuses limits of nothing, and those above the operator's ceilings.
    fn check_limits(&self, limits: &Limits) -> Result<()> {
        let Some((name, value, ceiling)) = CallLimits::out_of_range(limits, &self.ceilings) else {
            return Ok(());
        };
        let (code, detail) = match value {
            0 => (
                "limit_zero",
                format!("a limit of 0 lets no call end: {name}"),
            ),
            _ => (
                "limit_above_ceiling",
                format!("{name} is {value}, and this host allows {ceiling}"),
            ),
        };
        Err(Refusal::new(Kind::Invalid, code, detail)
            .field(format!("/limits/{name}"))
            .hint("The operator sets the ceilings: `pointsman serve --help` lists them.")
            .into())
    }

    /// Refuses limits in which the plugin does not even start: its pipeline would hold at the first question.
    async fn check_start(&self, plugin: &Plugin, hook: &str, limits: &Limits) -> Result<()> {
        let Ok(asked) = hook.parse::<Hook>() else {
            return Ok(());
        };
        let within = CallLimits::of(asked).set(limits, &self.ceilings);
        let plugin = plugin.clone();
        let started = blocking(move || plugin.start(&within)).await?.outcome;
        if matches!(started, Outcome::Answered(())) {
            return Ok(());
        }
        let detail = started.detail().unwrap_or_default();
        if matches!(started, Outcome::HostFailed { .. }) {
            return Err(Error::Internal(anyhow::anyhow!("{detail}")));
        }
        if matches!(started, Outcome::Busy) {
            return Err(Refusal::new(Kind::Overloaded, "busy", detail).into());
        }
        let text = format!("it does not start within the limits of the binding: {detail}");
        Err(Refusal::new(Kind::Invalid, "limits_too_low", text)
            .field("/limits")
            .hint("Raise the limits, or leave them out: those of the hook count then.")
            .into())
    }

    /// Checks and compiles a component, and stores it. The very same component is stored once.
    pub async fn upload(
        &self,
        actor: &Actor,
        comment: Option<&str>,
        name: &str,
        wasm: Bytes,
    ) -> Result<pointsman_api::plugin::Uploaded> {
        let plugin = self
            .runtime
            .load(wasm.clone())
            .await
            .map_err(|rejection| rejected(&rejection))?;
        let hooks: Vec<String> = plugin.hooks().iter().map(|h| h.name().to_owned()).collect();
        let settings_schema = schema_of(&plugin).await?;
        let digest = plugin.digest().to_owned();
        let batch = self
            .db
            .begin(actor, comment, || {
                format!("Upload plugin {name}@{}", &digest[..12])
            })
            .await?;
        let new = NewPlugin {
            digest,
            name: name.to_owned(),
            hooks,
            settings_schema,
            wasm,
        };
        self.db.put_plugin(batch, actor, new).await
    }

    /// Checks that a plugin version can be bound to a hook of such a pipeline with these settings: the
    /// pipeline asks the hook, the plugin has it, it loads here, it starts within the limits, and the settings
    /// pass its own check. A pair that fails is never bound.
    pub async fn check_binding(
        &self,
        kind: &str,
        digest: &str,
        hook: &str,
        settings: &serde_json::Value,
        limits: &Limits,
    ) -> Result<()> {
        self.check_limits(limits)?;
        asked(kind, hook)?;
        let known = self.db.plugin(digest).await?;
        if known.digest != digest {
            return Err(Refusal::new(
                Kind::Invalid,
                "digest_partial",
                "a binding names the whole digest",
            )
            .field("digest")
            .hint(format!("Use {}.", known.digest))
            .into());
        }
        if !known.hooks.iter().any(|h| h == hook) {
            return Err(Refusal::new(
                Kind::Invalid,
                "hook_missing",
                format!(
                    "{}@{} does not export the hook `{hook}`",
                    known.name,
                    &digest[..12]
                ),
            )
            .field("digest")
            .hint(format!("It answers {}.", known.hooks.join(", ")))
            .into());
        }
        if !settings.is_object() {
            return Err(Refusal::new(
                Kind::Invalid,
                "settings_invalid",
                "settings are a JSON object",
            )
            .field("settings")
            .into());
        }
        let plugin = match self.runtime.loaded(digest) {
            Some(plugin) => plugin,
            None => self
                .runtime
                .load(self.db.plugin_wasm(digest).await?)
                .await
                .map_err(|rejection| rejected(&rejection))?,
        };
        self.check_start(&plugin, hook, limits).await?;
        if !plugin.has_settings() {
            return match settings.as_object().is_some_and(serde_json::Map::is_empty) {
                true => Ok(()),
                false => Err(Refusal::new(
                    Kind::Invalid,
                    "settings_unused",
                    format!("{}@{} takes no settings", known.name, &digest[..12]),
                )
                .field("settings")
                .into()),
            };
        }
        if let Some(schema) = &known.settings_schema {
            against_schema(schema, settings)?;
        }
        let text = crate::contract::text(settings);
        let called =
            blocking(move || plugin.settings_check(&CallLimits::of_settings(), &text)).await?;
        match called.outcome {
            Outcome::Answered(Ok(())) => Ok(()),
            Outcome::Answered(Err(problems)) => {
                let first = problems.first();
                let detail: Vec<String> = problems
                    .iter()
                    .take(10)
                    .map(|p| match p.field.is_empty() {
                        true => p.text.clone(),
                        false => format!("{}: {}", p.field, p.text),
                    })
                    .collect();
                Err(
                    Refusal::new(Kind::Invalid, "settings_invalid", detail.join("; "))
                        .field(format!("/settings{}", first.map_or("", |p| &p.field)))
                        .hint("`pointsman plugin show` prints the schema of the settings.")
                        .into(),
                )
            }
            other => Err(Refusal::new(
                Kind::Invalid,
                "settings_check_failed",
                other
                    .detail()
                    .unwrap_or_else(|| "the settings could not be checked".to_owned()),
            )
            .field("settings")
            .into()),
        }
    }
}

/// Refuses settings that do not fit the plugin's schema, with the fields.
/// Checks that pipelines of such a kind ask a hook.
///
/// # Errors
/// They do not; the refusal says which they ask.
pub fn asked(kind: &str, hook: &str) -> Result<()> {
    let asked: Vec<&str> = Hook::ALL
        .iter()
        .filter(|hook| hook.is_asked_by(kind))
        .map(|hook| hook.name())
        .collect();
    if asked.contains(&hook) {
        return Ok(());
    }
    Err(Refusal::new(
        Kind::Invalid,
        "hook_not_asked",
        format!(
            "a pipeline of kind {kind} does not ask `{}`",
            crate::db::names::shown(hook)
        ),
    )
    .field("hook")
    .hint(format!("It asks {}.", asked.join(" and ")))
    .into())
}

fn against_schema(schema: &serde_json::Value, settings: &serde_json::Value) -> Result<()> {
    // One that was kept by an older host, which did not look, is left to the plugin's own check.
    let problems = schema::problems(schema, settings).unwrap_or_default();
    let Some((first, _)) = problems.first() else {
        return Ok(());
    };
    let detail: Vec<String> = problems
        .iter()
        .map(|(field, text)| match field.is_empty() {
            true => text.clone(),
            false => format!("{field}: {text}"),
        })
        .collect();
    Err(
        Refusal::new(Kind::Invalid, "settings_invalid", detail.join("; "))
            .field(format!("/settings{first}"))
            .hint("`pointsman plugin show` prints the schema of the settings.")
            .into(),
    )
}

async fn schema_of(plugin: &Plugin) -> Result<Option<serde_json::Value>> {
    if !plugin.has_settings() {
        return Ok(None);
    }
    let asked = plugin.clone();
    let called = blocking(move || asked.settings_schema(&CallLimits::of_settings())).await?;
    let bad = |detail: String| -> Error {
        Refusal::new(Kind::Invalid, "plugin_schema_invalid", detail)
            .hint("`settings.schema` must give a JSON Schema (draft 2020-12).")
            .into()
    };
    match called.outcome {
        Outcome::Answered(schema) => match serde_json::from_str(&schema) {
            Ok(schema @ serde_json::Value::Object(_)) => match schema::check(&schema) {
                Ok(()) => Ok(Some(schema)),
                Err(problem) => Err(bad(format!(
                    "the schema of its settings is no JSON Schema: {problem}"
                ))),
            },
            Ok(_) => Err(bad(
                "the schema of its settings is no JSON object".to_owned()
            )),
            Err(error) => Err(bad(format!(
                "the schema of its settings is not JSON: {error}"
            ))),
        },
        other => Err(bad(other.detail().unwrap_or_default())),
    }
}

async fn blocking<A: Send + 'static>(work: impl FnOnce() -> A + Send + 'static) -> Result<A> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::Internal(e.into()))
}

fn rejected(rejection: &Rejection) -> Error {
    if !rejection.is_plugins_fault() {
        return Error::Internal(anyhow::anyhow!("{rejection}"));
    }
    let kind = match rejection {
        Rejection::TooLarge { .. } => Kind::TooLarge,
        _ => Kind::Invalid,
    };
    let code = rejection.code().replace(['.', '-'], "_");
    Refusal::new(kind, code, rejection.to_string())
        .hint(rejection.hint())
        .into()
}
