//! Repositories and pull requests of the local forge.

use axum::extract::State;
use pointsman_api::generation::Written;
use pointsman_api::page::Page;
use pointsman_api::pull::{
    Comment, Explanation, NewComment, NewPull, NewRepository, NewReview, Person, Pull, PullAction,
    Repository, Review, UpdatePull,
};
use pointsman_api::token::Role;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::auth::{Admin, Reader, Writer};
use super::distros::Why;
use super::extract::{Json, Path, Query, limit};
use crate::db::pull::{Filter, SetLabel, Speaker};
use crate::error::{Kind, Refusal, Result, invalid};

/// What somebody may do in a repository.
const PERMISSIONS: [&str; 6] = ["none", "read", "triage", "write", "maintain", "admin"];

/// Who speaks: whoever holds the token, or whom an admin names.
fn speaker(reader: &Reader, named: Option<Person>) -> Result<Speaker> {
    let Some(person) = named else {
        return Ok(Speaker {
            name: reader.actor.user.clone(),
            permission: match reader.role {
                Role::Reader => "read",
                Role::Writer => "write",
                Role::Admin => "admin",
            }
            .to_owned(),
        });
    };
    if reader.role < Role::Admin {
        let text = "only an admin speaks in somebody else's name";
        return Err(Refusal::new(Kind::Forbidden, "not_your_name", text)
            .hint("Leave `by` and `author` out: the token says who you are.")
            .into());
    }
    let name = person.name.trim();
    if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
        return Err(invalid(
            "name_invalid",
            "/by/name",
            "a name has 1 to 128 bytes on one line",
        ));
    }
    if !PERMISSIONS.contains(&person.permission.as_str()) {
        let text = format!("a permission is one of {}", PERMISSIONS.join(", "));
        return Err(invalid("permission_invalid", "/by/permission", text));
    }
    Ok(Speaker {
        name: name.to_owned(),
        permission: person.permission,
    })
}

/// Lists repositories, by name.
#[utoipa::path(get, path = "/v1/repositories", tag = "pulls", responses((status = 200, body = Page<Repository>)))]
pub(super) async fn list_repositories(
    _: Reader,
    State(app): State<App>,
) -> Result<Json<Page<Repository>>> {
    let mut items = app.db.repositories().await?;
    for repository in &mut items {
        repository.place = app.engine.place(&repository.name);
        repository.here = app.engine.has(&repository.name);
    }
    Ok(Json(Page { items, next: None }))
}

/// Makes a bare repository, empty, to which people push. One that is there already stays as it is.
#[utoipa::path(post, path = "/v1/repositories", tag = "pulls", request_body = NewRepository, responses((status = 200, body = Written)))]
pub(super) async fn create_repository(
    Admin(actor): Admin,
    State(app): State<App>,
    Json(body): Json<NewRepository>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Create repository {}", body.name)
        })
        .await?;
    let written = app.db.create_repository(&mut batch, &body.name).await?;
    // On disk first: a repository in the record is there.
    app.engine
        .create_repository(&body.name, &body.branch)
        .await?;
    let written = batch.commit(written).await?;
    app.engine.claim_folders().await?;
    Ok(Json(written))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListPulls {
    /// `open`, `landed` or `closed`.
    state: Option<String>,
    /// Of this target branch.
    target: Option<String>,
    /// By this author.
    author: Option<String>,
    /// `approved`, `pending` or `rejected`.
    approval: Option<String>,
    /// Only those whose head passed alone on the target's present tip.
    #[serde(default)]
    passing: bool,
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists pull requests, the newest first.
#[utoipa::path(get, path = "/v1/repositories/{repository}/pulls", tag = "pulls", params(("repository", description = "The repository"), ListPulls), responses((status = 200, body = Page<Pull>)))]
pub(super) async fn list_pulls(
    _: Reader,
    State(app): State<App>,
    Path(repository): Path<String>,
    Query(query): Query<ListPulls>,
) -> Result<Json<Page<Pull>>> {
    let filter = Filter {
        state: query.state,
        target: query.target,
        author: query.author,
        approval: query.approval,
        number: None,
        passing: query.passing,
    };
    let page = app
        .db
        .pulls(
            &repository,
            &filter,
            query.cursor.as_deref(),
            limit(query.limit)?,
        )
        .await?;
    Ok(Json(page))
}

/// Opens a pull request. Its branch must be there; what it points at is the head.
#[utoipa::path(post, path = "/v1/repositories/{repository}/pulls", tag = "pulls", params(("repository", description = "The repository")), request_body = NewPull, responses((status = 200, body = Pull)))]
pub(super) async fn create_pull(
    Writer(_): Writer,
    reader: Reader,
    State(app): State<App>,
    Path(repository): Path<String>,
    Json(mut body): Json<NewPull>,
) -> Result<Json<Pull>> {
    let author = speaker(&reader, body.author.take())?;
    // The record first: what is no repository there is none on disk either.
    app.db.repository_id(&repository, "repository").await?;
    if let Some(fork) = &body.head_repository {
        app.db.repository_id(fork, "/head_repository").await?;
    }
    app.engine.check_branch(&body.branch, "/branch")?;
    app.engine.check_branch(&body.target, "/target")?;
    let source = body.head_repository.as_deref().unwrap_or(&repository);
    let head = app
        .engine
        .branch(source, &body.branch)
        .await?
        .ok_or_else(|| {
            let text = format!("the repository {source} has no branch `{}`", body.branch);
            Refusal::new(Kind::Invalid, "branch_unknown", text)
                .field("/branch")
                .hint("Push it first.")
        })?;
    let mut batch = app
        .db
        .begin(&reader.actor, body.comment.as_deref(), || {
            format!(
                "Open a pull request of {}: {}",
                body.branch,
                body.title.trim()
            )
        })
        .await?;
    let number = app
        .db
        .create_pull(&mut batch, &repository, &body, &head, &author)
        .await?;
    batch.commit(crate::db::batch::nothing()).await?;
    Ok(Json(app.db.pull(&repository, number).await?))
}

/// One pull request, and where it stands.
#[utoipa::path(get, path = "/v1/repositories/{repository}/pulls/{number}", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number")), responses((status = 200, body = Pull)))]
pub(super) async fn get_pull(
    _: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
) -> Result<Json<Pull>> {
    Ok(Json(app.db.pull(&repository, number).await?))
}

/// Changes a pull request: title, description, draft, open or closed.
#[utoipa::path(patch, path = "/v1/repositories/{repository}/pulls/{number}", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number")), request_body = UpdatePull, responses((status = 200, body = Written)))]
pub(super) async fn update_pull(
    Writer(actor): Writer,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
    Json(body): Json<UpdatePull>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&actor, body.comment.as_deref(), || {
            format!("Change {repository}#{number}")
        })
        .await?;
    let written = app
        .db
        .update_pull(&mut batch, &repository, number, &body)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSaid {
    /// Rows in a page, 1 to 1,000; 100 unless told otherwise.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Lists the reviews of a pull request, the oldest first.
#[utoipa::path(get, path = "/v1/repositories/{repository}/pulls/{number}/reviews", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number"), ListSaid), responses((status = 200, body = Page<Review>)))]
pub(super) async fn list_reviews(
    _: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
    Query(query): Query<ListSaid>,
) -> Result<Json<Page<Review>>> {
    let page = app
        .db
        .reviews(
            &repository,
            number,
            query.cursor.as_deref(),
            limit(query.limit)?,
        )
        .await?;
    Ok(Json(page))
}

/// Reviews a pull request.
#[utoipa::path(post, path = "/v1/repositories/{repository}/pulls/{number}/reviews", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number")), request_body = NewReview, responses((status = 200, body = Written)))]
pub(super) async fn create_review(
    Writer(_): Writer,
    reader: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
    Json(body): Json<NewReview>,
) -> Result<Json<Written>> {
    let by = speaker(&reader, body.by)?;
    let mut batch = app
        .db
        .begin(&reader.actor, body.comment.as_deref(), || {
            format!("{} reviews {repository}#{number}: {}", by.name, body.state)
        })
        .await?;
    let written = app
        .db
        .add_review(
            &mut batch,
            &repository,
            number,
            &body.state,
            body.head.as_deref(),
            &by,
        )
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Lists the comments on a pull request, the oldest first.
#[utoipa::path(get, path = "/v1/repositories/{repository}/pulls/{number}/comments", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number"), ListSaid), responses((status = 200, body = Page<Comment>)))]
pub(super) async fn list_comments(
    _: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
    Query(query): Query<ListSaid>,
) -> Result<Json<Page<Comment>>> {
    let page = app
        .db
        .comments(
            &repository,
            number,
            query.cursor.as_deref(),
            limit(query.limit)?,
        )
        .await?;
    Ok(Json(page))
}

/// Comments on a pull request. Lines that begin with the pipeline's prefix are commands.
#[utoipa::path(post, path = "/v1/repositories/{repository}/pulls/{number}/comments", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number")), request_body = NewComment, responses((status = 200, body = Written)))]
pub(super) async fn create_comment(
    Writer(_): Writer,
    reader: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
    Json(body): Json<NewComment>,
) -> Result<Json<Written>> {
    let by = speaker(&reader, body.by)?;
    let mut batch = app
        .db
        .begin(&reader.actor, None, || {
            format!("{} comments on {repository}#{number}", by.name)
        })
        .await?;
    let written = app
        .db
        .add_comment(&mut batch, &repository, number, &body.body, &by)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Puts a label on a pull request.
#[utoipa::path(put, path = "/v1/repositories/{repository}/pulls/{number}/labels/{label}", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number"), ("label", description = "The label"), Why), responses((status = 200, body = Written)))]
pub(super) async fn put_label(
    Writer(_): Writer,
    reader: Reader,
    State(app): State<App>,
    Path((repository, number, label)): Path<(String, i32, String)>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    set_label(
        &reader,
        &app,
        (&repository, number, &label),
        SetLabel::On,
        why,
    )
    .await
}

/// Takes a label off a pull request.
#[utoipa::path(delete, path = "/v1/repositories/{repository}/pulls/{number}/labels/{label}", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number"), ("label", description = "The label"), Why), responses((status = 200, body = Written)))]
pub(super) async fn delete_label(
    Writer(_): Writer,
    reader: Reader,
    State(app): State<App>,
    Path((repository, number, label)): Path<(String, i32, String)>,
    Query(why): Query<Why>,
) -> Result<Json<Written>> {
    set_label(
        &reader,
        &app,
        (&repository, number, &label),
        SetLabel::Off,
        why,
    )
    .await
}

async fn set_label(
    reader: &Reader,
    app: &App,
    (repository, number, label): (&str, i32, &str),
    set: SetLabel,
    why: Why,
) -> Result<Json<Written>> {
    let by = speaker(reader, None)?;
    let mut batch = app
        .db
        .begin(&reader.actor, why.comment.as_deref(), || {
            let what = if set == SetLabel::On {
                "Label"
            } else {
                "Unlabel"
            };
            format!("{what} {repository}#{number}: {label}")
        })
        .await?;
    let written = app
        .db
        .set_label(&mut batch, repository, number, label, set, &by)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Lets the present head of an outsider's pull request run.
#[utoipa::path(post, path = "/v1/repositories/{repository}/pulls/{number}/authorise", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number")), request_body = PullAction, responses((status = 200, body = Written)))]
pub(super) async fn authorise_pull(
    Writer(_): Writer,
    reader: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
    Json(body): Json<PullAction>,
) -> Result<Json<Written>> {
    let by = speaker(&reader, None)?;
    let mut batch = app
        .db
        .begin(&reader.actor, body.comment.as_deref(), || {
            format!("Let the head of {repository}#{number} run")
        })
        .await?;
    let written = app
        .db
        .authorise_pull(&mut batch, &repository, number, body.head.as_deref(), &by)
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Asks for another run of the present head: its jobs are cancelled, and what passed before is not reused.
#[utoipa::path(post, path = "/v1/repositories/{repository}/pulls/{number}/retest", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number")), request_body = PullAction, responses((status = 200, body = Written)))]
pub(super) async fn retest_pull(
    Writer(_): Writer,
    reader: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
    Json(body): Json<PullAction>,
) -> Result<Json<Written>> {
    let mut batch = app
        .db
        .begin(&reader.actor, body.comment.as_deref(), || {
            format!("Test {repository}#{number} again")
        })
        .await?;
    let written = app
        .db
        .retest_pull(&mut batch, &repository, number, body.head.as_deref())
        .await?;
    Ok(Json(batch.commit(written).await?))
}

/// Why a pull request is not merging: its conditions in order, the first unmet one with who or what can
/// meet it.
#[utoipa::path(get, path = "/v1/repositories/{repository}/pulls/{number}/why", tag = "pulls", params(("repository", description = "The repository"), ("number" = i32, description = "Its number")), responses((status = 200, body = Explanation)))]
pub(super) async fn explain_pull(
    _: Reader,
    State(app): State<App>,
    Path((repository, number)): Path<(String, i32)>,
) -> Result<Json<Explanation>> {
    Ok(Json(
        crate::explain::pull(&app.db, &repository, number).await?,
    ))
}
