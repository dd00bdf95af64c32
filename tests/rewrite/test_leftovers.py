"""The credentials that are named wherever they stand, the commands that are none, and the time that long lines take."""

from __future__ import annotations

import time
from base64 import b64encode

import pytest

from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.documents import Purpose, Rewritten, rewrite_text

PURPOSE = Purpose(ours=UrlClassifier("https://wheelgate.internal"), gate="https://wheelgate.internal")
SECRET = "k7Qp2Zx9Lm4Rt8Wv3Bn6"


def rewritten(name: str, text: str) -> Rewritten:
    return rewrite_text(name, text, PURPOSE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "POETRY_PYPI_TOKEN_PYPI={}\n"),
        (".env", "AZURE_STORAGE_KEY={}==\n"),
        (".env", "FEED_PASS={}\n"),
        (".env", "PGPASSWORD={}\n"),
        (".env", "passphrase: {}\n"),
        (".env", 'ENDPOINTS=\'{{\\"password\\":\\"{}\\"}}\'\n'),
        ("Dockerfile", "FROM a\nENV PAT {}\n"),
        ("Dockerfile", "FROM a\nENV PIP_FEED_PASSWORD {}\n"),
        ("Dockerfile", "FROM a\nRUN printf 'machine h\\nlogin b\\npassword {}\\n' > /home/app/.netrc\n"),
        ("Dockerfile", "FROM a\nRUN echo default login b password {} > /home/app/.netrc\n"),
        ("Dockerfile", "FROM a\nRUN curl -u b:{} https://h/x\n"),
        ("Dockerfile", "FROM a\nRUN curl -sSL --user 'b:{}' https://h/x\n"),
        ("Dockerfile", "FROM a\nRUN curl -H 'Authorization: token {}' https://h/x\n"),
        ("Dockerfile", "FROM a\nRUN poetry config http-basic.team build {}\n"),
        ("Dockerfile", "FROM a\nRUN poetry config pypi-token.pypi {}\n"),
        ("Dockerfile", "FROM a\nRUN twine upload -u b -p {} dist/*\n"),
        ("Dockerfile", "FROM a\nRUN az login --service-principal -u a -p {} --tenant t\n"),
        ("x.sh", "curl //build:{}@nexus/simple\n"),
        ("x.sh", "open https://h/login?to=https%3A%2F%2Fbuild%3A{}%40nexus\n"),
        ("x.sh", "echo //npm.pkg/:_authToken={} > .npmrc\n"),
        ("x.ps1", "$token = '{}'\n"),
        ("x.ps1", "$p = ConvertTo-SecureString '{}' -AsPlainText\n"),
        ("x.yml", "x: &a {}\ntoken: *a\n"),
        ("x.yml", "token: |\n  {}\n"),
        ("x.yml", "variables:\n- name: PAT\n  value: {}\n"),
        ("x.yml", "variables:\n- value: {}\n  name: feedToken\n"),
        ("x.yml", "variables:\n  feedToken: {}\n"),
        ("x.json", '{{"name": "FEED_PAT", "value": "{}"}}'),
        ("pyproject.toml", '[project.scripts]\ntoken = "{}"\n'),
        ("pyproject.toml", '[tool.x]\ntoken = "build:{}"\n'),
        ("x.yml", "url: https://h/{}/acme/python/simple/\n".replace("{}", "{0}{0}")),
        ("x.yml", "# https://h/{}/acme-1.0-py3-none-any.whl\n".replace("{}", "{0}{0}")),
        ("x.yml", "url: https://h/api/run?code={}==\n"),
        ("x.yml", "url: https://h/x?a=b&X-Amz-Signature={}\n"),
        ("x.yml", "url: https://h/x?private_token={}\n"),
        ("x.sh", "echo $1{} | docker login\n".replace("echo ", "PASSWORD=")),
        ("x.yml", "password: (x{}\n"),
        ("x.yml", "password: '%7{}'\n"),
        ("x.yml", "password: '*{}!'\n"),
    ],
)
def test_a_credential_is_named(name: str, text: str) -> None:
    done = rewritten(name, text.format(SECRET))
    assert done.left
    assert SECRET not in "".join(sentence for _, sentence in done.left)


KINDS_OF_TOKENS = {
    "of Azure DevOps": "".join(chr(97 + at * 7 % 26) for at in range(50)) + "27",
    "of Azure DevOps, new": f"{SECRET * 4}"[:76] + "AZDO" + "4xYz",
    "of an application of Entra": f"a1B8Q~{SECRET}{SECRET}"[:40],
    "of a storage account": f"{SECRET * 5}"[:86] + "==",
    "JSON Web Token": f"eyJ{SECRET}.eyJ{SECRET}.{SECRET}",
    "to deploy from GitLab": f"gldt-{SECRET}",
    "of Hugging Face": "hf_" + "abcDEfGhiJ" * 3,
    "of npm": f"npm_{SECRET}{SECRET[:10]}",
    "a reference": f"cmVmdGtu{SECRET}",
    "a key": "-----BEGIN OPENSSH PRIVATE KEY-----",
    "base64 of a URL": b64encode(f"https://build:{SECRET}@h/simple/".encode()).decode(),
    "base64 of a setting": b64encode(f"password={SECRET}".encode()).decode(),
}


@pytest.mark.parametrize("kind", KINDS_OF_TOKENS)
@pytest.mark.parametrize(("name", "text"), [("x.sh", "echo {}\n"), ("x.json", '{{"x": {{"{}": 1}}}}'), ("uv.toml", "# {}\n")])
def test_a_token_is_known_by_its_shape(kind: str, name: str, text: str) -> None:
    done = rewritten(name, text.format(KINDS_OF_TOKENS[kind]))
    assert done.left
    assert SECRET not in "".join(sentence for _, sentence in done.left)


@pytest.mark.parametrize("text", ['{"auths": {"h": {"auth": "%s"}}}', '{"_auth": "%s"}'])
def test_a_user_and_a_password_in_base64_are_named(text: str) -> None:
    assert rewritten("x.json", text % b64encode(f"build:{SECRET}".encode()).decode()).left
    assert rewritten("x.json", text % b64encode(b"nothing of the kind here").decode()).left == []


@pytest.mark.parametrize(
    "text",
    [
        "# sha256:" + "0123456789abcdef" * 4,
        "# sha512-" + "Ab3" * 28 + "Ab==",
        "# 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "# https://h/packages/" + "0a1b2c3d" * 7 + "/acme_tool-1.0-cp311-manylinux2014_x86_64.whl",
        "# https://docs.example.com/document/d/1AbCdEf2GhIjKl3MnOpQr4StUvWx/edit",
        "pip install global-search-engine-plugin-of-acme glance-store-client-library",
        "token = (os.environ.get('TOKEN') or",
        "# https://h/org/AcmeDataScienceNotebooks/blob/main/SomeLongNameOfANotebook",
        "# https://h/d/6ba7b810-9dad-11d1-80b4-00c04fd430c8/x?code=short&key=other",
        "# " + "abcdefghijklmnopqrstuvwxyz" * 2,
        "# Lorem/ipsum/dolor/sit/amet/consectetur",
        "# " + b64encode(b"some words that say nothing at all").decode(),
        "PASSWORD=$1",
        "PASSWORD=%FEED_PASSWORD%",
        "PASSWORD=$(get secret)",
        "PASSWORD=********",
    ],
)
def test_digests_names_and_references_are_no_secrets(text: str) -> None:
    assert rewritten("x.sh", text + "\n").left == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", '[project.scripts]\ntoken = "acme.cli:main"\n'),
        ("pyproject.toml", '[project.entry-points."acme.plugins"]\nsecret-scan = "acme.scan:main"\npat = "acme.pat:run"\n'),
        ("pyproject.toml", '[tool.poetry.scripts]\nsecret = "acme.cli:main"\n'),
        ("x.ps1", "$token = Get-AzAccessToken\n$env:PAT = $token\n"),
        ("x.yml", "variables:\n- name: PAT\n  value: $(System.AccessToken)\n- name: greeting\n  value: good-morning\n"),
        ("x.yml", "x: &a $(PAT)\nfeedToken: *a\n"),
        ("Dockerfile", "FROM a\nRUN curl -u $USER:$PAT https://h/x && docker login -u x -p $PAT h\nENV PAT $PAT\n"),
        (
            "x.sh",
            "# the default login and its password are asked\ncurl https://h/x -o x  # see https://h/a:b\nmkdir -p somewhere\n",
        ),
    ],
)
def test_a_command_or_a_variable_is_no_credential(name: str, text: str) -> None:
    assert rewritten(name, text).left == []


@pytest.mark.parametrize("text", ["x='''" + ";https://a" * 10_000 + "'''\n", "x='''" + "curl default login " * 5_000 + "'''\n"])
def test_a_long_line_is_searched_in_little_time(text: str) -> None:
    begin = time.process_time()
    rewritten("uv.toml", text)
    assert time.process_time() - begin < 5
