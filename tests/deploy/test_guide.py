"""The guide names only what there is."""

from __future__ import annotations

import re
import subprocess

import pytest
import yaml

from tests.deploy.dockerfile import ROOT
from tests.deploy.test_bicep import BICEP, outputs, params
from tests.support.gate import WHEELGATE

GUIDE = (ROOT / "deploy" / "README.md").read_text()


def test_parameters_and_outputs_are_those_of_the_templates() -> None:
    main, network = (BICEP / "main.bicep").read_text(), (BICEP / "network.bicep").read_text()
    named = set(re.findall(r"`([a-z]+[A-Z]\w*)`", GUIDE))
    assert len(named) > 6
    assert named <= set(params(main)) | outputs(main) | outputs(network)
    assert set(re.findall(r"properties\.outputs\.(\w+)", GUIDE)) <= outputs(main)
    container = re.search(r"`(\{\"subscription\".*?\})`", GUIDE, re.DOTALL)
    assert container
    assert set(yaml.safe_load(container[1])) == set(re.findall(r"source\.(\w+)", main))


def test_files_and_sections_exist() -> None:
    for path in re.findall(r"\bdeploy/[\w./-]*\w", GUIDE):
        assert (ROOT / path).exists(), path
    sections = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", GUIDE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", GUIDE)) <= sections


def test_examples_in_yaml_can_be_read() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        assert isinstance(yaml.safe_load(block), dict)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"wheelgate ((?:wheel|token|connection) \w+|rewrite|check)\b", GUIDE))))
def test_commands_and_their_options_exist(command: str) -> None:
    told = subprocess.run([WHEELGATE, *command.split(), "--help"], capture_output=True, text=True, check=True).stdout
    for use in re.findall(rf"wheelgate {command}((?: [^`\n\"]*)?)", GUIDE):
        for option in re.findall(r" (--[a-z-]+)", use):
            assert option in told
