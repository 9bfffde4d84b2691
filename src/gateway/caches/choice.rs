//! Which cache a client is sent to.

use std::net::IpAddr;
use std::sync::Arc;

use super::Cache;

/// Returns the cache for a client at `client` who chose the one of the id `chosen`.
///
/// Who chose a cache is sent to that one or to none: they may have chosen it for a reason that no network tells. For
/// all others it is the cache that is up with the longest network that has the client, the first by name of several
/// that are equal, else the default.
pub(super) fn choose<'a>(
    caches: &'a [Arc<Cache>],
    chosen: Option<&str>,
    client: IpAddr,
    is_up: impl Fn(&Cache) -> bool,
) -> Option<&'a Arc<Cache>> {
    let chosen = chosen.and_then(|id| caches.iter().find(|cache| cache.id == id));
    if let Some(chosen) = chosen {
        return is_up(chosen).then_some(chosen);
    }
    let client = client.to_canonical();
    let up = || caches.iter().filter(|cache| is_up(cache));
    let closest = up().filter_map(|cache| {
        let of_client = cache.networks.iter().filter(|net| net.contains(&client));
        let length = of_client.map(|net| net.prefix_len()).max()?;
        Some((length, cache))
    });
    // The last of equal ones is what `max_by` returns: so the order is turned.
    let closest = closest.max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| y.name.cmp(&x.name)));
    let closest = closest.map(|(_, cache)| cache);
    closest.or_else(|| up().find(|cache| cache.is_default))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, which is the id as well; networks; whether it is the default.
    fn cache(name: &str, networks: &[&str], is_default: bool) -> Arc<Cache> {
        Arc::new(Cache {
            id: name.to_owned(),
            name: name.to_owned(),
            host: "https://cache.example.org".parse().unwrap(),
            networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
            is_default,
            admin: None,
        })
    }

    #[test]
    fn each_client_is_sent_where_the_table_says() {
        let caches = [
            cache("asia", &["10.0.0.0/8", "2001:db8::/32"], false),
            cache("berlin", &["10.1.0.0/16", "2001:db8:1::/48"], false),
            cache("bonn", &["10.1.0.0/16"], false),
            cache("world", &[], true),
        ];
        let all = "asia berlin bonn world";
        // What was chosen, where the client is, which are up, and where the client goes.
        let table: &[(Option<&str>, &str, &str, Option<&str>)] = &[
            (Some("asia"), "192.0.2.1", all, Some("asia")),
            (Some("asia"), "10.1.0.1", all, Some("asia")),
            (Some("asia"), "10.1.0.1", "berlin bonn world", None),
            (Some("gone"), "10.1.0.1", all, Some("berlin")),
            (Some("gone"), "192.0.2.1", all, Some("world")),
            (None, "10.1.0.1", all, Some("berlin")),
            (None, "::ffff:10.1.0.1", all, Some("berlin")),
            (None, "10.1.0.1", "asia bonn world", Some("bonn")),
            (None, "10.1.0.1", "asia world", Some("asia")),
            (None, "10.2.0.1", all, Some("asia")),
            (None, "10.2.0.1", "berlin bonn world", Some("world")),
            (None, "2001:db8:1::1", all, Some("berlin")),
            (None, "2001:db8:2::1", all, Some("asia")),
            (None, "2001:db9::1", all, Some("world")),
            (None, "192.0.2.1", all, Some("world")),
            (None, "192.0.2.1", "asia berlin bonn", None),
            (None, "10.1.0.1", "", None),
        ];
        for (chosen, client, up, want) in table {
            let is_up = |cache: &Cache| up.split(' ').any(|name| name == cache.name);
            let got = choose(&caches, *chosen, client.parse().unwrap(), is_up);
            let got = got.map(|cache| cache.name.as_str());
            assert_eq!(got, *want, "chose {chosen:?}, at {client}, up: {up}");
        }
        assert!(choose(&[], None, "10.0.0.1".parse().unwrap(), |_| true).is_none());
    }

    #[test]
    fn equal_networks_are_the_first_ones_by_name_in_any_order() {
        let (a, b) = (
            cache("a", &["10.0.0.0/8"], false),
            cache("b", &["10.0.0.0/8"], false),
        );
        for caches in [[a.clone(), b.clone()], [b, a]] {
            let got = choose(&caches, None, "10.0.0.1".parse().unwrap(), |_| true);
            assert_eq!(got.unwrap().name, "a");
        }
    }

    #[test]
    fn a_network_of_everybody_is_closer_than_the_default() {
        let caches = [
            cache("all", &["0.0.0.0/0"], false),
            cache("site", &[], true),
        ];
        let to = |client: &str| {
            let got = choose(&caches, None, client.parse().unwrap(), |_| true);
            got.unwrap().name.clone()
        };
        assert_eq!(
            (to("192.0.2.1").as_str(), to("2001:db8::1").as_str()),
            ("all", "site")
        );
    }
}
