"""Training on Kubernetes: the RayJob is valid, closed, and in step with the stages that it can run."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from longfold_training.engines.verl.__main__ import stages

ROOT = Path(__file__).parents[2]
VERSION = "1.34"
SCHEMA = json.loads((Path(__file__).parent / "schemas" / "rayjob.json").read_text())
PART = {"app.kubernetes.io/part-of": "longfold-training"}


@pytest.fixture
def objects(rendered):
    return {found["kind"]: found for found in rendered("../kuberay").objects}


def templates(job):
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [job["spec"]["submitterPodTemplate"], *(group["template"] for group in groups)]


def test_every_object_is_valid(objects):
    assert set(objects) == {"Namespace", "PersistentVolumeClaim", "NetworkPolicy", "RayJob"}
    for kind, found in objects.items():
        if kind != "RayJob":
            kubernetes_validate.validate(found, VERSION, strict=True)
    jsonschema.validate(objects["RayJob"], SCHEMA)
    for template in templates(objects["RayJob"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **template["metadata"]}}
        kubernetes_validate.validate({**pod, "spec": template["spec"]}, VERSION, strict=True)


def test_the_schema_refuses_what_is_wrong(objects):
    wrong = copy.deepcopy(objects["RayJob"])
    wrong["spec"]["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-gpus"] = 0
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_it_runs_a_stage_on_the_nodes_that_it_asks_for(objects):
    spec = objects["RayJob"]["spec"]
    module, stage, *settings = spec["entrypoint"].split()[2:]
    assert module == "longfold_training.engines.verl" and stage in stages()
    given = dict(setting.split("=", 1) for setting in settings)
    [group] = spec["rayClusterSpec"]["workerGroupSpecs"]
    [worker] = group["template"]["spec"]["containers"]
    assert given["trainer.nnodes"] == str(group["replicas"]) == str(group["minReplicas"]) == str(group["maxReplicas"])
    gpus = worker["resources"]["limits"]["nvidia.com/gpu"]
    assert given["trainer.n_gpus_per_node"] == gpus == group["rayStartParams"]["num-gpus"]
    assert spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"]["num-gpus"] == "0"
    assert given["trainer.default_local_dir"].endswith(f"/{stage}") and objects["RayJob"]["metadata"]["name"] == stage


def test_what_it_reads_and_writes_lies_on_the_shared_volume(objects):
    claim = objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert objects["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    for template in templates(objects["RayJob"])[1:]:
        [container] = template["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert mounts["/shared"]["persistentVolumeClaim"]["claimName"] == claim
        assert mounts["/dev/shm"]["emptyDir"]["medium"] == "Memory"
        paths = re.findall(r"=(\S*/\S*)", objects["RayJob"]["spec"]["entrypoint"])
        paths += [one["value"] for one in container["env"] if "/" in one.get("value", "")]
        assert len(paths) == 5 and all(path.startswith("/shared/") for path in paths)


def test_an_attempt_leaves_the_figures_of_those_before_it(objects):
    for template in templates(objects["RayJob"])[1:]:
        [container] = template["spec"]["containers"]
        environment = {one["name"]: one for one in container["env"]}
        [named] = re.findall(r"\$\((\w+)\)", environment["VERL_FILE_LOGGER_PATH"]["value"])
        assert environment[named]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
        # Kubernetes puts in only what was defined before.
        assert list(environment).index(named) < list(environment).index("VERL_FILE_LOGGER_PATH")


def test_ray_is_closed_to_everything_but_its_run_and_the_operator(objects):
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == PART and policy["policyTypes"] == ["Ingress"]
    own, operator = policy["ingress"]
    assert own["from"] == [{"podSelector": {"matchLabels": PART}}]
    assert operator["ports"] == [{"port": 8265}]
    for template in templates(objects["RayJob"]):
        assert template["metadata"]["labels"].items() >= PART.items()
        assert template["spec"]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("script", ["verl-node.sh", "verl-cluster.sh"])
def test_a_launch_script_without_a_stage_says_what_it_needs(script):
    path = ROOT / "training" / "runs" / script
    given = {"PATH": "/usr/bin:/bin", "GPUS": "8", "NODES": "2", "RUN": "/none", "RAY_API_SERVER_ADDRESS": "http://x"}
    done = subprocess.run(["bash", str(path)], env=given, capture_output=True, text=True)
    assert done.returncode != 0 and f"usage: {script} STAGE" in done.stderr
    assert path.stat().st_mode & 0o111
