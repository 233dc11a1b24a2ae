"""The Kubernetes manifests: valid, closed, and in step with the code that they run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from longfold_agent import load_profile
from longfold_agent.route import check_step_fits
from longfold_agent.tokens import load_tokens
from longfold_client.types import JobStatus
from longfold_server import worker
from longfold_server.app import create_app
from longfold_server.metrics import Metrics
from longfold_server.routes import health
from longfold_server.serve import GRACE_SECONDS
from longfold_server.settings import Settings
from longfold_server.stack.models import POLICY
from longfold_server.webhooks import sender

ROOT = Path(__file__).parents[2]
VERSION = "1.34"
"""Of Kubernetes, whose schemas the objects are held against."""
SECRETS = {
    "longfold_redis_url": "redis://store:6379/0",
    "longfold_engine_api_key": "an-engine-key",
    "longfold_cache_salt_secret": "a-salt",
    "longfold_webhook_secrets": "whsec_" + "A" * 32,
}
MADE_BY_THE_OPERATOR = {
    "overlays/dev": set(),
    "overlays/prod": {"longfold-secrets", "longfold-tls", "longfold-models"},
}
"""Names that a rendered overlay refers to and does not hold; docs/deployment.md says how to make each."""


def test_every_object_is_valid(overlay):
    for found in overlay.objects:
        own = Path(__file__).parent / "schemas" / f"{found['kind'].lower()}.json"
        if own.exists():
            jsonschema.validate(found, json.loads(own.read_text()))
        else:
            kubernetes_validate.validate(found, VERSION, strict=True)


def test_the_model_job_is_valid(rendered):
    for found in rendered("model").objects:
        kubernetes_validate.validate(found, VERSION, strict=True)


def test_the_schemas_refuse_what_is_wrong(rendered):
    [deployment] = [found for name, found in rendered("overlays/dev").of("Deployment").items() if name == "engine"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**deployment, "spec": {**deployment["spec"], "replica": 1}}, VERSION, strict=True)
    [scaled] = rendered("overlays/prod").of("ScaledObject").values()
    with pytest.raises(jsonschema.ValidationError):
        schema = json.loads((Path(__file__).parent / "schemas" / "scaledobject.json").read_text())
        jsonschema.validate({**scaled, "spec": {**scaled["spec"], "maxReplicas": 1}}, schema)


def test_every_name_leads_somewhere(overlay):
    there = {found["metadata"]["name"] for found in overlay.objects} | MADE_BY_THE_OPERATOR[overlay.name]
    for _, pod in overlay.pods():
        assert pod["spec"].get("serviceAccountName", "default") in there | {"default"}
        asked = set()
        for volume in pod["spec"]["volumes"]:
            sources = [volume, *volume.get("projected", {}).get("sources", [])]
            for source in sources:
                if "persistentVolumeClaim" in source:
                    asked.add(source["persistentVolumeClaim"]["claimName"])
                if "configMap" in source:
                    asked.add(source["configMap"]["name"])
                if "secret" in source and not source["secret"].get("optional"):
                    asked.add(source["secret"]["name"])
        for container in pod["spec"]["containers"]:
            asked |= {one["configMapRef"]["name"] for one in container.get("envFrom", [])}
            for one in container.get("env", []):
                asked |= {one["valueFrom"]["secretKeyRef"]["name"]} if "valueFrom" in one else set()
            mounted = {one["name"] for one in container["volumeMounts"]}
            claimed = {volume["name"] for volume in pod["spec"]["volumes"]}
            assert mounted <= claimed | {"data"}, "a mount without a volume"
        assert asked <= there, asked - there
    for ingress in overlay.of("Ingress").values():
        for path in ingress["spec"]["rules"][0]["http"]["paths"]:
            service = overlay.of("Service")[path["backend"]["service"]["name"]]
            assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def test_what_the_operator_makes_is_documented():
    guide = (ROOT / "docs" / "deployment.md").read_text()
    for name in set.union(*MADE_BY_THE_OPERATOR.values()) | set(SECRETS) | {"longfold-webhooks", "longfold-bucket"}:
        assert f"{name}" in guide, name


def selects(selector, labels):
    """`In` is the only operator in use; another would be a KeyError here."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        {"In": labels.get(rule["key"]) in rule["values"]}[rule["operator"]]
        for rule in selector.get("matchExpressions", [])
    )


def test_every_selector_finds_pods(overlay):
    labels = [pod["metadata"]["labels"] for _, pod in overlay.pods()]
    for name, workload in overlay.workloads().items():
        assert selects(workload["spec"]["selector"], workload["spec"]["template"]["metadata"]["labels"]), name
        for rule in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert selects(rule["labelSelector"], workload["spec"]["template"]["metadata"]["labels"]), name
    for kind in ("PodDisruptionBudget", "NetworkPolicy"):
        for name, found in overlay.of(kind).items():
            selector = found["spec"]["selector" if kind == "PodDisruptionBudget" else "podSelector"]
            assert any(selects(selector, one) for one in labels), name
    for name, service in overlay.of("Service").items():
        labels = {"matchLabels": service["spec"]["selector"]}
        pods = [pod for _, pod in overlay.pods() if selects(labels, pod["metadata"]["labels"])]
        assert pods, name
        for port in service["spec"]["ports"]:
            for pod in pods:
                assert port["targetPort"] in {one["name"] for box in pod["spec"]["containers"] for one in box["ports"]}
    for name, monitor in overlay.of("ServiceMonitor").items():
        selector = monitor["spec"]["selector"]
        services = [one for one in overlay.of("Service").values() if selects(selector, one["metadata"]["labels"])]
        assert services, name
        for service in services:
            offered = {port["name"] for port in service["spec"]["ports"]}
            assert {end["port"] for end in monitor["spec"]["endpoints"]} <= offered


@pytest.mark.parametrize("name", ["overlays/dev", "overlays/prod", "model"])
def test_pods_keep_to_the_restricted_profile(rendered, name):
    found = rendered(name)
    [namespace] = found.of("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload, pod in found.pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, workload
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), workload
        context = spec["securityContext"]
        assert (
            context["runAsNonRoot"] and context["runAsUser"] and context["seccompProfile"]["type"] == "RuntimeDefault"
        )
        allowed = {"name", "persistentVolumeClaim", "emptyDir", "configMap", "secret", "projected"}
        assert all(set(volume) <= allowed for volume in spec["volumes"]), workload
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True, workload
            assert own["capabilities"] == {"drop": ["ALL"]} and "privileged" not in own
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_images_are_pinned_and_ours_have_this_version(overlay):
    version = tomllib.loads((ROOT / "server" / "pyproject.toml").read_text())["project"]["version"]
    engine = re.search(r'"vllm==([\d.]+)"', (ROOT / "server" / "pyproject.toml").read_text())
    for _, container in overlay.containers():
        name, _, tag = container["image"].rpartition(":")
        assert name and re.search(r"\d+\.\d+", tag), container["image"]
        if "longfold" in name:
            assert tag == version
        if name.startswith("vllm/"):
            assert tag == f"v{engine[1]}"


def environment(overlay, container, tmp_path, pod):
    """The container's variables and files of secrets, with a folder of this machine for those."""
    found = {}
    for source in container.get("envFrom", []):
        found |= overlay.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
    found |= {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}
    [mount] = [one for one in container["volumeMounts"] if one["mountPath"] == found["LONGFOLD_SECRETS_DIR"]]
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == mount["name"]]
    for source in volume["projected"]["sources"]:
        for item in source["secret"]["items"]:
            (tmp_path / item["path"]).write_text(SECRETS[item["path"]])
    return found | {"LONGFOLD_SECRETS_DIR": str(tmp_path)}


def test_the_settings_are_accepted_and_complete(overlay, tmp_path, monkeypatch):
    roles = set()
    for pod, container in overlay.own():
        [role] = container["args"]
        roles.add(role)
        folder = tmp_path / role
        folder.mkdir()
        variables = environment(overlay, container, folder, pod)
        for name in variables.keys() - {"LONGFOLD_SECRETS_DIR"}:
            assert name.removeprefix("LONGFOLD_").lower() in Settings.model_fields, name
        for path in folder.iterdir():
            assert path.name.removeprefix("longfold_") in Settings.model_fields, path.name
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(name, value)
            settings = Settings(roles=[role])
        assert settings.redis_url == SECRETS["longfold_redis_url"] and settings.require_keys
        assert [port["containerPort"] for port in container["ports"]] == [settings.port] and settings.host == "0.0.0.0"
        mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
        assert not mounts[str(settings.data_dir)].get("readOnly") and "/tmp" in mounts
        assert settings.tokenizer is not None
        if not settings.tokenizer.is_relative_to("/opt/longfold/policy"):  # which is in the image
            assert mounts[f"/{settings.tokenizer.parts[1]}"]["readOnly"] is True
        if role == "worker":
            assert settings.engine_api_key is not None and settings.cache_salt_secret is not None
            assert settings.profile == ("demo" if overlay.name.endswith("dev") else "qwenlong")
    assert roles == {"api", "worker"}


def test_documents_may_live_in_a_bucket(with_bucket, tmp_path, monkeypatch):
    for found in with_bucket.objects:
        if found["kind"] not in ("ScaledObject", "ServiceMonitor"):
            kubernetes_validate.validate(found, VERSION, strict=True)
    assert with_bucket.of("PersistentVolumeClaim") == {}
    for pod, container in with_bucket.own():
        [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "documents"]
        assert "emptyDir" in volume
        assert {"secretRef": {"name": "longfold-bucket"}} in container["envFrom"]
        container["envFrom"].remove({"secretRef": {"name": "longfold-bucket"}})
        for name, value in environment(with_bucket, container, tmp_path, pod).items():
            monkeypatch.setenv(name, value)
        settings = Settings(roles=container["args"])
        assert settings.blob_url == "s3://longfold-documents"
        room = int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) << 30
        assert settings.blob_cache_bytes + settings.worker_concurrency * settings.fetch_max_bytes < room
    extras = tomllib.loads((ROOT / "server" / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "s3" in extras and "s3" in re.search(r"whl\)\[([\w,]+)\]", (ROOT / "Dockerfile").read_text())[1].split(",")


def test_probes_ask_what_is_answered(overlay):
    app = create_app(Settings())
    paths = {route.path for route in app.routes}
    for _, container in overlay.own():
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] in paths
        # It asks the store and the engine one after the other.
        assert container["readinessProbe"]["timeoutSeconds"] > 2 * health.CHECK_SECONDS
    for _, container in overlay.containers():
        names = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "httpGet" in container.get(probe, {}):
                assert container[probe]["httpGet"]["port"] in names


def test_there_is_time_to_drain(overlay, tmp_path):
    for pod, container in overlay.own():
        [role] = container["args"]
        variables = environment(overlay, container, tmp_path, pod)
        default = Settings.model_fields["drain_seconds"].default
        drain = float(variables.get("LONGFOLD_DRAIN_SECONDS", default))
        stop = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = stop + GRACE_SECONDS + drain + max(worker.CLOSING_SECONDS, sender.SECONDS)
        assert pod["spec"]["terminationGracePeriodSeconds"] > needed, role


def test_only_what_clients_use_is_reachable(overlay):
    public = {route.path for route in create_app(Settings()).routes} - {"/livez", "/readyz", "/metrics"}
    public -= {"/docs", "/docs/oauth2-redirect", "/redoc"}
    [ingress] = overlay.of("Ingress").values()
    rules = ingress["spec"]["rules"][0]["http"]["paths"]

    def reachable(path):
        exact = {rule["path"] for rule in rules}
        below = tuple(f"{rule['path']}/" for rule in rules if rule["pathType"] == "Prefix")
        return path in exact or path.startswith(below)

    assert {path for path in public if not reachable(path)} == set()
    assert not any(reachable(path) for path in ("/metrics", "/livez", "/readyz", "/"))
    annotations = ingress["metadata"]["annotations"]
    limit = int(annotations["nginx.org/client-max-body-size"].removesuffix("m")) * 1024 * 1024
    assert limit >= Settings().upload_max_bytes and limit >= Settings().json_max_bytes


def test_scalers_have_a_target_and_metrics_that_exist(rendered):
    found = rendered("overlays/prod")
    scaled = {
        **{one["spec"]["scaleTargetRef"]["name"]: one for one in found.of("HorizontalPodAutoscaler").values()},
        **{one["spec"]["scaleTargetRef"]["name"]: one for one in found.of("ScaledObject").values()},
    }
    assert scaled.keys() == {"longfold-api", "longfold-worker"}
    for name in scaled:
        assert "replicas" not in found.of("Deployment")[name]["spec"], "`kubectl apply` would fight the autoscaler"
    exported = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    exported |= {metric.name for metric in Metrics().registry.collect()}
    for trigger in scaled["longfold-worker"]["spec"]["triggers"]:
        query = trigger["metadata"]["query"]
        assert set(re.findall(r"longfold_\w+", query)) <= exported and "longfold_" in query
        for status in re.findall(r'status="(\w+)"', query):
            assert JobStatus(status)
    [running] = [one for one in scaled["longfold-worker"]["spec"]["triggers"] if one["name"] == "running"]
    assert float(running["metadata"]["threshold"]) <= Settings().worker_concurrency


def vllm(overlay):
    [container] = [one for _, one in overlay.containers() if one["name"] == "vllm"]
    return container


def test_the_engine_serves_what_the_workers_ask_for(overlay):
    engine = vllm(overlay)
    [settings] = [found["data"] for name, found in overlay.of("ConfigMap").items() if "settings" in name]
    flags = dict(flag.split("=", 1) for flag in engine["args"] if flag.startswith("--") and "=" in flag)
    assert flags["--served-model-name"] == settings["LONGFOLD_ENGINE_MODEL"]
    service = overlay.of("Service")["engine"]
    assert settings["LONGFOLD_ENGINE_URLS"] == f"http://engine:{service['spec']['ports'][0]['port']}"
    assert flags["--port"] == str(engine["ports"][0]["containerPort"])
    model = flags.get("--model") or engine["args"][0]
    assert settings["LONGFOLD_TOKENIZER"] == f"{model}/tokenizer.json"
    [key] = [one for one in engine["env"] if one["name"] == "VLLM_API_KEY"]
    assert key["valueFrom"]["secretKeyRef"]["key"] == "longfold_engine_api_key"


def test_the_engines_window_holds_the_largest_call(rendered):
    """With the demo policy's tokenizer: the template is a few hundred tokens in any."""
    found = rendered("overlays/prod")
    window = int(next(flag for flag in vllm(found)["args"] if flag.startswith("--max-model-len=")).split("=")[1])
    assert check_step_fits(load_profile("qwenlong"), window, load_tokens(POLICY / "tokenizer.json"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlays/dev", "overlays/prod"])
def test_vllm_knows_its_flags(rendered, name):
    """The vLLM that is installed here reads them, with one more that it must refuse: then that one is all it names."""
    args = [flag if flag.startswith("--") else f"--model={flag}" for flag in vllm(rendered(name))["args"]]
    argv = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *args, "--no-such-flag"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert re.findall(r"unrecognized arguments: (.*)", done.stderr) == ["--no-such-flag"], done.stderr[-2000:]
