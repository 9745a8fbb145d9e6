//! The names of distros and kernel states by id, in memory.
//!
//! They are few, and a name never changes once given, so a list of kernel versions need not join
//! them. An id or a name that is not here makes it read the tables once more.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use sqlx::PgPool;

use crate::error::{Kind, Refusal, Result, not_found};

/// A kernel state.
#[derive(Debug, Clone)]
pub struct State {
    /// Its id.
    pub id: i32,
    /// Its name.
    pub name: Arc<str>,
}

#[derive(Default)]
struct Loaded {
    distros: HashMap<i32, Arc<str>>,
    distro_ids: HashMap<Arc<str>, i32>,
    states: HashMap<i32, Arc<str>>,
    /// By rank.
    state_list: Vec<State>,
}

/// See the module.
#[derive(Clone)]
pub struct Names {
    pool: PgPool,
    loaded: Arc<RwLock<Arc<Loaded>>>,
}

/// The names that are in memory, as they were at one moment: for lists, which need hundreds at once.
pub(super) struct Known(Arc<Loaded>);

impl Known {
    /// The names of a distro and of a state, if both are here.
    pub(super) fn of(&self, distro: i32, state: i32) -> Option<(&str, &str)> {
        Some((self.0.distros.get(&distro)?, self.0.states.get(&state)?))
    }
}

impl Names {
    pub(super) fn new(pool: PgPool) -> Self {
        Self {
            pool,
            loaded: Arc::default(),
        }
    }

    fn now(&self) -> Arc<Loaded> {
        Arc::clone(
            &self
                .loaded
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// What is in memory.
    pub(super) fn known(&self) -> Known {
        Known(self.now())
    }

    /// Reads the tables again.
    pub async fn reload(&self) -> Result<()> {
        let mut loaded = Loaded::default();
        for row in sqlx::query!("select id, name from distro")
            .fetch_all(&self.pool)
            .await?
        {
            let name: Arc<str> = row.name.into();
            loaded.distro_ids.insert(Arc::clone(&name), row.id);
            loaded.distros.insert(row.id, name);
        }
        for row in sqlx::query!("select id, name from kernel_state order by rank")
            .fetch_all(&self.pool)
            .await?
        {
            let name: Arc<str> = row.name.into();
            loaded.states.insert(row.id, Arc::clone(&name));
            loaded.state_list.push(State { id: row.id, name });
        }
        *self
            .loaded
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(loaded);
        Ok(())
    }

    /// The name of a distro.
    pub async fn distro(&self, id: i32) -> Result<Arc<str>> {
        if let Some(name) = self.now().distros.get(&id) {
            return Ok(Arc::clone(name));
        }
        self.reload().await?;
        self.now()
            .distros
            .get(&id)
            .cloned()
            .ok_or_else(|| not_found("distro_unknown", "no such distro"))
    }

    /// The name of a state.
    pub async fn state(&self, id: i32) -> Result<Arc<str>> {
        if let Some(name) = self.now().states.get(&id) {
            return Ok(Arc::clone(name));
        }
        self.reload().await?;
        self.now()
            .states
            .get(&id)
            .cloned()
            .ok_or_else(|| not_found("state_unknown", "no such state"))
    }

    /// The id of the distro `name`; `field` is at fault if there is none.
    pub async fn distro_id(&self, name: &str, field: &str) -> Result<i32> {
        if let Some(id) = self.now().distro_ids.get(name) {
            return Ok(*id);
        }
        self.reload().await?;
        self.now().distro_ids.get(name).copied().ok_or_else(|| {
            Refusal::new(
                Kind::NotFound,
                "distro_unknown",
                format!("there is no distro `{}`", shown(name)),
            )
            .field(field)
            .hint("`pointsman distro list` shows those there are; `pointsman distro add` adds one.")
            .into()
        })
    }

    /// All states, by rank.
    pub async fn states(&self) -> Result<Vec<State>> {
        // Ranks and new states come through here: always the table's own word.
        self.reload().await?;
        Ok(self.now().state_list.clone())
    }

    /// The id of the state `name`; `field` is at fault if there is none.
    pub async fn state_id(&self, name: &str, field: &str) -> Result<i32> {
        for attempt in 0..2 {
            if attempt > 0 || self.now().state_list.is_empty() {
                self.reload().await?;
            }
            if let Some(state) = self.now().state_list.iter().find(|s| &*s.name == name) {
                return Ok(state.id);
            }
        }
        let known: Vec<String> = self
            .now()
            .state_list
            .iter()
            .map(|s| s.name.to_string())
            .collect();
        Err(Refusal::new(
            Kind::NotFound,
            "state_unknown",
            format!("there is no state `{}`", shown(name)),
        )
        .field(field)
        .hint(format!("The states are {}.", known.join(", ")))
        .into())
    }
}

/// A caller's text as it may stand in a message: bounded, and without control characters.
pub fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
