//! Lists: pages fetched one after the other, printed as they come.

use serde::de::DeserializeOwned;
use serde_json::Value;

use pointsman_api::page::{MAX_LIMIT, Page};

use crate::args::Paging;
use crate::client::Client;
use crate::client::address::Address;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::table::{Row, Table};

/// Hands over page after page, until there are no more or the caller has enough. What it says is the
/// cursor to go on from, if there is more.
pub(super) fn pages<T: DeserializeOwned>(
    client: &Client,
    address: &Address,
    cursor_key: &str,
    paging: &Paging,
    handle: &mut dyn FnMut(Vec<T>) -> Result<(), Error>,
) -> Result<Option<String>, Error> {
    let mut left = if paging.all { u64::MAX } else { paging.limit };
    let mut cursor = paging.cursor.clone();
    loop {
        let limit = left.min(u64::from(MAX_LIMIT));
        let page: Page<T> = client.get(
            &address
                .clone()
                .with("limit", limit)
                .maybe(cursor_key, cursor.as_deref()),
        )?;
        let rows = page.items.len() as u64;
        handle(page.items)?;
        left = left.saturating_sub(rows);
        // A server whose cursor leads back to itself would keep this going for ever.
        if page.next.is_none() || left == 0 || page.next == cursor {
            return Ok(page.next);
        }
        cursor = page.next;
    }
}

/// Prints a list that the server gives whole, since it is always short.
pub(super) fn print_whole<R: Row + DeserializeOwned>(
    context: &Context,
    address: &Address,
    nothing: &str,
) -> Result<Exit, Error> {
    let page: Page<Value> = context.client()?.get(address)?;
    let mut table = Table::new(R::HEADER);
    let mut rows = 0;
    for value in page.items {
        rows += 1;
        if context.out.is_json() {
            context.out.record(&value)?;
        } else {
            table.add(serde_json::from_value::<R>(value)?.cells());
        }
    }
    context.out.table(&table)?;
    if rows == 0 {
        context.out.note(nothing);
    }
    Ok(Exit::Ok)
}

/// Prints a list. JSON is passed on as the server wrote it, with fields that this version does not
/// know.
pub(super) fn print<R: Row + DeserializeOwned>(
    context: &Context,
    address: &Address,
    paging: &Paging,
    nothing: &str,
) -> Result<Exit, Error> {
    print_by::<R>(context, address, "cursor", paging, nothing)
}

/// As [`print()`], for a list whose pages go on by another parameter.
pub(super) fn print_by<R: Row + DeserializeOwned>(
    context: &Context,
    address: &Address,
    cursor_key: &str,
    paging: &Paging,
    nothing: &str,
) -> Result<Exit, Error> {
    let client = context.client()?;
    let mut table = Table::new(R::HEADER);
    let mut rows: u64 = 0;
    let next = pages(&client, address, cursor_key, paging, &mut |page: Vec<
        Value,
    >| {
        rows += page.len() as u64;
        for value in page {
            if context.out.is_json() {
                context.out.record(&value)?;
            } else {
                table.add(serde_json::from_value::<R>(value)?.cells());
            }
        }
        context.out.table(&table)?;
        table.next_page();
        Ok(())
    })?;
    if rows == 0 {
        context.out.note(nothing);
    }
    if let Some(next) = next {
        context.out.note(format!(
            "more: add --all, or --{} {next}",
            cursor_key.replace('_', "-")
        ));
    }
    Ok(Exit::Ok)
}

/// Shows one object: as JSON, or by `show`.
pub(super) fn show<T: DeserializeOwned>(
    context: &Context,
    client: &Client,
    address: &Address,
    show: impl FnOnce(T) -> Result<(), Error>,
) -> Result<Exit, Error> {
    if context.out.is_json() {
        context.out.document(&client.get::<Value>(address)?)?;
    } else {
        show(client.get(address)?)?;
    }
    Ok(Exit::Ok)
}
