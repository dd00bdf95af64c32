# ruff: noqa: E501 - a file is one piece
"""Files as people and tools write them, in many formats, each with the changes that `wheelgate rewrite` makes and what it leaves.

Reworded from the shapes of public repositories; every host is a placeholder, or one that the product speaks of. In the texts,
``<P>`` is a feed's index with a token in it, ``<V>`` the same with a variable, ``<E>`` without either, ``<B>`` the signed URL of a
blob that is a wheel, ``<F>`` that wheel at Wheelgate, ``<D>`` a feed's own link of the wheel, ``<K>`` a signed container, ``<I>``
Wheelgate's index, ``<Y>`` public PyPI and ``<X>`` somebody else's index.
"""

from __future__ import annotations

import msgspec

GATE = "https://wheelgate.internal"
CANARY = "S3CRETc4nary"
WHEEL = "acme_tool-1.0-py3-none-any.whl"
_FEED = "pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"
_GUID = "0c1f7d0e-11aa-4b3c-9d5e-6f7081920a1b"
WORDS = {
    "<P>": f"https://build:{CANARY}@{_FEED}",
    "<V>": f"https://build:${{PAT}}@{_FEED}",
    "<E>": f"https://{_FEED}",
    "<B>": f"https://acct.blob.core.windows.net/wheels/{WHEEL}?sv=2026-10-06&sr=b&sig={CANARY}%3D",
    "<D>": f"https://pkgs.dev.azure.com/acme/{_GUID}/_packaging/{_GUID}/pypi/download/acme-tool/1/{WHEEL}",
    "<K>": f"https://acct.blob.core.windows.net/wheels?sv=2026-10-06&sig={CANARY}",
    "<F>": f"{GATE}/files/acme-tool/{WHEEL}",
    "<I>": f"{GATE}/simple/",
    "<Y>": "https://pypi.org/simple",
    "<X>": "https://python.example/simple/",
    "<S>": CANARY,
}


def spell(text: str) -> str:
    """Put the addresses in a text's words' places."""
    for word, meant in WORDS.items():
        text = text.replace(word, meant)
    return text


class Input(msgspec.Struct, frozen=True):
    """One file, and the result that is expected of it."""

    format: str
    """As the result names it, with its article, or a part of that."""
    file: str
    text: str
    changes: tuple[tuple[str, str], ...] = ()
    """Pieces that change, each wherever it stands; together they make the new text."""
    left: tuple[int, ...] = ()
    """The lines that are named, because something is left on them."""
    says: str = ""
    """A part of a remark; empty: there is none."""
    refused: str = ""
    """A part of the sentence that refuses it; empty: it is not refused."""

    @property
    def before(self) -> str:
        return spell(self.text)

    @property
    def after(self) -> str:
        text = self.text
        for old, new in self.changes:
            assert old in text, f"{self.file}: {old!r} is not in the text"
            text = text.replace(old, new)
        return spell(text)


_R = "a requirements file"
REQUIREMENTS = (
    Input(_R, "requirements.txt", "acme-tool\nrequests==2.32\n"),
    Input(_R, "requirements.txt", "--extra-index-url <P>\nacme-tool\n", (("--extra-index-url <P>", "--index-url <I>"),)),
    Input(_R, "requirements.txt", "-i <V>\nacme-tool # ours\n", (("-i <V>", "--index-url <I>"),)),
    Input(_R, "dev.in", "-f <K>\nacme-tool\n", (("-f <K>", "--index-url <I>"),)),
    Input(_R, "constraints.txt", "acme-tool @ <B> ; python_version > '3.8'\n", (("<B>", "<F>"),)),
    Input(_R, "requirements.txt", "acme-tool[cli] @ <B>#sha256=00aa\n", (("<B>", "<F>"),)),
    Input(_R, "requirements.txt", "<D>\n", (("<D>", "<F>"),)),
    Input(
        _R,
        "requirements.txt",
        "--index-url <Y>\n--extra-index-url <E>\na\n",
        (("--index-url <Y>\n", ""), ("--extra-index-url <E>", "--index-url <I>")),
    ),
    Input(_R, "requirements.txt", "-i <X>\nacme\n"),
    Input(_R, "requirements.txt", "-i https://u:<S>@python.example/simple/\nacme\n", left=(1,), says="does not answer for"),
    Input(_R, "requirements.txt", "# was <P>\nacme\n", left=(1,), says="comment holds a credential"),
    Input(_R, "requirements.txt", "git+https://acme@dev.azure.com/acme/proj/_git/repo@v1\n"),
    Input(_R, "requirements.txt", "git+https://<S>@dev.azure.com/acme/proj/_git/repo@v1\n", refused="has a credential in it"),
    Input(_R, "requirements.txt", "git+https://x:${PAT}@dev.azure.com/acme/proj/_git/repo\n", says="from the environment"),
    Input(
        _R,
        "requirements.txt",
        "acme @ <B>&versionid=2026-01-01T00:00:00.0000000Z\n",
        (("<B>&versionid=2026-01-01T00:00:00.0000000Z", "<F>"),),
        says="versionid",
    ),
    Input(
        _R,
        "requirements.txt",
        "<B>&snapshot=2026-01-01T00:00:00.0000000Z#sha256=00\n",
        (("<B>&snapshot=2026-01-01T00:00:00.0000000Z", "<F>"),),
    ),
    Input(_R, "requirements.txt", "--no-index\n-f <K>\nacme\n", refused="--no-index would keep pip"),
    Input(
        _R,
        "requirements.txt",
        "acme @ https://acct.blob.core.windows.net/w/latest.zip?sig=<S>\n",
        refused="is not named as a wheel",
    ),
    Input(_R, "requirements.txt", "\ufeff-i <P>\r\nacme\r\n", (("-i <P>", "--index-url <I>"),)),
    Input(
        _R,
        "requirements.txt",
        "a==1 \\\n    --hash=sha256:00\n--extra-index-url \\\n  <P>\n",
        (("--extra-index-url \\\n  <P>", "--index-url <I>"),),
    ),
    Input(_R, "requirements.txt", "pat==1.0.0\nsas==2026.1\ntoken==1.2.3456\nsecret>=1.0.0\n"),
    Input(_R, "requirements.txt", "acme --config-settings=token=<S>\n", left=(1,)),
)

_C = "a conda environment"
CONDA = (
    Input(
        _C,
        "environment.yml",
        "name: e\ndependencies:\n- python=3.11\n- pip:\n  - -i <P>\n  - acme\n",
        (("-i <P>", "--index-url <I>"),),
    ),
    Input(
        _C,
        "conda.yaml",
        "channels: [conda-forge]\ndependencies:\n- pip\n- pip:\n  - mlflow\n  - acme @ <B>\nname: mlflow-env\n",
        (("<B>", "<F>"),),
    ),
    Input(
        _C,
        "conda.yml",
        "dependencies:\n- pip:\n  - acme\nvariables:\n  PIP_EXTRA_INDEX_URL: <P>\n",
        (("PIP_EXTRA_INDEX_URL: <P>", "PIP_INDEX_URL: <I>"),),
    ),
    Input(
        _C,
        "conda.yml",
        "dependencies:\n- pip:\n  - a\nvariables:\n  PIP_INDEX_URL: <Y>\n  PIP_EXTRA_INDEX_URL: <V>\n",
        (("<Y>", "<I>"), ("<V>", "<I>")),
    ),
    Input(_C, "conda.yml", "dependencies:\n- pip:\n  - a\nvariables:\n  AZ_PAT: <S>\n", left=(5,)),
    Input(
        _C,
        "conda.yml",
        'dependencies:\n- pip:\n  - "--extra-index-url <P>"  # feed\n  - a\n',
        (('"--extra-index-url <P>"', '"--index-url <I>"'),),
    ),
    Input(_C, "conda.yml", "dependencies:\n- pip:\n  - a\n  # <P>\n", left=(4,)),
    Input(_C, "conda.yml", "dependencies:\n- pip:\n  - >-\n    acme @\n    <B>\n", refused="write the item in one line"),
    Input(_C, "conda.yml", "name: e\ndependencies: [python=3.10, numpy]\n", says="without any list of packages"),
    Input(_C, "conda.yml", "dependencies:\n- pip: [acme]\nprefix: /opt\n"),
    Input(
        "an MLflow environment",
        "python_env.yaml",
        "python: 3.10.12\nbuild_dependencies:\n- pip==24\n- setuptools\ndependencies:\n- -r requirements.txt\n- acme @ <B>\n",
        (("<B>", "<F>"),),
    ),
    Input(
        "an MLflow environment",
        "python_env.yaml",
        "python: 3.10\nbuild_dependencies:\n- --extra-index-url <P>\n- pip\ndependencies:\n- --extra-index-url <P>\n- acme\n",
        (("--extra-index-url <P>", "--index-url <I>"),),
    ),
    Input("YAML", "python_env.yaml", "dependencies:\n- -i <P>\n- acme\n", (("-i <P>", "--index-url <I>"),)),
)


def _ml(kind: str) -> str:
    return f"$schema: https://azuremlschemas.azureedge.net/latest/{kind}.schema.json\n"


_ENV = "environment:\n  image: mcr.example/base\n  conda_file:\n    dependencies:\n    - python=3.10\n    - pip:\n      - --extra-index-url <P>\n      - acme-tool\n"
_SWAPPED = (("--extra-index-url <P>", "--index-url <I>"),)
AZURE_ML = (
    Input(
        "environment",
        "env.yml",
        _ml("environment") + "name: e\nimage: x\nconda_file:\n  dependencies:\n  - pip:\n    - acme @ <B>\n",
        (("<B>", "<F>"),),
    ),
    Input(
        "environment",
        "env.yml",
        _ml("environment") + "name: e\nimage: x\nconda_file: ./conda.yml\n",
        says="without any list of packages",
    ),
    Input(
        "environment",
        "env.yml",
        _ml("environment") + "name: e\nbuild:\n  path: ./docker\n",
        says="(environment) without any list",
    ),
    Input("commandJob", "job.yml", _ml("commandJob") + "command: python train.py\n" + _ENV, _SWAPPED),
    Input(
        "commandJob",
        "job.yml",
        _ml("commandJob") + "command: pip install --extra-index-url <P> acme && python t.py\nenvironment: azureml:e:1\n",
        (("--extra-index-url <P>", "--index-url <I>"),),
    ),
    Input(
        "commandJob",
        "job.yml",
        _ml("commandJob") + "command: >-\n  pip install -q acme\n  --extra-index-url <V>\n  && python t.py\n",
        (("--extra-index-url <V>", "--index-url <I>"),),
    ),
    Input(
        "commandJob",
        "job.yml",
        _ml("commandJob") + "command: python t.py\nenvironment_variables:\n  PIP_EXTRA_INDEX_URL: <P>\n  MODE: x\n",
        (("PIP_EXTRA_INDEX_URL: <P>", "PIP_INDEX_URL: <I>"),),
    ),
    Input(
        "commandJob",
        "job.yml",
        _ml("commandJob") + "command: python t.py --pat <S>\nenvironment_variables:\n  DEVOPS_PAT: <S>\n",
        left=(2, 4),
    ),
    Input("commandJob", "job.yml", _ml("commandJob") + "command: python t.py\nenvironment_variables:\n  FEED: <P>\n", left=(4,)),
    Input(
        "commandJob",
        "job.yml",
        _ml("commandJob")
        + "command: python t.py\ninputs:\n  d:\n    path: https://acct.blob.core.windows.net/data/x.csv?sig=<S>\n",
        left=(5,),
    ),
    Input(
        "commandJob",
        "job.yml",
        _ml("commandJob") + "command: python t.py\ninputs:\n  d:\n    path: https://acct.blob.core.windows.net/data/x.csv\n",
        says="without any list",
    ),
    Input(
        "sweepJob",
        "sweep.yml",
        _ml("sweepJob")
        + "trial:\n  command: python t.py\n  environment:\n    conda_file:\n      dependencies:\n      - pip:\n        - -i <P>\n        - a\n",
        (("-i <P>", "--index-url <I>"),),
    ),
    Input(
        "pipelineJob",
        "pipeline.yml",
        _ml("pipelineJob")
        + "jobs:\n  one:\n    environment:\n      conda_file:\n        dependencies:\n        - pip:\n          - --extra-index-url <P>\n          - a\n  two:\n    environment:\n      conda_file:\n        dependencies:\n        - pip:\n          - --extra-index-url <P>\n          - b @ <B>\n",
        (("--extra-index-url <P>", "--index-url <I>"), ("<B>", "<F>")),
    ),
    Input(
        "pipelineJob",
        "pipeline.yml",
        _ml("pipelineJob") + "settings: {default_compute: c}\njobs:\n  a:\n    component: ./a.yml\n",
        says="without any list of packages",
    ),
    Input("commandComponent", "component.yml", _ml("commandComponent") + "name: c\ncommand: python c.py\n" + _ENV, _SWAPPED),
    Input(
        "managedOnlineDeployment",
        "deployment.yml",
        _ml("managedOnlineDeployment") + "name: blue\n" + _ENV + "environment_variables:\n  PIP_INDEX_URL: <V>\n",
        (*_SWAPPED, ("<V>", "<I>")),
    ),
    Input("kubernetesOnlineDeployment", "deployment.yml", _ml("kubernetesOnlineDeployment") + _ENV, _SWAPPED),
    Input("batchDeployment", "batch.yml", _ml("batchDeployment") + "endpoint_name: b\n" + _ENV, _SWAPPED),
    Input("modelBatchDeployment", "batch.yml", _ml("modelBatchDeployment") + "compute: azureml:c\n" + _ENV, _SWAPPED),
    Input(
        "data",
        "data.yml",
        _ml("data") + "type: uri_file\npath: azureml://datastores/d/paths/x.csv\n",
        says="(data) without any list",
    ),
    Input("onlineEndpoint", "endpoint.yml", _ml("onlineEndpoint") + "name: e\nauth_mode: key\n", says="without any list"),
    Input(
        "workspaceConnection",
        "connection.yml",
        _ml("workspaceConnection") + "type: python_feed\ntarget: <E>\ncredentials:\n  type: pat\n  pat: <S>\n",
        left=(3, 6),
    ),
    Input(
        "a run of Azure ML",
        "my.runconfig",
        "framework: Python\nenvironment:\n  python:\n    condaDependencies:\n      dependencies:\n      - python=3.8\n      - pip:\n        - --extra-index-url <P>\n        - azureml-defaults\n",
        _SWAPPED,
    ),
    Input(
        "environment of Azure ML",
        "azureml.yml",
        "python:\n  condaDependencies:\n    dependencies:\n    - pip:\n      - acme @ <B>\n",
        (("<B>", "<F>"),),
    ),
    Input("YAML", "stored.yml", 'condaFile: "dependencies:\\n- pip:\\n  - -i <P>\\n"\n', left=(1,)),
    Input(
        "YAML",
        "stored.yml",
        'condaFile: "dependencies:\\n- pip:\\n  - -i https:\\u002f/build:<S>@pkgs.dev.azure.com/a/_packaging/f/pypi/simple/\\n"\n',
        left=(1,),
    ),
)

_J = "a JSON document"
JSON = (
    Input(
        _J,
        "azureml_environment.json",
        '{\n  "python": {"condaDependencies": {"dependencies": ["python=3.8", {"pip": ["--extra-index-url <P>", "azureml-defaults"]}]}}\n}\n',
        _SWAPPED,
    ),
    Input(
        _J,
        "azureml_environment.json",
        '{"python": {"condaDependencies": {"dependencies": [{"pip": ["acme @ <B>", "b"]}]}},\n "environmentVariables": {"PIP_EXTRA_INDEX_URL": "<P>"}}\n',
        (("<B>", "<F>"), ('"PIP_EXTRA_INDEX_URL": "<P>"', '"PIP_INDEX_URL": "<I>"')),
    ),
    Input(
        _J,
        "azureml_environment.json",
        '{"docker": {"baseImageRegistry": {"address": "r.example", "username": "u", "password": "<S>"}}}\n',
        left=(1,),
    ),
    Input(
        _J,
        "azureml_environment.json",
        '{"docker": {"baseDockerfile": "FROM x\\nRUN pip install -i <P> acme\\n"}}\n',
        (("-i <P>", "-i <I>"),),
    ),
    Input(
        _J,
        "environment.json",
        '{"variables": {"X": "https:\\/\\/u:<S>@pkgs.dev.azure.com\\/acme\\/_packaging\\/team\\/pypi\\/simple\\/"}}\n',
        left=(1,),
    ),
    Input(_J, "environment.json", '{"a": 1, "b": [true, null, "x"]}\n', says="without any list"),
    Input(_J, "environment.json", '{"a": 1, "a": 2}\n', refused="says one thing twice"),
    Input(_J, "environment.json", '{"a": [\n', refused="is not valid JSON at line 2"),
    Input(
        _J,
        "devcontainer.json",
        '{"build": {"args": {"PIP_INDEX_URL": "<V>"}}, "postCreateCommand": "uv pip install --extra-index-url <V> acme"}\n',
        (("--extra-index-url <V>", "--index-url <I>"), ("<V>", "<I>")),
    ),
    Input(
        _J,
        "environment.json",
        '{"dependencies": [{"pip": [\n  "requests",\n  "--extra-index-url <P>",\n  "-f <K>",\n  "acme"\n]}]}\n',
        (('  "--extra-index-url <P>",\n  "-f <K>",\n', '  "--index-url <I>",\n  '), ('  "acme"', '"acme"')),
    ),
)

_D = "a Dockerfile"
_FROM = "FROM python:3.12-slim\n"
DOCKER = (
    Input(
        _D,
        "Dockerfile",
        _FROM + "ENV PIP_EXTRA_INDEX_URL=<P>\nRUN pip install acme\n",
        (("PIP_EXTRA_INDEX_URL=<P>", "PIP_INDEX_URL=<I>"),),
    ),
    Input(_D, "Dockerfile", _FROM + "ENV PIP_INDEX_URL <P>\n", (("<P>", "<I>"),)),
    Input(_D, "Dockerfile", _FROM + "RUN pip install a -f <K>&& echo\n", (("-f <K>&&", "-i <I>&&"),)),
    Input(
        _D,
        "Dockerfile",
        _FROM + "RUN sh -c 'pip install --extra-index-url <P> a'\n",
        (("--extra-index-url <P>", "--index-url <I>"),),
    ),
    Input(_D, "Dockerfile", _FROM + "RUN pip install -i <E>'$X' a\n", left=(2,)),
    Input(
        _D,
        "Dockerfile",
        _FROM + "RUN pip install --no-index --find-links <K> a\n",
        (("--find-links <K>", "--index-url <I>"),),
        left=(2,),
    ),
    Input(
        "a configuration file",
        "pip.conf",
        "[global]\nno-index = true\nfind-links = <K>\n",
        (("find-links = <K>", "index-url = <I>"),),
        left=(2,),
    ),
    Input(
        _D, "Dockerfile", _FROM + 'ENV PIP_INDEX_URL="<Y>" \\\n    PIP_EXTRA_INDEX_URL="<V>"\n', (("<Y>", "<I>"), ("<V>", "<I>"))
    ),
    Input(
        _D,
        "Dockerfile",
        _FROM + "ARG PAT\nRUN pip install --extra-index-url <V> acme\n",
        (("--extra-index-url <V>", "--index-url <I>"),),
    ),
    Input(_D, "Dockerfile", _FROM + "ARG PIP_INDEX_URL=<E>\nENV PIP_INDEX_URL=${PIP_INDEX_URL}\n", (("<E>", "<I>"),)),
    Input(
        _D,
        "Dockerfile",
        _FROM + "RUN pip install \\\n    --index-url <Y> \\\n    --extra-index-url <V> \\\n    -r requirements.txt\n",
        (("--index-url <Y> \\\n    --extra-index-url <V>", "--index-url <I>"),),
    ),
    Input(
        _D,
        "Dockerfile",
        _FROM + "RUN pip install -i <E> a && pip install -f <K> b\n",
        (("-i <E>", "-i <I>"), ("-f <K>", "-i <I>")),
    ),
    Input(_D, "Dockerfile", _FROM + 'RUN pip install "acme @ <B>"\n', (("<B>", "<F>"),)),
    Input(_D, "Dockerfile", _FROM + "RUN pip install '<B>' --no-deps\n", (("<B>", "<F>"),)),
    Input(
        _D,
        "Dockerfile",
        _FROM + 'RUN ["pip", "install", "--extra-index-url", "<P>", "acme"]\n',
        (('"--extra-index-url", "<P>"', '"--index-url", "<I>"'),),
    ),
    Input(_D, "Dockerfile", _FROM + "RUN curl -fsSL '<B>' -o /tmp/a.whl\n", left=(2,)),
    Input(_D, "Dockerfile", _FROM + "RUN curl -f <E>acme/\n", left=(2,)),
    Input(
        _D,
        "Dockerfile",
        _FROM
        + "RUN --mount=type=secret,id=pat pip install --extra-index-url https://build:$(cat /run/secrets/pat)@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/ acme\n",
        left=(2,),
    ),
    Input(
        _D,
        "Dockerfile",
        _FROM + "RUN <<EOF\npip install uv\nuv pip install --system --index-url <V> acme\nEOF\n",
        (("--index-url <V>", "--index-url <I>"),),
    ),
    Input(_D, "Dockerfile", _FROM + "COPY <<EOF /etc/pip.conf\n[global]\nextra-index-url = <P>\nEOF\n", left=(4,)),
    Input(
        _D,
        "Dockerfile",
        "FROM a AS one\nENV PIP_EXTRA_INDEX_URL=<V>\nFROM b\nENV PIP_EXTRA_INDEX_URL=<V>\n",
        (("PIP_EXTRA_INDEX_URL=<V>", "PIP_INDEX_URL=<I>"),),
    ),
    Input(
        _D,
        "Dockerfile",
        _FROM + "ENV UV_EXTRA_INDEX_URL=<V> UV_INDEX_STRATEGY=unsafe-best-match\n",
        (("UV_EXTRA_INDEX_URL=<V>", "UV_INDEX_URL=<I>"),),
    ),
    Input(
        _D,
        "Dockerfile",
        _FROM + "ENV UV_INDEX=team=<V>\nRUN uv sync --frozen\n",
        (("UV_INDEX=team=<V>", "UV_DEFAULT_INDEX=team=<I>"),),
    ),
    Input(_D, "Dockerfile", _FROM + "RUN uv pip install --default-index <E> acme\n", (("<E>", "<I>"),)),
    Input(
        _D,
        "Dockerfile",
        _FROM + "RUN pip config set global.extra-index-url <P>\n",
        (("global.extra-index-url <P>", "global.index-url <I>"),),
    ),
    Input(_D, "Dockerfile", _FROM + "ENV AZURE_PAT=<S>\nRUN pip install acme\n", left=(2,)),
    Input(_D, "Dockerfile", _FROM + "# RUN pip install -i <E> acme\nRUN pip install acme\n", says="a Dockerfile without any"),
    Input(_D, "Dockerfile", _FROM + "RUN pip install git+https://<S>@github.com/acme/tool.git\n", left=(2,)),
    Input(
        _D, "Dockerfile", _FROM + "ENV PIP_EXTRA_INDEX_URL='<P> <X>'\n", (("'<P> <X>'", "'<I> <X>'"),), says="make it a source"
    ),
    Input(
        _D,
        "train.dockerfile",
        _FROM + "ENV PIP_EXTRA_INDEX_URL='<P> <E>'\n",
        (("PIP_EXTRA_INDEX_URL='<P> <E>'", "PIP_INDEX_URL='<I>'"),),
    ),
    Input(
        _D,
        "Dockerfile.gpu",
        "ARG BASE=x\nFROM ${BASE}\nRUN pip install --find-links=<K> --extra-index-url=<V> acme\n",
        (("--find-links=<K> --extra-index-url=<V>", "--index-url=<I>"),),
    ),
    Input(
        _D,
        "Containerfile",
        _FROM
        + "RUN pip install --index-url https://build:S3\\\nCRETc4nary@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/ acme\n",
        left=(2, 3),
    ),
    Input(
        _D,
        "Dockerfile",
        _FROM + "RUN pip install --extra-index-url https://pkgs.dev.azure.com/${ORG}/_packaging/team/pypi/simple/ acme\n",
        left=(2,),
    ),
    Input(_D, "Dockerfile", _FROM + "RUN pip install torch --index-url https://download.pytorch.org/whl/cpu\n"),
)

_E = "an environment file"
_SH = "a script"
SCRIPTS = (
    Input(_E, ".env", "PIP_EXTRA_INDEX_URL=<P>\nOTHER=1\n", (("PIP_EXTRA_INDEX_URL=<P>", "PIP_INDEX_URL=<I>"),)),
    Input(_E, ".env", 'export PIP_INDEX_URL="<V>"\n', (("<V>", "<I>"),)),
    Input(
        _E,
        ".env.example",
        "AZURE_DEVOPS_PAT=\nPIP_INDEX_URL=https://build:<your-pat>@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/\n",
        left=(2,),
    ),
    Input(
        _E, "prod.env", "UV_INDEX_URL=<Y>\nUV_EXTRA_INDEX_URL=<E>\nDB_PASSWORD=<S>\n", (("<Y>", "<I>"), ("<E>", "<I>")), left=(3,)
    ),
    Input(_E, ".env", "PIP_FIND_LINKS=<K>\nPIP_INDEX_URL=<E>\n", (("<K>", ""), ("<E>", "<I>"))),
    Input(
        _SH,
        "install.sh",
        "#!/bin/sh\nset -e\npip install -i <V> acme; uv sync --index <E>\n",
        (("-i <V>", "-i <I>"), ("--index <E>", "--default-index <I>")),
    ),
    Input(
        _SH,
        "install.sh",
        'pip install acme --extra-index-url "https://build:${PAT}@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"\n',
        (('--extra-index-url "https://build:${PAT}@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"', '--index-url "<I>"'),),
    ),
    Input(_SH, "install.sh", 'FEED="<P>"\npip install -i "$FEED" acme\n', left=(1,)),
    Input(_SH, "install.sh", 'curl -H "Authorization: Basic <S>" https://dev.azure.com/acme/_apis/x\n', left=(1,)),
    Input(_SH, "install.ps1", '$env:PIP_INDEX_URL = "<P>"\npip install acme\n', (("<P>", "<I>"),)),
    Input(
        _SH,
        "install.cmd",
        "set PIP_EXTRA_INDEX_URL=<V>\r\npip install acme\r\n",
        (("PIP_EXTRA_INDEX_URL=<V>", "PIP_INDEX_URL=<I>"),),
    ),
    Input(_SH, "install.sh", 'export PIP_INDEX_URL="${PIP_INDEX_URL:-<E>}"\n', (("<E>", "<I>"),)),
    Input(_SH, "x", "#!/usr/bin/env bash\npipx install --index-url <E> acme\n", (("<E>", "<I>"),)),
    Input(
        _SH,
        "up.sh",
        "uv publish --publish-url https://pkgs.dev.azure.com/acme/_packaging/team/pypi/upload/\npoetry source add team <E>\n",
        left=(2,),
    ),
    Input(_SH, "netrc.sh", 'echo "machine pkgs.dev.azure.com login build password <S>" > ~/.netrc\n', left=(1,)),
)

_I = "a configuration file"
INI = (
    Input(_I, "pip.conf", "[global]\nextra-index-url = <P>\n", (("extra-index-url = <P>", "index-url = <I>"),)),
    Input(_I, "pip.ini", "[global]\r\nindex-url=<V>\r\ntrusted-host = pkgs.dev.azure.com\r\n", (("<V>", "<I>"),)),
    Input(
        _I,
        "pip.conf",
        "[global]\nindex-url = <Y>\nextra-index-url = <P>\ntimeout = 60\n",
        (("<Y>", "<I>"), ("extra-index-url = <P>\n", "")),
    ),
    Input(
        _I,
        "pip.conf",
        "[global]\nextra-index-url =\n    <P>\n    <E>\n",
        (("extra-index-url =\n    <P>\n    <E>", "index-url =\n    <I>"),),
    ),
    Input(_I, "pip.conf", "[global]\nextra-index-url =\n    <X>\n    <P>\n", (("<P>", "<I>"),), says="make it a source"),
    Input(_I, "pip.conf", "[install]\nfind-links = <K>\n", (("find-links = <K>", "index-url = <I>"),)),
    Input(_I, "pip.conf", "[global]\n; was <P>\nindex-url = <I>\n", left=(2,)),
    Input(_I, "pip.conf", "[global]\nindex-url = <I>\n"),
    Input(_I, "pip.conf", "[global]\nindex_url: <E>\n", (("<E>", "<I>"),)),
    Input(_I, "my-pip-settings", "# pip\n[global]\nindex-url = <E>\n", (("<E>", "<I>"),)),
    Input(
        _I,
        "tox.ini",
        "[testenv]\nsetenv =\n    PIP_EXTRA_INDEX_URL = <V>\ndeps = acme\n",
        (("PIP_EXTRA_INDEX_URL = <V>", "PIP_INDEX_URL = <I>"),),
    ),
    Input(
        _I,
        "tox.ini",
        "[testenv]\ninstall_command = pip install --extra-index-url <V> {opts} {packages}\n",
        (("--extra-index-url <V>", "--index-url <I>"),),
    ),
    Input(_I, "setup.cfg", "[easy_install]\nindex_url = <X>\n[metadata]\nname = x\n"),
    Input(_I, "setup.cfg", "[options]\ninstall_requires =\n    acme @ <B>\n", left=(3,)),
)

_T = "a pyproject.toml"
PYPROJECT = (
    Input(
        _T, "pyproject.toml", '[[tool.uv.index]]\nname = "team"\nurl = "<P>"\n', (('url = "<P>"', 'url = "<I>"\ndefault = true'),)
    ),
    Input(
        _T,
        "pyproject.toml",
        '[[tool.uv.index]]\nurl = "<E>"\ndefault = true\npublish-url = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/upload/"\n',
        (("<E>", "<I>"),),
    ),
    Input(
        _T,
        "pyproject.toml",
        '[[tool.uv.index]]\nname = "team"\nurl = "<E>"\nexplicit = true\n\n[tool.uv.sources]\nacme = { index = "team" }\n',
        (("<E>", "<I>"),),
    ),
    Input(
        _T,
        "pyproject.toml",
        '[tool.uv]\nindex = [{ name = "a", url = "<E>" }, { name = "pypi", url = "<Y>", default = true }]\n',
        (("<E>", "<I>"), ("<Y>", "<I>")),
    ),
    Input(_T, "pyproject.toml", '[tool.uv]\nindex = [{ name = "a", url = "<E>" }]\n', (('"<E>"', '"<I>", default = true'),)),
    Input(_T, "pyproject.toml", '[tool.uv]\nindex-url = "<Y>"\nextra-index-url = ["<V>"]\n', (("<Y>", "<I>"), ('["<V>"]', "[]"))),
    Input(
        _T,
        "pyproject.toml",
        '[tool.uv]\nextra-index-url = [\n  "<X>", # theirs\n  "<P>",\n]\n',
        (("[tool.uv]\n", '[tool.uv]\nindex-url = "<I>"\n'), ('  "<P>",\n', "  \n")),
        says="make it a source",
    ),
    Input(
        _T,
        "pyproject.toml",
        '[tool.uv.pip]\nextra-index-url = ["<P>"]\n',
        (('extra-index-url = ["<P>"]', 'index-url = "<I>"\nextra-index-url = []'),),
    ),
    Input(
        _T,
        "pyproject.toml",
        '[project]\nname = "x"\nversion = "1"\ndependencies = [\n  "acme @ <B> ; python_version > \'3\'",\n]\n',
        (("<B>", "<F>"),),
    ),
    Input(
        _T,
        "pyproject.toml",
        '[dependency-groups]\ndev = ["acme[x] @ <D>#sha256=00"]\n[build-system]\nrequires = ["acme@<B>"]\n',
        (("<D>", "<F>"), ("<B>", "<F>")),
    ),
    Input(_T, "pyproject.toml", '[tool.uv.sources]\nacme = { url = "<B>" }\n', (("<B>", "<F>"),)),
    Input(
        _T,
        "pyproject.toml",
        '[[tool.poetry.source]]\nname = "team"\nurl = "<E>"\npriority = "supplemental"\n',
        (("<E>", "<I>"), ("supplemental", "primary")),
    ),
    Input(
        _T,
        "pyproject.toml",
        '[[tool.poetry.source]]\nname = "team"\nurl = "<E>"\n\n[[tool.poetry.source]]\nname = "PyPI"\npriority = "primary"\n',
        (("<E>", "<I>"),),
    ),
    Input(_T, "pyproject.toml", '[[tool.poetry.source]]\nname = "team"\nurl = "<E>"\npriority = "explicit"\n', (("<E>", "<I>"),)),
    Input(_T, "pyproject.toml", '[tool.poetry.dependencies]\nacme = { url = "<B>" }\n', (("<B>", "<F>"),)),
    Input(
        _T,
        "pyproject.toml",
        '[[tool.pdm.source]]\nname = "team"\nurl = "<P>"\nverify_ssl = true\n',
        (("<P>", "<I>"), ('name = "team"', 'name = "pypi"')),
    ),
    Input(
        _T,
        "pyproject.toml",
        '[[tool.pdm.source]]\nname = "pypi"\nurl = "<Y>"\n[[tool.pdm.source]]\nname = "team"\nurl = "<V>"\n',
        (("<Y>", "<I>"), ("<V>", "<I>")),
    ),
    Input(
        _T,
        "pyproject.toml",
        '[tool.hatch.publish.index.repos.team]\nurl = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/upload/"\n',
    ),
    Input(
        _T,
        "pyproject.toml",
        '[tool.hatch.envs.default.env-vars]\nPIP_EXTRA_INDEX_URL = "<V>"\n',
        (('PIP_EXTRA_INDEX_URL = "<V>"', 'PIP_INDEX_URL = "<I>"'),),
    ),
    Input(_T, "pyproject.toml", '[tool.hatch.envs.test]\nscripts.setup = "pip install -i <V> acme"\n', (("<V>", "<I>"),)),
    Input(_T, "pyproject.toml", '[tool.acme]\nfeed = "<P>"\n', left=(2,)),
    Input(
        _T,
        "pyproject.toml",
        '[[tool.uv.index]]\nurl = "https:\\u002f/build:<S>@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"\n',
        left=(2,),
    ),
    Input(_T, "pyproject.toml", '[project]\nname = "x"\nversion = "1"\n', says="without any list of packages"),
    Input(_T, "pyproject.toml", "[project\n", refused="is not valid TOML at line 1"),
    Input(_T, "pyproject.toml", '[project]\noptional-dependencies.sas = ["acme"]\n', says="without any list"),
    Input(
        "a uv.toml",
        "uv.toml",
        'extra-index-url = ["<P>"]\n',
        (('extra-index-url = ["<P>"]', 'index-url = "<I>"\nextra-index-url = []'),),
    ),
    Input(
        "a uv.toml",
        "uv.toml",
        '[[index]]\nurl = "<E>"\nname = "a"\r\n\r\n[[index]]\nurl = "<X>"\n',
        (('"<E>"\nname', '"<I>"\ndefault = true\nname'),),
        says="make it a source",
    ),
    Input("a uv.toml", "uv.toml", 'find-links = ["<K>"]\nindex-url = "<Y>"\n', (('["<K>"]', "[]"), ("<Y>", "<I>"))),
    Input(
        "a pixi.toml",
        "pixi.toml",
        '[pypi-options]\nindex-url = "<Y>"\nextra-index-urls = ["<E>"]\n',
        (("<Y>", "<I>"), ('["<E>"]', "[]")),
    ),
    Input(
        "a Pipfile",
        "Pipfile",
        '[[source]]\nurl = "<Y>"\nverify_ssl = true\nname = "pypi"\n\n[[source]]\nurl = "<V>"\nname = "team"\n\n[packages]\nacme = { version = "*", index = "team" }\n',
        (("<Y>", "<I>"), ("<V>", "<I>")),
    ),
    Input(
        "a Pipfile", "Pipfile", '[[source]]\nname = "pypi"\nurl = "<Y>"\n[packages]\nacme = { file = "<B>" }\n', (("<B>", "<F>"),)
    ),
)

_G = "a workflow"
_A = "an Azure pipeline"
PIPELINES = (
    Input(
        _G,
        "ci.yml",
        "on: push\njobs:\n  t:\n    runs-on: x\n    env:\n      PIP_EXTRA_INDEX_URL: https://build:${{ secrets.PAT }}@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/\n    steps:\n    - run: pip install acme\n",
        (
            (
                "PIP_EXTRA_INDEX_URL: https://build:${{ secrets.PAT }}@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/",
                "PIP_INDEX_URL: <I>",
            ),
        ),
    ),
    Input(
        _G,
        "ci.yml",
        "on: push\njobs:\n  t:\n    steps:\n    - run: |\n        pip install --upgrade pip\n        pip install --extra-index-url <P> acme\n",
        (("--extra-index-url <P>", "--index-url <I>"),),
    ),
    Input(
        _G,
        "ci.yml",
        'on: push\njobs:\n  t:\n    steps:\n    - run: uv sync\n      env: { UV_INDEX: "team=<V>" }\n',
        (('UV_INDEX: "team=<V>"', 'UV_DEFAULT_INDEX: "team=<I>"'),),
    ),
    Input(_G, "ci.yml", "on: push\njobs:\n  t:\n    steps:\n    - run: echo hi\n      env:\n        PAT: <S>\n", left=(7,)),
    Input(
        _G,
        "ci.yml",
        "on: push\npermissions: {id-token: write}\njobs:\n  t:\n    steps:\n    - uses: x/y@v1\n      with: {password: '${{ secrets.P }}', token: ${{ github.token }}}\n",
        refused="is not valid YAML",
    ),
    Input(
        _G,
        "ci.yml",
        "on: push\npermissions: {id-token: write}\njobs:\n  t:\n    steps:\n    - uses: x/y@v1\n      with:\n        password: ${{ secrets.P }}\n        index-url: <E>\n",
        left=(9,),
    ),
    Input(
        _G,
        "ci.yml",
        "on: push\njobs:\n  t:\n    steps:\n    - run: >\n        pip install acme\n        -f <K>\n",
        (("-f <K>", "-i <I>"),),
    ),
    Input(
        _G, "ci.yml", 'on: push\njobs:\n  t:\n    steps:\n    - run: echo "PIP_INDEX_URL=<V>" >> $GITHUB_ENV\n', (("<V>", "<I>"),)
    ),
    Input(
        _A,
        "azure-pipelines.yml",
        "trigger: none\nvariables:\n  PIP_EXTRA_INDEX_URL: https://build:$(System.AccessToken)@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/\nsteps:\n- script: pip install acme\n",
        (
            (
                "PIP_EXTRA_INDEX_URL: https://build:$(System.AccessToken)@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/",
                "PIP_INDEX_URL: <I>",
            ),
        ),
    ),
    Input(
        _A,
        "azure-pipelines.yml",
        "variables:\n- name: PIP_EXTRA_INDEX_URL\n  value: <V>\n- group: g\nsteps:\n- bash: make\n",
        (("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL"), ("<V>", "<I>")),
    ),
    Input(
        _A,
        "azure-pipelines.yml",
        "steps:\n- script: |\n    python -m pip install \\\n      --index-url <V> \\\n      acme\n",
        (("<V>", "<I>"),),
    ),
    Input(
        _A,
        "azure-pipelines.yml",
        "steps:\n- task: PipAuthenticate@1\n  inputs:\n    artifactFeeds: team\n- script: pip install acme\n",
        says="without any list",
    ),
    Input(
        _A,
        "azure-pipelines.yml",
        'steps:\n- script: echo "##vso[task.setvariable variable=PIP_INDEX_URL]<V>"\n',
        (("<V>", "<I>"),),
    ),
    Input(
        _A,
        "azure-pipelines.yml",
        "steps:\n- task: Bash@3\n  inputs:\n    script: pip install -i <P> acme\n  env:\n    SYSTEM_ACCESSTOKEN: $(System.AccessToken)\n",
        (("<P>", "<I>"),),
    ),
    Input("a workflow or pipeline", "stages.yml", "jobs:\n- job: a\n  variables:\n    FEED: <P>\n", left=(4,)),
    Input(
        "a compose file",
        "docker-compose.yml",
        "services:\n  a:\n    build:\n      args:\n        PIP_INDEX_URL: <V>\n    environment:\n    - PIP_EXTRA_INDEX_URL=<E>\n    - X=1\n",
        (("<V>", "<I>"), ("PIP_EXTRA_INDEX_URL=<E>", "PIP_INDEX_URL=<I>")),
    ),
    Input("a compose file", "compose.yaml", "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: <S>\n", left=(4,)),
    Input(
        "YAML",
        ".pre-commit-config.yaml",
        "repos:\n- repo: https://github.com/x/y\n  hooks:\n  - id: mypy\n    additional_dependencies: ['--extra-index-url=<E>', acme]\n",
        (("--extra-index-url=<E>", "--index-url=<I>"),),
    ),
    Input("YAML", "values.yml", "a: !vault x\n", refused="has a YAML tag"),
    Input("YAML", "two.yml", "a: 1\n---\nb: 2\n", refused="is not valid YAML"),
)

_UV = 'version = 1\nrequires-python = ">=3.10"\n\n'
_HEAD = "\n# Canonical addresses, for `wheelgate rewrite --restore`:\n"
_PACKAGE = '[[package]]\nname = "acme-tool"\nversion = "1.0"\n'
_R_URL = "https://files.pythonhosted.org/packages/aa/bb/cc/requests-2.32.0-py3-none-any.whl"
_R_GATE = "https://wheelgate.internal/files/requests/requests-2.32.0-py3-none-any.whl"
_DONE = "https://pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"
_END = ("<end>", "")
LOCKS = (
    Input(
        "a lock (uv.lock)",
        "uv.lock",
        _UV + _PACKAGE + 'source = { registry = "<E>" }\nwheels = [\n    { url = "<D>", hash = "sha256:00", size = 1 },\n]\n#',
        (('"<E>"', '"<I>"'), ('"<D>"', '"<F>"'), ("\n#", "\n#" + _HEAD + "# wheelgate: <E> for *\n# wheelgate: <D>\n")),
    ),
    Input(
        "a lock (uv.lock)",
        "uv.lock",
        _UV
        + '[[package]]\nname = "requests"\nversion = "2.32.0"\nsource = { registry = "<Y>" }\nwheels = [{ url = "'
        + _R_URL
        + '", hash = "sha256:11" }]\n#',
        (
            ('registry = "<Y>"', 'registry = "https://wheelgate.internal/simple"'),
            (f'"{_R_URL}"', f'"{_R_GATE}"'),
            ("\n#", "\n#" + _HEAD + f"# wheelgate: <Y> for *\n# wheelgate: {_R_URL}\n"),
        ),
    ),
    Input(
        "a lock (uv.lock)",
        "uv.lock",
        _UV
        + '[[package]]\nname = "torch"\nversion = "2.5.0+cpu"\nsource = { registry = "https://download.pytorch.org/whl/cpu" }\nwheels = [{ url = "https://download.pytorch.org/whl/cpu/torch-2.5.0%2Bcpu-cp311-cp311-linux_x86_64.whl", hash = "sha256:11" }]\n',
        says="make it a source",
    ),
    Input(
        "a lock (uv.lock)",
        "uv.lock",
        _UV + _PACKAGE + 'source = { url = "<B>" }\n#',
        (
            ('"<B>"', '"<F>"'),
            ("\n#", "\n#" + _HEAD + "# wheelgate: https://acct.blob.core.windows.net/wheels/acme_tool-1.0-py3-none-any.whl\n"),
        ),
    ),
    Input("a lock (uv.lock)", "uv.lock", _UV + _PACKAGE + 'source = { virtual = "." }\n', says="without any list"),
    Input(
        "a lock (uv.lock)",
        "uv.lock",
        _UV + _PACKAGE + 'source = { git = "https://<S>@github.com/acme/tool?rev=v1#00" }\n',
        left=(7,),
    ),
    Input(
        "a lock (pylock.toml)",
        "pylock.toml",
        'lock-version = "1.0"\ncreated-by = "pip"\n[[packages]]\nname = "acme-tool"\nversion = "1.0"\nindex = "<P>"\n[[packages.wheels]]\nname = "w"\nurl = "<D>"\n[packages.wheels.hashes]\nsha256 = "00"\n#',
        (('"<P>"', '"<I>"'), ('"<D>"', '"<F>"'), ("\n#", "\n#" + _HEAD + "# wheelgate: <E> for *\n# wheelgate: <D>\n")),
    ),
    Input(
        "a lock (pylock.toml)",
        "pylock.dev.toml",
        'lock-version = "1.0"\n[[packages]]\nname = "requests"\nversion = "2.32.0"\nwheels = [{ url = "'
        + _R_URL
        + '", hashes = { sha256 = "11" } }]\n#',
        ((f'"{_R_URL}"', f'"{_R_GATE}"'), ("\n#", "\n#" + _HEAD + f"# wheelgate: {_R_URL}\n")),
    ),
    Input(
        "a lock (poetry.lock)",
        "poetry.lock",
        _PACKAGE
        + 'files = [\n    { file = "acme_tool-1.0-py3-none-any.whl", hash = "sha256:00" },\n]\n\n[package.source]\ntype = "legacy"\nurl = "<E>"\nreference = "team"\n#',
        (('"<E>"', '"<I>"'), ("\n#", "\n#" + _HEAD + "# wheelgate: <E> for *\n")),
    ),
    Input(
        "a lock (poetry.lock)",
        "poetry.lock",
        '[[package]]\nname = "x"\nversion = "1"\n\n[package.source]\ntype = "git"\nurl = "https://acme@dev.azure.com/acme/p/_git/x"\nreference = "HEAD"\n',
        says="without any list",
    ),
    Input(
        "a lock (pdm.lock)",
        "pdm.lock",
        '[metadata]\nstrategy = ["static_urls"]\n\n' + _PACKAGE + 'files = [\n    {url = "<D>", hash = "sha256:00"},\n]\n#',
        (('"<D>"', '"<F>"'), ("\n#", "\n#" + _HEAD + "# wheelgate: <D>\n")),
    ),
    Input(
        "a lock (Pipfile.lock)",
        "Pipfile.lock",
        '{"_meta": {"hash": {"sha256": "00"}, "sources": [{"name": "pypi", "url": "<Y>", "verify_ssl": true}, {"name": "team", "url": "<V>"}]},\n "default": {"acme": {"hashes": ["sha256:00"], "index": "team", "version": "==1.0"}}}\n',
        (
            ('"<Y>"', '"https://wheelgate.internal/simple"'),
            ('"<V>"', '"<I>"'),
            ('{"_meta": {', '{"_meta": {"wheelgate": ["<Y> for *", "<V> for team"],'),
        ),
    ),
)
GROUPS = (REQUIREMENTS, CONDA, AZURE_ML, JSON, DOCKER, SCRIPTS, INI, PYPROJECT, PIPELINES, LOCKS)
INPUTS = [entry for group in GROUPS for entry in group]
