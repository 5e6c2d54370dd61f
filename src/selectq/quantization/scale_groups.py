"""Which sites share a scale, and whose scales meet in sums."""

from collections.abc import Callable, Iterable

from selectq.graph.nodes import PIXELS, Add, Concat, Graph, Lookup


def shared_scales(graph: Graph) -> list[tuple[str, ...]]:
    """Sites that store with one scale, because their integer codes are put side by side, in order of execution.

    Only groups of more than one.
    """
    joined = _Joined(_stored(graph))
    for node in graph.nodes:
        if isinstance(node.operation, Concat):
            joined.join(graph.origins(node.name))
    for group in [*joined.groups(), *_meeting(graph).groups()]:
        _join_inputs_of_lookups(graph, joined, group)
    return joined.groups()


def signed_sites(graph: Graph) -> set[str]:
    """Sites that may store negative numbers, or share the scale of one that may."""
    shared = {name: group for group in shared_scales(graph) for name in group}
    return {name for name in _stored(graph) if any(map(graph.is_signed, shared.get(name, (name,))))}


def sum_groups(graph: Graph) -> list[tuple[str, ...]]:
    """Sites whose scales meet in sums: summands and sums, which may be summands of the next."""
    joined = _meeting(graph)
    for group in shared_scales(graph):
        joined.join_if_joined(group)
    return joined.groups()


def _meeting(graph: Graph) -> "_Joined":
    joined = _Joined(_stored(graph))
    for node in graph.nodes:
        if isinstance(node.operation, Add):
            joined.join([node.name, *(origin for source in node.inputs for origin in graph.origins(source))])
    return joined


def _join_inputs_of_lookups(graph: Graph, joined: "_Joined", group: Iterable[str]) -> None:
    """What lookups read shares a scale where what they put out meets: one step is worth the same in all of them."""
    lookups = [name for name in group if isinstance(graph[name].operation, Lookup)]
    joined.join(origin for name in lookups for origin in graph.origins(graph[name].inputs[0]))


def _stored(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes if node.name in graph.origins(node.name) and node.name != PIXELS]


class _Joined:
    """Disjoint sets of names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._set_of = {name: {name} for name in names}

    def join(self, names: Iterable[str]) -> None:
        """Put the sets of all `names` together."""
        merged: set[str] = set().union(*(self._set_of[name] for name in names if name != PIXELS))
        for name in merged:
            self._set_of[name] = merged

    def join_if_joined(self, names: Iterable[str]) -> None:
        """The same, if one of them is in a set of several."""
        names = list(names)
        if any(len(self._set_of[name]) > 1 for name in names):
            self.join(names)

    def groups(self) -> list[tuple[str, ...]]:
        """The sets of several names, in the order in which the names came."""
        order: Callable[[str], int] = list(self._set_of).index
        seen = dict.fromkeys(tuple(sorted(group, key=order)) for group in self._set_of.values() if len(group) > 1)
        return list(seen)
