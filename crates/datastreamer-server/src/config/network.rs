//! Networks as they are written: an address, or a prefix such as `10.0.0.0/8`.

use std::net::IpAddr;

/// An address, or all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    /// Bits that the addresses have in common.
    bits: u32,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no network: write for example 127.0.0.1, 10.0.0.0/8 or fd00::/8")
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| wrong())?;
        let most = width(address);
        let bits = bits.map_or(Some(most), |bits| bits.trim().parse().ok());
        let bits = bits.filter(|bits| *bits <= most).ok_or_else(wrong)?;
        Ok(Self { address, bits })
    }

    /// Returns whether it contains an address; an IPv4 address in IPv6 counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let differing = width(address) - self.bits.min(width(address));
        width(address) == width(self.address)
            && (number(address) ^ number(self.address))
                .checked_shr(differing)
                .unwrap_or(0)
                == 0
    }
}

/// Returns how many bits an address has.
fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => u32::BITS,
        IpAddr::V6(_) => u128::BITS,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_the_addresses_that_begin_with_it() {
        for (network, address, contains) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("127.0.0.1", "::1", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.9.9.9/8", "10.1.2.3", true),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "203.0.113.9", false),
            ("fd00::/8", "fd12::1", true),
            ("2001:db8::/64", "2001:db8::ffff:1", true),
            ("2001:db8::/64", "2001:db8:0:1::1", false),
            ("2001:db8::1", "2001:db8::2", false),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(
                parsed.contains(address.parse().unwrap()),
                contains,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0",
            "localhost",
            "10.0.0.0/-1",
            "127.0.0.1:80",
            "10.0.0.0/8/8",
        ] {
            assert!(Network::parse(wrong).is_err(), "{wrong}");
        }
    }
}
