//! `pointsman kernel list --csv`: the server's own CSV, page after page under one header.

use std::io::Read as _;

use pointsman_api::page::MAX_LIMIT;
use ureq::http::{HeaderMap, header};
use url::Url;

use crate::args::Paging;
use crate::client::Client;
use crate::client::address::Address;
use crate::context::Context;
use crate::error::Error;
use crate::exit::Exit;

pub(super) fn print(
    context: &Context,
    client: &Client,
    address: &Address,
    paging: &Paging,
) -> Result<Exit, Error> {
    let address = address.clone().with("format", "csv");
    let mut left = if paging.all { u64::MAX } else { paging.limit };
    let mut cursor = paging.cursor.clone();
    let mut first = true;
    loop {
        let limit = left.min(u64::from(MAX_LIMIT));
        let page = address
            .clone()
            .with("limit", limit)
            .maybe("cursor", cursor.as_deref());
        let response = client.read(&page, &[("accept", "text/csv")])?;
        let next = next_cursor(response.headers(), client.url());
        let mut text = String::new();
        response
            .into_body()
            .into_reader()
            .read_to_string(&mut text)
            .map_err(|error| Error::failed(format!("the server's answer broke off: {error}")))?;
        // The header has no quoted line ends, so it is the first line.
        let (head, rows) = text.split_once('\n').unwrap_or((&text, ""));
        if first {
            context.out.line(head.trim_end())?;
        }
        first = false;
        context.out.raw(rows)?;
        left = left.saturating_sub(limit);
        if next.is_none() || left == 0 || next == cursor {
            if let Some(next) = next {
                context
                    .out
                    .note(format!("more: add --all, or --cursor {next}"));
            }
            return Ok(Exit::Ok);
        }
        cursor = next;
    }
}

/// The cursor in `Link: <...?cursor=...>; rel="next"`.
fn next_cursor(headers: &HeaderMap, server: &Url) -> Option<String> {
    headers
        .get_all(header::LINK)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|link| {
            let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
            if !rest.contains("rel=\"next\"") {
                return None;
            }
            let url = server.join(target).ok()?;
            url.query_pairs()
                .find(|(key, _)| key == "cursor")
                .map(|(_, value)| value.into_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_in_a_header() {
        let server = Url::parse("http://h:1/").unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(next_cursor(&headers, &server), None);
        headers.append(
            header::LINK,
            "</v1/kernels?format=csv&cursor=a%2Bb>; rel=\"next\""
                .parse()
                .unwrap(),
        );
        assert_eq!(next_cursor(&headers, &server).as_deref(), Some("a+b"));
        headers.insert(
            header::LINK,
            "<http://h:1/v1/kernels?cursor=c>; rel=\"prev\""
                .parse()
                .unwrap(),
        );
        assert_eq!(next_cursor(&headers, &server), None);
    }
}
