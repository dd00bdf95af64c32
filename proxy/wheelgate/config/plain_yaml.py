"""YAML as people write settings in it: mappings, lists, text, yes and no. What else YAML can do is refused.

A password ``0123`` is that text, not the number 83; an anchor could make a few lines a terabyte; of a key written twice nobody
knows which one is meant; and the C parser ends the process at a document that is nested deeply enough.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

_MAX_DEPTH = 32
_TOLD_APART = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null")
"""Everything else that is not in quotes is text too."""


class NotPlainYaml(ValueError):
    """The text cannot be used; the message says why and where, and repeats nothing of it."""


def plain_yaml(text: str) -> object:
    """The one document in a text, which may be JSON. Numbers and dates come as the text they are written as.

    Raises:
        NotPlainYaml: it is none, or has more in it than settings need.
    """
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_once_each, parse_int=str, parse_float=str, parse_constant=str)
        except NotPlainYaml:
            raise
        except RecursionError:
            raise NotPlainYaml(_DEEP) from None
        except ValueError:
            pass  # YAML has braces too
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - makes nothing but the plain values
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise NotPlainYaml(f"{error.problem if error.problem in _OURS else _NEITHER}{where}") from None
    except yaml.YAMLError:  # characters that YAML does not allow
        raise NotPlainYaml(_NEITHER) from None


_NEITHER = "is neither YAML nor JSON"
_ALIAS = "has YAML anchors, which nothing here needs"
_DEEP = "is nested too deeply"
_TAGGED = "has a YAML tag, which nothing here needs"
_TWICE = "says one thing twice"
_KEY = "has a key that is not text"
_OURS = (_ALIAS, _DEEP, _TAGGED, _TWICE, _KEY)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise NotPlainYaml(_TWICE)
    return made


class _Loader(yaml.SafeLoader):
    """In Python alone: it stops where it is told to."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        problem = (
            _ALIAS
            if isinstance(event, yaml.AliasEvent)
            else _TAGGED
            if getattr(event, "tag", None) is not None
            else _DEEP
            if self._depth > _MAX_DEPTH
            else None
        )
        if problem is not None:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem=_KEY, problem_mark=key.start_mark)
            if key.value in keys:
                raise yaml.MarkedYAMLError(problem=_TWICE, problem_mark=key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: plain
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (plain := [(tag, pattern) for tag, pattern in resolvers if tag in _TOLD_APART])
}
