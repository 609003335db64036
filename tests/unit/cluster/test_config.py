"""Values and options: every way of writing them means the same, problems come all at once, secrets never show."""

from __future__ import annotations

import json
import pickle
import re
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wasp_ray import __version__
from wasp_ray.cluster.config import ClusterConfig, Values, run_names
from wasp_ray.cluster.lifecycle import Terms
from wasp_ray.cluster.wording import paths
from wasp_ray.errors import BadInput

TOKEN = "tok-8f3a"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no wasp.toml of the machine."""
    import os

    for name in list(os.environ):
        if name.startswith("WASP_CLUSTER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def problems(**options: Any) -> list[str]:
    """What a configuration says against its options."""
    with pytest.raises(BadInput) as caught:
        ClusterConfig(**options)
    return caught.value.problems


def value_problems(raw: dict[str, Any]) -> list[str]:
    """What the values say against themselves."""
    with pytest.raises(BadInput) as caught:
        Values.of(raw)
    return caught.value.problems


ANYTHING = st.none() | st.integers() | st.text() | st.lists(st.text())

# -- values


def test_the_values_of_the_seed_are_taken_as_they_are() -> None:
    """Dotted keys and numbers as texts."""
    values = Values.of({
        "env.loki.url": "https://loki.example", "env.loki.token": TOKEN, "test.name": "load.py:node_rps",
        "test.timeout": "24h", "image": "registry.example/wasp-test:latest", "jobs": "40",
        "resources.requests.cpu": "2000m", "resources.requests.memory": "512Mi", "resources.limits.cpu": "2000m",
        "resources.limits.memory": "512Mi", "env.wasp.log_level": "debug",
    })  # fmt: skip
    assert values.jobs == 40 and values.test.name == "load.py:node_rps" and values.env.wasp.log_level == "debug"
    assert values.resources.requests == values.resources.limits == {"cpu": "2000m", "memory": "512Mi"}
    assert values.secrets() == {"LOKI_TOKEN": TOKEN}
    assert values.terms() == Terms(40, 600.0, 86_400.0, 60.0, "stop")


SAME = [
    ({"jobs": "40"}, {"jobs": 40}),
    ({"test.timeout": "90m"}, {"test": {"timeout": 5400}}),
    ({"test.timeout": "5400"}, {"test": {"timeout": "1h30m"}}),
    ({"resources.requests.cpu": 2}, {"resources": {"requests": {"cpu": "2"}}}),
    ({"resources.requests.cpu": 0.5}, {"resources.requests": {"cpu": "0.5"}}),
    ({"resources.limits.nvidia.com/gpu": 1}, {"resources": {"limits": {"nvidia.com/gpu": "1"}}}),
    ({"nodeSelector.kubernetes.io/arch": "arm64"}, {"nodeSelector": {"kubernetes.io/arch": "arm64"}}),
    ({"extraEnv.DEBUG": True}, {"extraEnv": {"DEBUG": "true"}}),
    ({"extraEnv": '{"A": 1}'}, {"extraEnv": {"A": "1"}}),
    ({"imagePullSecrets": ["a"]}, {"imagePullSecrets": [{"name": "a"}]}),
    ({"hostNetwork": "true"}, {"hostNetwork": True}),
    ({"controller.enabled": "false"}, {"controller": {"enabled": False}}),
    ({"order": {"seed": 7}}, {"order": '{"seed":7}'}),
    ({"env.wasp.log_level": "DEBUG"}, {"env": {"wasp": {"log_level": "debug"}}}),
    ({"tolerations": '[{"key": "load"}]'}, {"tolerations": [{"key": "load"}]}),
    ({"resources.requests.cpu": "1", "resources": {"requests": {"memory": "1Gi"}}},
     {"resources.requests": {"cpu": 1, "memory": "1Gi"}}),
]  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), SAME)
def test_values_written_differently_are_the_same(written: dict[str, Any], meant: dict[str, Any]) -> None:
    """And a chart gets the normalised ones."""
    assert Values.of(written) == Values.of(meant)
    assert Values.of(written).to_chart() == Values.of(meant).to_chart()


REFUSED = [
    ({"job": 3}, "job: no such value: did you mean jobs?"),
    ({"env.wasp.logLevel": "debug"}, "env.wasp.logLevel: no such value: did you mean env.wasp.log_level?"),
    ({"loki.url": "x"}, "loki.url: no such value: did you mean env.loki.url?"),
    ({"resource.requests.cpu": 1}, "resource.requests.cpu: no such value: did you mean resources.requests?"),
    ({"jobs": "many"}, "jobs: expected a whole number, found 'many': write for example jobs=10"),
    ({"jobs": 0}, "jobs: expected at least 1, found 0: write for example jobs=10"),
    ({"test.name": "/load.py"}, "test.name: expected FILE[:NAME]"),
    ({"test.name": "--help"}, "test.name: expected FILE[:NAME]"),
    ({"test.name": "a/../../load.py"}, "test.name: expected FILE[:NAME]"),
    ({"test.timeout": "soon"}, "test.timeout: 'soon' is not a duration: write"),
    ({"drain": 0}, "drain: expected a duration above zero, found 0"),
    ({"image": "two words"}, "image: expected an image without spaces, found 'two words'"),
    ({"imagePullPolicy": "never"}, "imagePullPolicy: expected 'Always', 'IfNotPresent' or 'Never', found 'never'"),
    ({"resources.requests.cpu": "2 cores"}, "resources.requests.cpu: expected a quantity such as"),
    ({"resources.limits.memry": "1Gi"}, "resources.limits.memry: expected cpu, memory, ephemeral-storage"),
    ({"podLabels.sync": "x"}, "podLabels.sync: expected a label of your own, found 'sync'"),
    ({"podLabels.team": "a b"}, "podLabels.team: expected a Kubernetes label"),
    ({"extraEnv.HOME": "/root"}, "extraEnv.HOME: expected a variable of your own, found one that is set by wasp_ray"),
    ({"extraEnv.LOKI_URL": "x", "env.loki.url": "http://a"},
     "extraEnv.LOKI_URL: expected a variable of your own, found one that is env.loki.url"),
    ({"extraEnv.A": "1", "secretEnv.A": "2"}, "extraEnv.A: expected a variable of your own, found one that is in secretEnv"),
    ({"extraEnv": [{"name": "A", "val": "1"}]}, "extraEnv: expected EnvVars {name, value}"),
    ({"env.loki.url": "https://me:pw@loki.example"}, "env.loki.url: expected an address without user and password"),
    ({"env.loki.token": TOKEN, "env.loki.existingSecret": "a"}, "env.loki: expected a token (or basicAuth) or existingSecret"),
    ({"run": "Nightly_7"}, "run: expected a DNS label of at most 40 characters"),
    ({"order": "[]"}, "order: expected a JSON object"),
    ({"order": json.dumps({"a": "x" * 600_000})}, "order: expected at most 524,288 bytes"),
    ({"jobs": 1, "test.name": "a", "test": {"name": "b"}}, "test.name: given twice: leave one out"),
    ({"tolerations": {"key": "a"}}, "tolerations: expected a list of mappings"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "sentence"), REFUSED)
def test_bad_values_are_refused_with_a_sentence(raw: dict[str, Any], sentence: str) -> None:
    """It names the value, what was expected, what was found."""
    found = value_problems(raw)
    assert len(found) == 1 and found[0].startswith(sentence), found


def test_all_problems_come_at_once() -> None:
    """One sentence each."""
    found = value_problems({"job": 1, "jobs": "x", "image": "a b", "test.timeout": "x", "env.loki.token": [1]})
    assert [text.partition(":")[0] for text in found] == ["job", "image", "jobs", "test.timeout", "env.loki.token"]


def test_a_value_far_from_all_is_answered_with_the_list() -> None:
    """Of dotted names."""
    (found,) = value_problems({"zzz": 1})
    assert "expected one of affinity, annotations" in found and "env.loki.existingSecret" in found


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_text_gets_lost_on_its_way_into_the_secret(token: str, other: str) -> None:
    """Whatever characters it has."""
    values = Values.of({"env.loki.token": token, "secretEnv": {"A": other}})
    assert values.secrets() == {"A": other, "LOKI_TOKEN": token}


@given(st.dictionaries(st.sampled_from([path for path, _ in paths(Values)]), ANYTHING))
def test_any_values_are_taken_or_refused_in_sentences(raw: dict[str, Any]) -> None:
    """Never an exception of another kind; what is taken is taken again after normalising."""
    try:
        values = Values.of(raw)
    except BadInput as exc:
        assert exc.problems and all(text.strip() for text in exc.problems)
        return
    assert Values.of(values.to_chart()) == values


def test_a_custom_chart_gets_unknown_values_too() -> None:
    """Nested, beside the known ones."""
    values = Values.of({"jobs": 2, "sidecar.image": "x", "env.loki.extra": 1, "db": {"passWord": "hush"}}, foreign=True)
    assert values.to_chart() == {
        "jobs": 2, "sidecar": {"image": "x"}, "env": {"loki": {"extra": 1}}, "db": {"passWord": "hush"},
    }  # fmt: skip
    assert values.secret_texts() == {"hush"} and "hush" not in repr(values)


# -- secrets


def test_secrets_are_in_no_repr_error_or_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of values or configuration, good or bad."""
    monkeypatch.setenv("API_KEY", TOKEN)
    raw = {"env.loki.token": TOKEN, "env.loki.basicAuth": f"me:{TOKEN}", "secretEnv": {"A": TOKEN}}
    config = ClusterConfig(image="x", test="load.py", secrets=["API_KEY"], values=raw)
    values = config.run_values(config.names())
    assert values.secrets() == {"A": TOKEN, "API_KEY": TOKEN, "LOKI_BASIC_AUTH": f"me:{TOKEN}", "LOKI_TOKEN": TOKEN}
    shown = [repr(config), str(config), config.model_dump_json(), repr(values), str(values.model_dump()), values.order]
    for bad in ({"jobs": "x"}, {"env.loki.existingSecret": "b"}, {"unknown": TOKEN}, {"env.loki.token": [TOKEN]}):
        with pytest.raises(BadInput) as caught:
            ClusterConfig(image="x", secrets={"B": {"deep": TOKEN}}, values={**raw, **bad})
        assert caught.value.__cause__ is caught.value.__context__ is None
        shown += [*caught.value.problems, "".join(traceback.format_exception(caught.value))]
    assert not [text for text in shown if TOKEN in text]


# -- options

TOML = """
[other]
x = 1

[cluster]
jobs = 3
image = "from-toml"
chart = "charts/mine"
thresholds = ["failed < 1%"]

[cluster.labels]
team = "checkout"

[cluster.values]
"env.loki.url" = "https://toml.example"
test.name = "toml.py"
"""


def test_arguments_win_over_the_environment_over_wasp_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mappings are merged key by key, lists are replaced, and the file is found from a folder below."""
    (tmp_path / "wasp.toml").write_text(TOML)
    (tmp_path / ".git").mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    monkeypatch.setenv("WASP_CLUSTER_IMAGE", "from-env")
    monkeypatch.setenv("WASP_CLUSTER_LABELS", "branch=main\ncommit=abc")
    monkeypatch.setenv("WASP_CLUSTER_VALUES", "env.loki.tenantId=7\nenv.loki.url=https://env.example")
    monkeypatch.setenv("WASP_CLUSTER_NAMESPACE", "")
    config = ClusterConfig(
        test="load.py", labels={"branch": "dev"}, values={"env": {"loki": {"tenantId": "8"}}}, context=None
    )
    assert (config.jobs, config.image, config.test, config.namespace) == (3, "from-env", "load.py", "wasp")
    assert config.labels == {"team": "checkout", "branch": "dev", "commit": "abc"}
    assert config.thresholds == ["failed < 1%"]
    assert config.chart == str(tmp_path / "charts" / "mine")
    values = config.run_values(run_names("x"))
    assert (values.env.loki.url, values.env.loki.tenant_id) == ("https://env.example", "8")
    assert (values.jobs, values.test.name) == (3, "load.py")


PRECEDENCE = [
    ({"jobs": 2}, {"values": {"jobs": "3"}}, 3),
    ({"values": {"jobs": "3"}}, {"jobs": 2}, 2),
    ({}, {"jobs": 2, "values": {"jobs": "3"}}, 2),
    ({"values": {"jobs": 4}}, {}, 4),
    ({}, {}, 1),
]


@pytest.mark.parametrize(("environment", "arguments", "jobs"), PRECEDENCE)
def test_an_option_and_its_value_are_one(
    environment: dict[str, Any], arguments: dict[str, Any], jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stronger source counts, within a source the option."""
    for name, value in environment.items():
        monkeypatch.setenv(f"WASP_CLUSTER_{name.upper()}", json.dumps(value))
    config = ClusterConfig(image="x", test="load.py", **arguments)
    assert config.jobs == config.run_values(config.names()).jobs == jobs


def test_every_option_may_be_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts as they are, lists and mappings as JSON or lines."""
    texts = {
        "namespace": "load", "context": "ci", "kubeconfig": "k.yaml", "test": "a.py", "image": "i", "jobs": "5",
        "chart": "oci://r.example/c:1.0", "values": '{"priorityClass": "batch"}', "timeout": "2h", "deploy_timeout": "30s",
        "drain": "5", "on_lost_node": "continue", "load": "per-node", "run_id": "r-1", "keep_jobs": "true",
        "update_image": "1", "build_root": "b", "detach": "yes", "env": "A=1", "env_from": "secret/s\nconfigmap/c",
        "secrets": "API_KEY", "labels": "a=b", "thresholds": '["failed < 1%"]', "params": "users=50", "only": "shop",
        "seed": "7", "out": "o", "json_path": "j", "junit_path": "x", "markdown_path": "m",
        "quiet": "false",
    }  # fmt: skip
    assert set(texts) == set(ClusterConfig.model_fields)
    monkeypatch.setenv("API_KEY", TOKEN)
    for name, text in texts.items():
        monkeypatch.setenv(f"WASP_CLUSTER_{name.upper()}", text)
    config = ClusterConfig()
    assert config == ClusterConfig(
        namespace="load", context="ci", kubeconfig="k.yaml", test="a.py", image="i", jobs=5, chart="oci://r.example/c:1.0",
        values={"priorityClass": "batch"}, timeout=7200, deploy_timeout="30s", drain=5, on_lost_node="continue",
        load="per-node", run_id="r-1", keep_jobs=True, update_image=True, build_root="b", detach=True, env={"A": "1"},
        env_from=["secret/s", "configmap/c"], secrets={"API_KEY": TOKEN}, labels={"a": "b"}, thresholds=["failed < 1%"],
        params={"users": 50}, only="shop", seed=7, out="o", json_path="j", junit_path="x",
        markdown_path="m", quiet=False,
    )  # fmt: skip
    values = config.run_values(config.names())
    assert values.run == "r-1" and values.secrets() == {"API_KEY": TOKEN} and values.extra_env == {"A": "1"}
    assert values.env_from == [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]
    assert json.loads(values.order) == {
        "params": {"users": "50"}, "thresholds": ["failed < 1%"], "only": "shop", "seed": 7, "load": "per-node",
        "labels": {"a": "b"}, "version": __version__,
    }  # fmt: skip
    assert values.terms() == Terms(5, 30.0, 7200.0, 5.0, "continue")
    assert values.annotations == {"wasp.dev/labels": '{"a": "b"}'}
    assert values.controller.enabled is False


def test_problems_say_where_an_option_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of all sources at once, each once."""
    (tmp_path / "wasp.toml").write_text('[cluster]\ndrain = "x"\nimge = "a"\n')
    monkeypatch.setenv("WASP_CLUSTER_JOBS", "many")
    monkeypatch.setenv("WASP_CLUSTER_TIMEOOUT", "1h")
    monkeypatch.setenv("WASP_CLUSTER_SERVICE_HOST", "10.0.0.1")
    found = problems(
        test="../x", thresholds=["p99 <"], env_from=["s"], secrets=["MISSING"], update_image=True, run_id="A"
    )
    starts = [re.split(r":|\n", text)[0] for text in found]
    assert sorted(starts) == sorted([
        "secrets", "WASP_CLUSTER_TIMEOOUT", "drain (wasp.toml)", "imge (wasp.toml)", "jobs (WASP_CLUSTER_JOBS)", "test",
        "thresholds.0", "env_from.0", "run_id",
    ])  # fmt: skip
    assert "imge (wasp.toml): no such option: did you mean image?" in found
    assert "WASP_CLUSTER_TIMEOOUT: no such option: did you mean WASP_CLUSTER_TIMEOUT?" in found


def test_options_that_need_each_other_are_told() -> None:
    """When each of them is good."""
    found = problems(update_image=True, env={"A": "1"}, secrets={"A": "2"})
    assert [text.partition(":")[0] for text in found] == ["update_image", "secrets.A"]


@pytest.mark.parametrize("text", ["[cluster", "cluster = 3", '[cluster]\nvalues = "a"'])
def test_a_wasp_toml_that_cannot_be_read_is_a_problem(text: str, tmp_path: Path) -> None:
    """Not a traceback."""
    (tmp_path / "wasp.toml").write_text(text)
    assert problems()


def test_a_run_needs_an_image_and_a_test() -> None:
    """Other commands do without; the message says how to give them."""
    config = ClusterConfig(namespace="load")
    with pytest.raises(BadInput) as caught:
        config.run_values(config.names())
    assert [text.partition(":")[0] for text in caught.value.problems] == ["image", "test"]
    assert "WASP_CLUSTER_IMAGE" in caught.value.problems[0]


def test_an_option_of_the_environment_wins_over_a_list_of_variables() -> None:
    """And the rest of the list stays."""
    listed = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]
    config = ClusterConfig(image="x", test="a.py", env={"A": "2"}, values={"extraEnv": listed})
    assert config.run_values(config.names()).extra_env == [listed[1], {"name": "A", "value": "2"}]


# -- names


@given(st.text())
def test_names_of_runs_are_labels(name: str) -> None:
    """At most 40 characters, for any name; the sync id is a letter a and seven more."""
    names = run_names(name)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?", names.run) and "--" not in names.run
    assert re.fullmatch(r"a[a-z0-9]{7}", names.sync)
    assert Values.of({"run": names.run, "sync": names.sync}).run == names.run


def test_the_default_name_is_that_of_the_load_file() -> None:
    """Without folder, ending and profile."""
    config = ClusterConfig(test="tests/Check_Out.py:nightly")
    assert re.fullmatch(r"check-out-[a-z0-9]{4}", config.names().run)
    assert config.names() != config.names()


@pytest.mark.parametrize("run_id", ["", "A", "a_b", "-a", "a-", "a" * 41, "a.b", "a\n"])
def test_a_run_id_that_is_no_label_is_refused(run_id: str) -> None:
    """Objects could not be named by it."""
    with pytest.raises(BadInput, match="run_id: expected a DNS label"):
        run_names("x", run_id)


def test_values_survive_a_copy() -> None:
    """As between processes."""
    values = Values.of({"jobs": 2, "mine": 1}, foreign=True)
    assert pickle.loads(pickle.dumps(values)).to_chart() == values.to_chart()
