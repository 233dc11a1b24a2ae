"""Who may talk to whom: the network policies are evaluated as Kubernetes does, and the whole matrix is compared."""

from __future__ import annotations

import ipaddress

import pytest

OUTSIDE = {
    "ingress controller": {"kubernetes.io/metadata.name": "ingress-nginx"},
    "prometheus": {"kubernetes.io/metadata.name": "monitoring"},
    "dns": {"kubernetes.io/metadata.name": "kube-system"},
    "stranger": {"kubernetes.io/metadata.name": "elsewhere"},
}
"""Pods of other namespaces, by what their namespace is labelled with."""
LABELS = {"dns": {"k8s-app": "kube-dns"}, "prometheus": {"app.kubernetes.io/name": "prometheus"}}


def matches(selector, labels):
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


class Cluster:
    """The policies of an overlay and its pods by component, each with labels and named ports."""

    def __init__(self, overlay):
        self.policies = [one["spec"] for one in overlay.of("NetworkPolicy").values()]
        self.pods = {}
        for _, pod in overlay.pods():
            labels = pod["metadata"]["labels"]
            ports = [port for container in pod["spec"]["containers"] for port in container["ports"]]
            self.pods[labels["app.kubernetes.io/component"]] = {
                "labels": labels,
                "ports": {port["name"]: port["containerPort"] for port in ports},
            }

    def _ports(self, target):
        return self.pods[target]["ports"] if target in self.pods else {}

    def _peer(self, peer, other):
        if "ipBlock" in peer:
            if not isinstance(other, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
                return False
            block = peer["ipBlock"]
            inside = other in ipaddress.ip_network(block["cidr"])
            return inside and not any(other in ipaddress.ip_network(one) for one in block.get("except", []))
        if not isinstance(other, str):
            return False
        if "namespaceSelector" in peer:
            same = other in OUTSIDE and matches(peer["namespaceSelector"], OUTSIDE[other])
            return same and matches(peer.get("podSelector", {}), LABELS.get(other, {}))
        return other in self.pods and matches(peer["podSelector"], self.pods[other]["labels"])

    def _allows(self, direction, pod, other, port, protocol, named):
        """Whether the policies that select `pod` let this through; a pod that none selects is open."""
        side = "from" if direction == "Ingress" else "to"
        selecting = [
            one
            for one in self.policies
            if direction in one["policyTypes"] and matches(one["podSelector"], self.pods[pod]["labels"])
        ]
        if not selecting:
            return True
        for policy in selecting:
            for rule in policy.get(direction.lower(), []):
                peers, ports = rule.get(side), rule.get("ports")
                fits = peers is None or any(self._peer(one, other) for one in peers)
                opened = [
                    named.get(one["port"], one["port"]) for one in ports or [] if one.get("protocol", "TCP") == protocol
                ]
                if fits and (ports is None or port in opened):
                    return True
        return False

    def connects(self, source, target, port, protocol="TCP"):
        """Whether `source` (a component, a name in OUTSIDE) may open a connection to `target` (the same, or an
        address)."""
        named = self._ports(target)
        out = source in OUTSIDE or self._allows("Egress", source, target, port, protocol, named)
        return out and (target not in self.pods or self._allows("Ingress", target, source, port, protocol, named))


def matrix(cluster):
    """Every open way between components and from outside, on every port that a container listens on."""
    sources = [*cluster.pods, *OUTSIDE]
    return {
        (source, target, port)
        for target, pod in cluster.pods.items()
        for port in pod["ports"].values()
        for source in sources
        if source != target and cluster.connects(source, target, port)
    }


def test_ways_in_development(rendered):
    assert matrix(Cluster(rendered("overlays/dev"))) == {
        ("ingress controller", "api", 8080),
        ("api", "redis", 6379),
        ("worker", "redis", 6379),
        ("worker", "engine", 8000),
    }


def test_ways_in_production(rendered):
    assert matrix(Cluster(rendered("overlays/prod"))) == {
        ("ingress controller", "api", 8080),
        ("worker", "engine", 8000),
        ("engine", "vllm", 8000),
        ("prometheus", "api", 8080),
        ("prometheus", "worker", 8080),
        ("prometheus", "vllm", 8000),
    }


PRIVATE = (
    "10.1.2.3",
    "100.100.100.200",
    "127.0.0.1",
    "169.254.169.254",
    "172.20.0.1",
    "192.168.1.1",
    "fd00:ec2::254",
    "fe80::1",
)


def test_only_those_who_fetch_leave_and_only_to_public_addresses(overlay):
    cluster = Cluster(overlay)
    for component in cluster.pods:
        for address in map(ipaddress.ip_address, ("93.184.216.34", "2606:2800:220:1::1")):
            reached = {port for port in (25, 80, 443) if cluster.connects(component, address, port)}
            assert reached == ({80, 443} if component in ("api", "worker") else set()), component
        for address in map(ipaddress.ip_address, PRIVATE):
            reached = {port for port in (80, 443, 6443) if cluster.connects(component, address, port)}
            assert reached == set(), (component, address)


def test_the_managed_redis_is_reached_by_its_clients_only(rendered):
    cluster = Cluster(rendered("overlays/prod"))
    inside, beside = ipaddress.ip_address("10.64.0.7"), ipaddress.ip_address("10.64.1.7")
    assert {one for one in cluster.pods if cluster.connects(one, inside, 6379)} == {"api", "worker"}
    assert not any(cluster.connects(one, beside, 6379) for one in cluster.pods)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_names_are_resolved_by_those_who_dial_names(overlay, protocol):
    cluster = Cluster(overlay)
    asking = {one for one in cluster.pods if cluster.connects(one, "dns", 53, protocol)}
    assert asking == ({"api", "worker", "engine"} if "vllm" in cluster.pods else {"api", "worker"})
