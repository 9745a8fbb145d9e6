//! The distros that a new record begins with.

use pointsman_api::distro::{CreateDistros, NewDistro};
use pointsman_api::generation::Written;
use ureq::http::Method;

use crate::client::Client;
use crate::error::Error;

const STOCK: &str = include_str!("../../stock_distros.json");

fn stock() -> Result<Vec<NewDistro>, Error> {
    Ok(serde_json::from_str(STOCK)?)
}

/// Creates those that are missing. One that is there keeps its fields, and one that was deleted stays
/// deleted: people decided so.
pub(super) fn load(client: &Client) -> Result<Written, Error> {
    let body = CreateDistros {
        comment: Some("Stock distros".to_owned()),
        distros: stock()?,
    };
    client.send(&Method::POST, &client.at(&["distros"]), &body)
}

/// Creates the distro of this machine if the record does not have it.
pub(super) fn ensure(client: &Client, name: &str) -> Result<(), Error> {
    if stock()?.iter().any(|distro| distro.name == name) {
        return Ok(());
    }
    let variant = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_uppercase();
    let body = CreateDistros {
        comment: Some("The distro of this machine".to_owned()),
        distros: vec![NewDistro {
            name: name.to_owned(),
            variant,
            supported: true,
        }],
    };
    client
        .send(&Method::POST, &client.at(&["distros"]), &body)
        .map(|_: Written| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stock_distros_are_well_formed() {
        let stock = stock().unwrap();
        assert!(
            stock
                .iter()
                .any(|distro| distro.name == pointsman_detect::SAMPLE_DISTRO)
        );
        let mut names: Vec<&str> = stock.iter().map(|distro| distro.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), stock.len(), "no name twice");
        for distro in &stock {
            let name_ok =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b);
            assert!(distro.name.bytes().all(name_ok), "{}", distro.name);
            let plain = distro
                .variant
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
            assert!(plain && !distro.variant.is_empty(), "{}", distro.variant);
        }
    }
}
