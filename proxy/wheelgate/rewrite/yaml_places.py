"""Places in YAML: pip's lists in the environments of conda, Azure ML and MLflow, and the commands and variables of pipelines."""

from __future__ import annotations

import yaml

from wheelgate.config.plain_yaml import compose_yaml, find_text, find_value, list_entries
from wheelgate.rewrite.pip_lists import ListItem
from wheelgate.rewrite.places import Place, Value
from wheelgate.rewrite.shell_places import VARIABLES, find_shell_places, find_variable_places

_SCHEMA = "azuremlschemas.azureedge.net/"
_KINDS = (
    ("conda_file", "an Azure ML environment"),
    ("build_dependencies", "an MLflow environment"),
    ("framework", "a run of Azure ML's first SDK"),
    ("python", "an environment of Azure ML's first SDK"),
    ("dependencies", "a conda environment"),
    ("services", "a compose file"),
    ("stages", "an Azure pipeline"),
    ("steps", "an Azure pipeline or action"),
    ("runs-on", "a workflow"),
    ("jobs", "a workflow or pipeline"),
)
_BLOCKS = "|>"


class YamlReading:
    """The one YAML document of a text: its lists of pip lines, the places beside them, and its values."""

    def __init__(self, text: str, *, is_python_env: bool = False) -> None:
        """:class:`~wheelgate.config.plain_yaml.NotPlainYaml` if it is none, or has more in it than can be read safely."""
        self._text = text
        self._root = compose_yaml(text, anchors=True)
        self._seen: set[int] = set()
        self.lists: list[list[ListItem]] = []
        self.places: list[Place] = []
        self.values: list[Value] = []
        if is_python_env or find_value(self._root, "build_dependencies") is not None:
            for name in ("build_dependencies", "dependencies"):
                self._take_list(find_value(self._root, name))
        self._visit(self._root, ())

    def describe(self) -> str:
        """Describe what kind of document it is, by its keys."""
        schema = find_text(find_value(self._root, "$schema")) or ""
        if _SCHEMA in schema:
            return f"an Azure ML document ({schema.rpartition('/')[2].removesuffix('.schema.json')})"
        return next((kind for key, kind in _KINDS if find_value(self._root, key) is not None), "a YAML document")

    def _take_list(self, node: yaml.Node | None) -> None:
        """Take a list of pip lines, each item once: an anchor lets one stand in several places."""
        items = [entry for entry in list_entries(node) if isinstance(entry, yaml.ScalarNode) and id(entry) not in self._seen]
        self._seen |= set(map(id, items))
        if items:
            self.lists.append([ListItem(str(item.value), item.start_mark.index, item.end_mark.index) for item in items])

    def _visit(self, node: yaml.Node | None, path: tuple[str | int, ...]) -> None:
        if node is None or id(node) in self._seen:
            return
        self._seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for number, entry in enumerate(node.value):
                self._visit(entry, (*path, number))
        elif isinstance(node, yaml.MappingNode):
            for entry in list_entries(find_value(node, "dependencies")):
                self._take_list(find_value(entry, "pip"))
            self._read_named_variable(node, path)
            for key, value in node.value:
                if isinstance(value, yaml.ScalarNode) and id(value) in self._seen:  # an alias: its name may say what it is
                    start, end, _ = _find_inner(self._text, value)
                    self.values.append(Value(path=(*path, str(key.value)), text=str(value.value), start=start, end=end))
                elif isinstance(value, yaml.ScalarNode):
                    self._seen.add(id(value))
                    self._read_scalar(key, value, (*path, str(key.value)))
                else:
                    self._visit(value, (*path, str(key.value)))
        elif isinstance(node, yaml.ScalarNode):
            self._read_scalar(None, node, path)

    def _read_named_variable(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> None:
        """Read a variable in the long form: ``name: PIP_INDEX_URL`` beside its ``value``."""
        name, value = find_value(node, "name"), find_value(node, "value")
        if isinstance(name, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode) and name.value in VARIABLES:
            self._seen.add(id(value))
            self._read_scalar(name, value, (*path, "value"))

    def _read_scalar(self, key: yaml.Node | None, node: yaml.ScalarNode, path: tuple[str | int, ...]) -> None:
        start, end, joins = _find_inner(self._text, node)
        value = Value(path=path, text=str(node.value), start=start, end=end)
        self.values.append(value)
        if "://" not in value.text:
            return
        raw = self._text[start:end]
        if isinstance(key, yaml.ScalarNode) and key.value in VARIABLES and raw == value.text:
            key_start, key_end, _ = _find_inner(self._text, key)
            scope = path[:-1] if path[-1] == key.value else path[:-2]
            self.places += find_variable_places(raw, start, str(key.value), (key_start, key_end), scope=scope)
        else:
            scope = path[:-1] if path and isinstance(path[-1], int) else path
            self.places += find_shell_places(self._text, start, end, scope=scope, joins=joins)


def _find_inner(text: str, node: yaml.ScalarNode) -> tuple[int, int, bool]:
    """Find the raw characters of a scalar without its quotes, and whether line ends in it are blanks."""
    start, end = node.start_mark.index, node.end_mark.index
    if node.style in ("'", '"'):
        return start + 1, end - 1, True
    if node.style is not None and node.style in _BLOCKS:
        return text.find("\n", start, end) + 1 or end, end, node.style == ">"
    return start, end, True
