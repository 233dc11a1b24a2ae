from __future__ import annotations

import pytest

from longfold_server.ingest.addresses import AddressPolicy

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.2.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "3fff::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "2606:4700::1%1", "fec0::1", "ff02::1", "100::1", "5f00::1",
    "4000::1", "", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_outside_the_public_internet_are_refused(address: str) -> None:
    assert AddressPolicy().permit(address) is None


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "2a00:1450::1"])
def test_public_addresses_pass_as_they_are(address: str) -> None:
    assert AddressPolicy().permit(address) == address


def test_a_mapped_address_is_judged_and_dialled_as_ipv4() -> None:
    assert AddressPolicy().permit("::ffff:8.8.8.8") == "8.8.8.8"
    assert AddressPolicy(["10.0.0.0/8"]).permit("::ffff:10.1.2.3") == "10.1.2.3"


def test_an_operator_allows_networks_and_nothing_beside_them() -> None:
    policy = AddressPolicy(["10.1.0.0/16", "fd00:1::/32"])
    assert policy.permit("10.1.2.3") == "10.1.2.3"
    assert policy.permit("fd00:1::5") == "fd00:1::5"
    assert policy.permit("10.2.0.1") is None
    assert policy.permit("127.0.0.1") is None
    assert policy.permit("fd00:2::5") is None


def test_allowing_ipv4_loopback_allows_the_same_machine_over_ipv6() -> None:
    assert AddressPolicy(["127.0.0.0/8"]).permit("::1") == "::1"
    assert AddressPolicy(["10.0.0.0/8"]).permit("::1") is None


def test_a_malformed_network_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="10"):
        AddressPolicy(["10.0.0.0/99"])
