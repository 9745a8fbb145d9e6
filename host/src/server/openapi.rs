//! The OpenAPI description, made from the handlers themselves.

use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

/// The description as it is served and committed.
pub fn openapi_json() -> String {
    let (_, description) = super::routes().split_for_parts();
    render(description)
}

pub(super) fn render(mut description: OpenApi) -> String {
    description.info.title = "Pointsman".to_owned();
    description.info.version = env!("CARGO_PKG_VERSION").to_owned();
    description.info.description = Some(
        "Keeps the record of what has been tested, and decides what to test and merge next.\n\n\
         Errors are `application/problem+json` with a stable `code`. Lists are pages: pass `next` as \
         `cursor`. Every write is one generation; its comment says why."
            .to_owned(),
    );
    description
        .components
        .get_or_insert_default()
        .add_security_scheme(
            "token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    description.security = Some(vec![SecurityRequirement::new(
        "token",
        Vec::<String>::new(),
    )]);
    let mut json = serde_json::to_string_pretty(&description).unwrap_or_default();
    json.push('\n');
    json
}
