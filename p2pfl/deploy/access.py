"""Who may say what to whom at the broker: Mosquitto's access rules, from the graph.

A node writes its own topics alone, and hears those whom its algorithm lets it hear. So whoever
holds one node's password can neither speak as another one, nor listen to the whole run, nor end it.
"""

from collections.abc import Iterator

from p2pfl.experiment import Experiment
from p2pfl.transport import topics


def access_rules(experiment: Experiment, run: str) -> str:
    """The rules of all nodes, for `acl_file`; each one's user has its own name."""
    blocks = []
    for place in experiment.places.values():
        node = str(place.node)
        peers = [str(peer) for peer, _ in place.neighbours]
        first = node == next(iter(experiment.places))
        lines = [f"user {node}"]
        lines += [f"topic write {topic}" for topic in _written(run, node, peers, first=first)]
        lines += [f"topic read {topic}" for topic in _read(run, node, peers)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def _written(run: str, node: str, peers: list[str], *, first: bool) -> Iterator[str]:
    if first:
        # The first describes the run; no other may describe it anew.
        yield topics.manifest(run)
    yield topics.head(run, node)
    yield topics.parts(run, node)
    yield topics.presence(run, node)
    yield topics.metrics(run, node)
    # To itself: the question whether its name is taken, and the answer.
    yield from (topics.letter(run, node, receiver) for receiver in (node, *peers))


def _read(run: str, node: str, peers: list[str]) -> Iterator[str]:
    yield topics.manifest(run)
    yield topics.control(run)
    yield topics.presence(run, node)
    yield topics.letter(run, node, node)
    for peer in peers:
        yield topics.presence(run, peer)
        yield topics.head(run, peer)
        yield topics.parts(run, peer)
        yield topics.letter(run, peer, node)
