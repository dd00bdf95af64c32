"""The settings: where they come from, which wins, and what a mistake in them is told."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheelgate.config import PUBLIC_INDEX, Config, SecretMissing, load, parse_duration_s, read_client_settings
from wheelgate.config.source import PUBLIC_FILES
from wheelgate.core.errors import ConfigurationError

Load = Callable[..., Config]
CONTAINER = '[[source]]\nname = "box"\ntype = "blob"\nurl = "https://acct.blob.core.windows.net/c"\n'
NO_CONTAINER = (
    '{key}.url: must be a folder ("file:./data") or a container ("https://ACCOUNT.blob.core.windows.net/CONTAINER"); '
    "this URL names no container"
)
INDEX = '[[source]]\nname = "feed"\ntype = "index"\nurl = "https://index.example.com/simple/"\nprivate = true\n'


@pytest.fixture
def given_toml(tmp_path: Path) -> Load:
    """Loads settings from a text, with no environment but the one given."""

    def loaded(text: str = "", *, env: dict[str, str] | None = None, flags: dict[str, object] | None = None) -> Config:
        path = tmp_path / "wheelgate.toml"
        path.write_text(text)
        return load(path, environment=env or {}, flags=flags)

    return loaded


def problems_of(load_it: Callable[[], object]) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_it()
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_without_any_settings_it_serves_uploads_and_public_pypi_on_this_machine_only() -> None:
    config = load(environment={})
    assert (config.server.host, config.server.port, config.server.is_loopback) == ("127.0.0.1", 8080, True)
    assert config.anonymous_read
    assert [(s.name, s.type, s.is_private) for s in config.source] == [("uploads", "store", True), ("pypi", "index", False)]
    assert config.source[1].index_url == PUBLIC_INDEX
    assert config.source[1].all_file_hosts == (PUBLIC_FILES,)
    assert config.policy.reserved == []
    assert config.policy.merge == []
    assert config.store.delivery == "redirect"
    assert config.data.is_absolute()
    assert config.data.name == "wheelgate"
    assert config.store_folder == config.data / "store"


def test_an_empty_file_is_the_same_as_none(given_toml: Load) -> None:
    config = given_toml("")
    assert config.model_copy(update={"folder": Path.cwd()}) == load(environment={})


def test_with_any_source_nothing_is_implied(given_toml: Load) -> None:
    assert [source.name for source in given_toml(INDEX).source] == ["feed"]


def test_the_whole_of_it(given_toml: Load) -> None:
    config = given_toml(
        """
        [server]
        host = "0.0.0.0"
        port = 9000
        anonymous = "read"
        path_prefix = "/python"
        public_url = "https://wheels.example.com/python"

        [store]
        url = "file:./kept"
        delivery = "stream"

        [[source]]
        name = "uploads"
        type = "store"

        [[source]]
        name = "shelf"
        type = "directory"
        url = "file:./wheels"

        [[source]]
        name = "feed"
        type = "index"
        url = "https://index.example.com/simple/"
        private = true
        only = ["Acme_*"]
        delivery = "stream"
        file_hosts = ["files.example.com", "*.example.net", "near.example.com:8443"]
        fresh = "5m"
        absent = 30
        strict = true

        [policy]
        reserved = ["acme-*"]
        [[policy.merge]]
        names = ["acme-ml*"]
        sources = ["uploads", "feed"]
        """
    )
    uploads, shelf, feed = config.source
    assert not config.server.is_loopback
    assert config.base_url == "https://wheels.example.com/python"
    assert config.store_folder == config.folder / "kept"
    assert config.get_source_folder(shelf) == config.folder / "wheels"
    assert (uploads.is_private, shelf.is_private, feed.is_private) == (True, True, True)
    assert (feed.fresh_s, feed.absent, feed.strict, feed.only) == (300, 30, True, ["Acme_*"])
    assert feed.all_file_hosts == ("files.example.com", "*.example.net", "near.example.com:8443")
    assert config.policy.merge[0].sources == ["uploads", "feed"]


@pytest.mark.parametrize(
    ("lines", "private"),
    [
        ('url = "https://index.example.com/simple/"\nprivate = true\n', True),
        ('url = "https://index.example.com/simple/"\nprivate = false\n', False),
        ('url = "https://index.example.com/simple/"\nonly = ["acme-*"]\n', True),
        ('url = "https://index.example.com/simple/"\nonly = ["torch"]\nprivate = false\n', False),
        (f'url = "{PUBLIC_INDEX}"\n', False),
        ("", False),
        ("private = true\n", True),
    ],
)
def test_an_index_is_private_by_what_its_operator_says(given_toml: Load, lines: str, private: bool) -> None:
    (index,) = given_toml(f'[[source]]\nname = "index"\ntype = "index"\n{lines}').source
    assert index.is_private is private


@pytest.mark.parametrize("more", ["", '[[connection]]\nname = "a"\ntarget = "https://index.example.com"\nvalue = "env:A"\n'])
def test_nobody_guesses_if_an_index_is_private(given_toml: Load, more: str) -> None:
    """Taken for public, it loses its names to strangers; taken for private, it makes those of the whole world ours."""
    undecided = '[[source]]\nname = "index"\ntype = "index"\nurl = "https://index.example.com/simple/"\n'
    problem = next(problem for problem in problems_of(lambda: given_toml(undecided + more)) if problem.startswith("source"))
    assert problem.startswith("source[0].private: has to be said of an index with a URL of its own: true if its names are yours")


def test_a_redirect_means_another_index_unless_that_is_private_and_for_some_names_alone(given_toml: Load) -> None:
    written = [
        ("team", 'url = "https://team.example.com/simple/"\nprivate = true'),
        ("old", 'url = "https://old.example.com/simple/"\nprivate = true'),
        ("some", 'url = "https://some.example.com/simple/"\nonly = ["acme-*"]'),
        ("wheels", 'url = "https://wheels.example.com/whl/"\nprivate = false\nonly = ["torch*"]'),
        ("pypi", ""),
    ]
    config = given_toml("".join(f'[[source]]\nname = "{name}"\ntype = "index"\n{more}\n' for name, more in written))
    assert config.find_neighbours(config.source[0]) == {
        "old": "https://old.example.com/simple/",
        "wheels": "https://wheels.example.com/whl/",
        "pypi": PUBLIC_INDEX,
    }


@pytest.mark.parametrize(("private", "fresh_s"), [("true", 60), ("false", 600)])
def test_pages_of_private_sources_are_asked_for_more_often(given_toml: Load, private: str, fresh_s: float) -> None:
    (feed,) = given_toml(INDEX.replace("private = true", f"private = {private}")).source
    assert feed.fresh_s == fresh_s
    assert feed.absent == 60


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ('"90"', 90),
        ('"90s"', 90),
        ('"15m"', 900),
        ('"24h"', 86_400),
        ('"3d"', 259_200),
        ('" 3 d "', 259_200),
        ("90", 90),
        ("1.5", 1.5),
        ("0", 0),
    ],
)
def test_a_duration_has_a_unit_or_counts_seconds(given_toml: Load, written: str, seconds: float) -> None:
    assert given_toml(f"{INDEX}fresh = {written}\n").source[0].fresh_s == seconds


@pytest.mark.parametrize("text", ["", "d", "1y", "1.5h", "-1s", "1h30m", "one day", "1 2", "\u0663d", "9" * 5_000 + "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 90s, 15m, 24h or 3d"):
        parse_duration_s(text)


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=10) | st.from_regex(r"\d{0,3} ?[smhdy]?", fullmatch=True))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    try:
        assert parse_duration_s(text) >= 0
    except ValueError as error:
        assert "such as" in str(error)


WRONG = [
    # (TOML, the sentence or its beginning: key path first)
    ("[server]\nport = 99999", "server.port: should be less than or equal to 65535"),
    ('[server]\nport = "x"', "server.port: should be a valid integer, unable to parse string as an integer"),
    ("[server]\nhost = 5", "server.host: should be a valid string"),
    ("server = 5", "server: must be a section with settings of its own"),
    ('[server]\nanonymous = "all"', "server.anonymous: must be 'none' or 'read', not 'all'"),
    ('[server]\npath_prefix = "python"', 'server.path_prefix: must look like "/python", without a trailing slash'),
    ('[server]\npath_prefix = "/python/"', 'server.path_prefix: must look like "/python", without a trailing slash'),
    ('[server]\npath_prefix = "/a/../b"', 'server.path_prefix: must look like "/python", without a trailing slash'),
    ('[server]\npath_prefix = "/a%2fb"', 'server.path_prefix: must look like "/python", without a trailing slash'),
    ('[server]\npath_prefix = "/\\n"', 'server.path_prefix: must look like "/python", without a trailing slash'),
    ('[server]\npublic_url = "wheels.example.com"', "server.public_url: has no scheme: write https://wheels.example.com"),
    (
        '[server]\npublic_url = "https://wheels.example.com/?a=b"',
        "server.public_url: must end with its path, without a query or fragment",
    ),
    ('[server]\ntls_cert = "cert.pem"', "server.tls_cert: set both tls_cert and tls_key, or neither"),
    ('[server]\ntls_key = "key.pem"', "server.tls_cert: set both tls_cert and tls_key, or neither"),
    (
        '[server]\nhost = "0.0.0.0"',
        'server.anonymous: must be set because other machines can reach 0.0.0.0: anonymous = "read" (anyone who can '
        'reach the server may install) or anonymous = "none" (a token is required)',
    ),
    ('[store]\nurl = "ftp://x"', 'store.url: must be a folder ("file:./data")'),
    ('[store]\ndelivery = "cache"', "store.delivery: must be 'redirect' or 'stream', not 'cache'"),
    ('[[source]]\ntype = "index"', "source[0].name: is missing"),
    ('[[source]]\nname = "x"', "source[0].type: is missing"),
    ('[[source]]\nname = "x"\ntype = "cloud"', "source[0].type: must be 'store', 'index', "),
    ('[[source]]\nname = "My Feed"\ntype = "index"', "source[0].name: must consist of lower-case letters, digits and dashes"),
    ('[[source]]\nname = ""\ntype = "index"', "source[0].name: must consist of lower-case letters, digits and dashes"),
    ('source = "x"', "source: must be a list: write [[source]]"),
    ('source = ["x"]', "source[0]: must be a section with settings of its own"),
    ('[[source]]\nname = "x"\ntype = "index"\nurl = ""', "source[0].url: cannot be used: it is not an absolute http(s) URL"),
    (
        '[[source]]\nname = "x"\ntype = "index"\nurl = "https://u:p@index.example.com/"',
        "source[0].url: cannot be used: it carries a password: keep it in a connection",
    ),
    (
        '[[source]]\nname = "x"\ntype = "index"\nurl = "https://index.example.com/?a=b"',
        "source[0].url: must end with its path, without a query or fragment",
    ),
    (
        '[[source]]\nname = "x"\ntype = "index"\nurl = "https://index.example.com/a/../b"',
        "source[0].url: cannot be used: its path could be read in two ways",
    ),
    (
        '[[source]]\nname = "x"\ntype = "devops"\nurl = "https://dev.azure.com/acme/_packaging/team/pypi/simple/"',
        'source[0].url: must be a feed such as "https://pkgs.dev.azure.com/ORGANISATION/PROJECT/_packaging/FEED/pypi/simple/"; '
        "no feed is at dev.azure.com: the feeds of that organisation are below https://pkgs.dev.azure.com/acme",
    ),
    (
        '[[source]]\nname = "x"\ntype = "devops"\nurl = "https://pkgs.dev.azure.com/tfs/acme/Platform/_packaging/team/pypi/simple/"',
        "source[0].url: must be a feed such as",
    ),
    ('[[source]]\nname = "x"\ntype = "directory"', 'source[0].url: must be a folder such as "file:./wheels"'),
    ('[[source]]\nname = "x"\ntype = "directory"\nurl = "./wheels"', 'source[0].url: must be a folder such as "file:./wheels"'),
    (
        '[[source]]\nname = "x"\ntype = "store"\nurl = "file:./x"',
        "source[0].url: does not apply to a source of type store; set store.url instead",
    ),
    (
        '[[source]]\nname = "x"\ntype = "store"\ndelivery = "stream"',
        "source[0].delivery: stream is not possible for a source of type store; set store.delivery for stored files",
    ),
    (
        '[[source]]\nname = "x"\ntype = "directory"\nurl = "file:x"\ndelivery = "cache"',
        "source[0].delivery: cache is not possible for a source of type directory",
    ),
    (
        f'{INDEX}file_hosts = ["https://x"]',
        "source[0].file_hosts: 'https://x' is not a host such as files.example.com, files.example.com:8443 or *.example.com",
    ),
    (
        f'{INDEX}file_hosts = ["*"]',
        "source[0].file_hosts: '*' is not a host such as files.example.com, files.example.com:8443 or *.example.com",
    ),
    (f'{INDEX}only = "acme-*"', 'source[0].only: must be a list: write only = ["..."]'),
    (f'{INDEX}only = ["a/b"]', "source[0].only[0]: must be a project name, where * stands for any characters"),
    (f"{INDEX}only = [5]", "source[0].only[0]: must be a project name, where * stands for any characters"),
    (f'{INDEX}fresh = "1y"', "source[0].fresh: must be a duration such as 90s, 15m, 24h or 3d"),
    (f"{INDEX}fresh = true", "source[0].fresh: must be a duration such as 90s, 15m, 24h or 3d"),
    (f"{INDEX}fresh = nan", "source[0].fresh: should be greater than or equal to 0"),
    (f"{INDEX}absent = -1", "source[0].absent: should be greater than or equal to 0"),
    (f'{INDEX}strict = "maybe"', "source[0].strict: should be a valid boolean, unable to interpret input"),
    (f"{INDEX}{INDEX}", "source[1].name: another source is also named feed"),
    (
        '[[source]]\nname = "a"\ntype = "store"\n[[source]]\nname = "b"\ntype = "store"',
        "source: only one source may be of type store",
    ),
    ('[policy]\nreserved = ["a b"]', "policy.reserved[0]: must be a project name, where * stands for any characters"),
    (
        '[[policy.merge]]\nnames = ["x"]\nsources = ["uploads"]',
        "policy.merge[0].sources: list should have at least 2 items, not 1",
    ),
    (
        '[[policy.merge]]\nnames = []\nsources = ["uploads", "pypi"]',
        "policy.merge[0].names: list should have at least 1 item, not 0",
    ),
    (
        '[[policy.merge]]\nnames = ["x"]\nsources = ["uploads", "gone"]',
        "policy.merge[0].sources: there is no source named gone",
    ),
    (
        '[[policy.merge]]\nnames = ["x"]\nsources = ["pypi", "uploads"]',
        "policy.merge[0].sources: uploads is private and must come before pypi: "
        "otherwise the public source would take its file names",
    ),
    ('[store]\nurl = "https://acct.blob.core.windows.net/"', NO_CONTAINER.format(key="store")),
    (
        '[store]\nurl = "http://acct.blob.core.windows.net/c"',
        "store.url: must be https: over http, anyone on the network could read the signed URLs",
    ),
    ('[store]\naccount_key = "env:K"', "store.account_key: applies only to a container in Azure"),
    (
        f'{CONTAINER}account_key = "Zm9vYmFy"',
        "source[0].account_key: must say where the secret is: env:NAME, file:PATH, keyvault:NAME or secret:NAME, "
        "never the secret itself",
    ),
    (f'{INDEX}layout = "project"', "source[0].layout: applies only to a source of type blob or directory"),
    (f"{INDEX}absent_status = [403, 500]", "source[0].absent_status: can only be [403]: 404 always counts, and no other status"),
    (f"{CONTAINER}absent_status = [403]", "source[0].absent_status: applies only to a source of type index"),
    (
        INDEX.replace("private = true", 'private = false\nupstream = "public"'),
        "source[0].upstream: applies only to a private source: what a public one lists is public in any case",
    ),
    (
        '[[source]]\nname = "pypi"\ntype = "index"\nupstream = "none"',
        "source[0].upstream: applies only to a private source: what a public one lists is public in any case",
    ),
    (
        '[[source]]\nname = "box"\ntype = "directory"\nurl = "file:./wheels"\nupstream = "none"',
        "source[0].upstream: applies only to a source of type index or devops: what others hold was put there, whoever made it",
    ),
    (f'{CONTAINER}delivery = "cache"', "source[0].delivery: cache is not possible for a source of type blob"),
    (f"{CONTAINER}".replace('/c"', '/"'), NO_CONTAINER.format(key="source[0]")),
    (
        '[store]\nsas_window = "30m"\nsas_life = "35m"',
        "store.sas_life: must be at least 10m longer than sas_window, which must be at least 10s",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG, ids=[re.sub(r"\W+", "-", sentence)[:60] for _, sentence in WRONG])
def test_each_wrong_value_gets_one_sentence_with_its_key_path(given_toml: Load, text: str, sentence: str) -> None:
    (problem,) = problems_of(lambda: given_toml(text))
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[server]\nprot = 1", "server.prot: unknown setting; did you mean port?"),
        ("[servre]\nport = 1", "servre: unknown setting; did you mean server?"),
        ('[[sources]]\nname = "x"', "sources: unknown setting; did you mean source?"),
        (f'{INDEX}file_host = ["x"]', "source[0].file_host: unknown setting; did you mean file_hosts?"),
        ('[store]\nuri = "file:x"', "store.uri: unknown setting; did you mean url?"),
        ('[policy]\nreserve = ["x"]', "policy.reserve: unknown setting; did you mean reserved?"),
        (
            '[[policy.merge]]\nnames = ["x"]\nsources = ["uploads", "pypi"]\nsource = 1',
            "policy.merge[0].source: unknown setting; did you mean sources?",
        ),
        ("[server]\nxyzzy = 1", "server.xyzzy: unknown setting"),
        ("xyzzy = 1", "xyzzy: unknown setting"),
        ('folder = "/elsewhere"', "folder: unknown setting"),
        ("foldr = 1", "foldr: unknown setting"),
    ],
)
def test_an_unknown_setting_is_named_with_the_one_that_was_meant(given_toml: Load, text: str, sentence: str) -> None:
    assert problems_of(lambda: given_toml(text)) == [sentence]


def test_all_problems_are_told_at_once(given_toml: Load) -> None:
    found = problems_of(
        lambda: given_toml(
            """
            [server]
            port = "x"
            prot = 1
            [store]
            url = "ftp://x"
            [[source]]
            name = "Bad Name"
            type = "index"
            url = "ftp://x"
            file_hosts = ["https://x", "y:"]
            [[source]]
            type = "cloud"
            [[source]]
            name = "shelf"
            type = "directory"
            [policy]
            reserved = ["?"]
            """,
            env={"WHEELGATE_SERVER__ANONYMOUS": "everyone"},
        )
    )
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "policy.reserved[0]",
        "server.anonymous",
        "server.port",
        "server.prot",
        "source[0].file_hosts",
        "source[0].file_hosts",
        "source[0].name",
        "source[0].url",
        "source[1].name",
        "source[1].type",
        "source[2].url",
        "store.url",
    ]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_beyond_loopback_anonymous_must_be_said(given_toml: Load, host: str, loopback: bool) -> None:
    text = f'[server]\nhost = "{host}"\n'
    if loopback:
        assert given_toml(text).server.is_loopback
    else:
        assert [problem.partition(":")[0] for problem in problems_of(lambda: given_toml(text))] == ["server.anonymous"]
    assert given_toml(text + 'anonymous = "read"').anonymous_read
    assert not given_toml(text + 'anonymous = "none"').anonymous_read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "http://127.0.0.1:8080"),
        ('[server]\nhost = "0.0.0.0"\nanonymous = "read"', "http://127.0.0.1:8080"),
        ('[server]\nhost = "::1"\nport = 9', "http://[::1]:9"),
        ('[server]\npath_prefix = "/python"', "http://127.0.0.1:8080/python"),
        ('[server]\ntls_cert = "c"\ntls_key = "k"', "https://127.0.0.1:8080"),
        ('[server]\npublic_url = "https://wheels.example.com/python/"', "https://wheels.example.com/python"),
    ],
)
def test_people_are_told_a_url_that_works(given_toml: Load, text: str, expected: str) -> None:
    assert given_toml(text).base_url == expected


def test_the_port_that_a_socket_got_replaces_the_one_asked_for(given_toml: Load) -> None:
    assert given_toml("[server]\nport = 0").with_port(1234).base_url == "http://127.0.0.1:1234"


def test_a_flag_beats_the_environment_which_beats_the_file(given_toml: Load) -> None:
    text = "[server]\nport = 1\n"
    env = {"WHEELGATE_SERVER__PORT": "2"}
    assert given_toml(text).server.port == 1
    assert given_toml(text, env=env).server.port == 2
    assert given_toml(text, env=env, flags={"server.port": 3}).server.port == 3
    assert given_toml(text, env=env, flags={"server.port": None}).server.port == 2


def test_the_environment_gives_scalars_of_every_section(given_toml: Load) -> None:
    config = given_toml(
        "",
        env={
            "WHEELGATE_SERVER__HOST": "0.0.0.0",
            "WHEELGATE_SERVER__ANONYMOUS": "read",
            "WHEELGATE_STORE__URL": "file:/kept",
            "WHEELGATE_DATA": "/scratch",
            "WHEELGATE_URL": "https://not-a-setting.example.com",
            "WHEELGATE_TOKEN": "not-a-setting",
            "WHEELGATE_CONFIG": "not-a-setting",
            "PATH": "/bin",
        },
    )
    assert (config.server.host, config.server.anonymous) == ("0.0.0.0", "read")
    assert config.store_folder == Path("/kept")
    assert config.data == Path("/scratch")


def test_variables_that_others_set_or_that_settings_refer_to_are_no_mistakes(given_toml: Load) -> None:
    service = {
        "WHEELGATE_SERVICE_HOST": "10.0.0.1",
        "WHEELGATE_SERVICE_PORT": "8080",
        "WHEELGATE_SERVICE_PORT_HTTP": "8080",
        "WHEELGATE_PORT": "tcp://10.0.0.1:8080",
        "WHEELGATE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "WHEELGATE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "WHEELGATE_WEB_SERVICE_HOST": "10.0.0.2",
    }
    connection = '[[connection]]\nname = "a"\ncategory = "PythonFeed"\ntarget = "https://a.example.com"\nauth_type = "PAT"\n'
    given_toml(f'{INDEX}{connection}value = "env:WHEELGATE_PAT"', env={**service, "WHEELGATE_PAT": "x"})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("WHEELGATE_SERVER__PRT", "server.prt: unknown setting; did you mean port?"),
        ("WHEELGATE_SERVR__PORT", "servr: unknown setting; did you mean server?"),
        ("WHEELGATE_SERVER__PORT", "server.port: should be a valid integer, unable to parse string as an integer"),
        ("WHEELGATE_SOURCE__0__URL", "source.0.url: only scalar settings can be set in the environment"),
        ("WHEELGATE_STORE_URL", "WHEELGATE_STORE_URL: unknown variable; did you mean WHEELGATE_STORE__URL?"),
        ("WHEELGATE_PORT", "WHEELGATE_PORT: unknown variable; did you mean WHEELGATE_SERVER__PORT?"),
        ("WHEELGATE_TOKENS", "WHEELGATE_TOKENS: unknown variable; did you mean WHEELGATE_TOKEN?"),
        ("WHEELGATE_DATADIR", "WHEELGATE_DATADIR: unknown variable; did you mean WHEELGATE_DATA?"),
        ("WHEELGATE_COLOUR", "WHEELGATE_COLOUR: unknown variable; settings are named like WHEELGATE_SERVER__PORT"),
        ("WHEELGATE_POLICY__RESERVED", 'policy.reserved: must be a list: write reserved = ["..."]'),
    ],
)
def test_a_mistake_in_the_environment_is_told_by_its_key_path(given_toml: Load, name: str, sentence: str) -> None:
    assert problems_of(lambda: given_toml(INDEX, env={name: "x"})) == [sentence]


def test_relative_paths_start_at_the_file(given_toml: Load, tmp_path: Path) -> None:
    config = given_toml('data = "./here"\n[[source]]\nname = "shelf"\ntype = "directory"\nurl = "file:./wheels"')
    assert config.store_folder == tmp_path / "here" / "store"
    assert config.get_source_folder(config.source[0]) == tmp_path / "wheels"


@pytest.mark.parametrize(
    ("store", "source", "how"),
    [
        ("https://acct.blob.core.windows.net/c", "https://acct.blob.core.windows.net/c", "is the place of"),
        ("https://acct.blob.core.windows.net/c/", "https://ACCT.blob.core.windows.net:443/c", "is the place of"),
        ("https://acct.blob.core.windows.net/c", "https://acct-secondary.blob.core.windows.net/c", "is the place of"),
        ("https://acct.privatelink.blob.core.windows.net/c", "https://acct.blob.core.windows.net/c", "is the place of"),
        ("https://acct.z1.privatelink.blob.storage.azure.net/c", "https://acct.z1.blob.storage.azure.net/c", "is the place of"),
        ("http://127.0.0.1:10000/acct/c", "http://localhost:10000/acct/c", "is the place of"),
        ("https://acct.blob.core.windows.net/c/gate", "https://acct.blob.core.windows.net/c", "holds"),
        ("https://acct.blob.core.windows.net/c/a/gate", "https://acct.blob.core.windows.net/c/a/", "holds"),
        ("https://acct.blob.core.windows.net/c", "https://acct.blob.core.windows.net/c/mirror", "lies inside"),
        ("https://acct.blob.core.windows.net/c/gate", "https://acct.blob.core.windows.net/c/mirror", None),
        ("https://acct.blob.core.windows.net/c/gate", "https://acct.blob.core.windows.net/c/gate-2", None),
        ("https://acct.blob.core.windows.net/c", "https://acct.blob.core.windows.net/c2", None),
        ("https://acct.blob.core.windows.net/c", "https://acct2.blob.core.windows.net/c", None),
        ("http://127.0.0.1:10000/acct/c", "http://127.0.0.1:10001/acct/c", None),
        ("http://127.0.0.1:10000/acct/c", "http://127.0.0.1:10000/acct2/c", None),
        ("file:./kept", "https://acct.blob.core.windows.net/c", None),
        ("https://acct.blob.core.windows.net/c", "file:./wheels", None),
        ("file:./kept", "file:kept/../kept/", "is the place of"),
        ("file:./kept", "file:.", "holds"),
        ("file:./kept", "file:./kept/packages", "lies inside"),
        ("file:./kept", "file:./link", "is the place of"),
        ("file:./link/store", "file:./kept", "holds"),
        ("file:./kept", "file:./link/packages", "lies inside"),
        ("file:./kept", "file:./kept-too", None),
        (None, "file:./here", "holds"),
        (None, "file:./here/wheels", None),
        ("file:./kept", "file:./nul\\u0000", None),
    ],
)
def test_no_source_overlaps_the_store(given_toml: Load, tmp_path: Path, store: str | None, source: str, how: str | None) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to("kept")
    kind = "directory" if source.startswith("file:") else "blob"
    text = f'data = "./here"\n{INDEX}[[source]]\nname = "box"\ntype = "{kind}"\nurl = "{source}"\n'
    text += "" if store is None else f'[store]\nurl = "{store}"\n'
    if how is None:
        given_toml(text)
        return
    key = "data, store.url being unset" if store is None else "store.url"
    assert problems_of(lambda: given_toml(text)) == [
        f"source[1].url: {how} the store ({key}), whose uploads and records are no packages of this source: give each a "
        "container or a folder of its own, neither inside the other"
    ]


def test_absolute_paths_stay(given_toml: Load) -> None:
    config = given_toml('[store]\nurl = "file:/kept"\n[[source]]\nname = "shelf"\ntype = "directory"\nurl = "file:/wheels"')
    assert config.store_folder == Path("/kept")
    assert config.get_source_folder(config.source[0]) == Path("/wheels")
    assert given_toml("", flags={"data": Path("/scratch")}).store_folder == Path("/scratch/store")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no such file"),
        (b"[server", "is not valid TOML"),
        (b"a = 1\na = 2", "is not valid TOML"),
        (b"\xff\xfe", "cannot be read: it is not UTF-8 text"),
        (b"a = " + b"[" * 5_000, "is not valid TOML"),
    ],
)
def test_an_unreadable_file_is_one_sentence(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "wheelgate.toml"
    if content is not None:
        path.write_bytes(content)
    (problem,) = problems_of(lambda: load(path, environment={}))
    assert problem.startswith(f"{path}: {sentence}")


def test_a_folder_for_a_file_is_one_sentence(tmp_path: Path) -> None:
    (problem,) = problems_of(lambda: load(tmp_path, environment={}))
    assert problem == f"{tmp_path}: cannot be read: it is a folder, not a file"


def test_settings_cannot_be_changed_afterwards(given_toml: Load) -> None:
    config = given_toml("")
    with pytest.raises(ValueError, match="frozen"):
        config.server.port = 9


def test_public_pypis_file_host_comes_with_public_pypi_only(given_toml: Load) -> None:
    public, other = given_toml(
        f'[[source]]\nname = "mirror"\ntype = "index"\nurl = "{PUBLIC_INDEX}"\nfile_hosts = ["files.example.com"]\n{INDEX}'
    ).source
    assert public.all_file_hosts == ("files.example.com", PUBLIC_FILES)
    assert other.all_file_hosts == ()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (CONTAINER + 'writable = true\nlayout = "project"\n', None),
        (CONTAINER + "writable = false\n", None),
        (
            CONTAINER + "writable = true\n",
            'source[0].writable: needs layout = "project", because uploads are stored as <project>/<file> and listed at once',
        ),
        (
            CONTAINER + 'writable = true\nlayout = "project"\nprivate = false\n',
            "source[0].writable: a source that accepts uploads cannot be public",
        ),
        (
            INDEX + "writable = true\n",
            "source[0].writable: applies only to a source of type blob; the store is always writable, other sources never are",
        ),
        (
            '[[source]]\nname = "uploads"\ntype = "store"\nwritable = true\n',
            "source[0].writable: applies only to a source of type blob; the store is always writable, other sources never are",
        ),
    ],
)
def test_which_sources_may_be_written(given_toml: Load, lines: str, problem: str | None) -> None:
    if problem is None:
        given_toml(lines)
    else:
        assert problems_of(lambda: given_toml(lines)) == [problem]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (None, None)),
        ({"WHEELGATE_URL": "", "WHEELGATE_TOKEN": ""}, (None, None)),
        ({"WHEELGATE_URL": "https://w.example.com", "WHEELGATE_TOKEN": "t"}, ("https://w.example.com", "t")),
    ],
)
def test_commands_learn_from_the_environment_where_the_server_is(
    environment: dict[str, str], expected: tuple[str | None, str | None]
) -> None:
    assert read_client_settings(environment) == expected


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["index", "store", "https://x/", "file:x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "type", "url", "port", "merge"]), inner, max_size=3)
    ),
    max_leaves=6,
)
keys = st.lists(
    st.sampled_from(["server", "store", "source", "policy", "port", "url", "merge", "data", "x"]), min_size=1, max_size=3
)


@settings(deadline=None, max_examples=150)
@given(st.dictionaries(keys.map(".".join), junk, max_size=4))
def test_any_settings_are_a_configuration_or_sentences(flags: dict[str, object]) -> None:
    try:
        load(environment={}, flags=flags)
    except ConfigurationError as error:
        assert error.problems
        assert all(re.match(r"[^\s:]+: \S", problem) for problem in error.problems)


def test_a_secret_is_read_where_its_reference_says_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(folder=tmp_path)
    (tmp_path / "key").write_text("from-a-file\n")
    monkeypatch.setenv("A_KEY", "from-the-environment")
    assert config.references.read("file:key").reveal() == "from-a-file"
    secret = config.references.read("env:A_KEY")
    assert secret.reveal() == "from-the-environment"
    assert "from" not in f"{secret} {secret!r} {[secret]} {secret:>9}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    (tmp_path / "empty").write_text(" \n")
    for reference, sentence in {
        "env:NOT_SET": "the environment variable NOT_SET is not set",
        "file:missing": "the file missing cannot be read",
        "file:empty": "the file empty is empty",
    }.items():
        with pytest.raises(SecretMissing, match=re.escape(sentence)):
            config.references.read(reference)


@pytest.mark.parametrize(
    ("said", "asked_for"), [("", ["acme-*"]), ('upstream = "none"', ["acme-*"]), ('upstream = "public"', None)]
)
def test_only_names_its_own_where_a_source_passes_the_rest_through(
    given_toml: Load, said: str, asked_for: list[str] | None
) -> None:
    (feed,) = given_toml(f'{INDEX}only = ["acme-*"]\n{said}').source
    assert feed.own_names == asked_for
    assert feed.passes_through is (asked_for is None)


def test_a_rule_for_public_files_is_not_idle_where_a_private_source_passes_them_through(given_toml: Load) -> None:
    rules = f'{INDEX}upstream = "public"\n[policy]\ncooldown = "3d"\n'
    assert given_toml(rules).find_idle_policy(datetime.now(UTC)) == []
    assert given_toml(rules.replace("public", "none")).find_idle_policy(datetime.now(UTC)) != []
