"""Flower's `NumPyClient` as it is: it brings its own data, its own model and its own training loop.

p2pfl hands it a model and gets one back. What happens in between is the client's: p2pfl can add
nothing to its gradients, so algorithms that must (SCAFFOLD, gradient tracking, momentum of their
own, FedProx) are refused. `flwr` is never imported: a client is known by its methods.
"""

import random
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from p2pfl.draws import draw_bits
from p2pfl.errors import ConfigError
from p2pfl.learning.own import call_with, is_own, load_function
from p2pfl.learning.schema import schema_hash
from p2pfl.learning.trainer import Score, TrainJob, TrainOutcome
from p2pfl.learning_rate import LearningRate
from p2pfl.types import Array, NodeId, Vector, frozen

MakeClient = Callable[[NodeId], Any]

_METHODS: Final = ("get_parameters", "fit", "evaluate")
_SEED_MAX: Final = 2**32


@dataclass(frozen=True, slots=True)
class ClientContext:
    """What a function `client_fn(context)` written for Flower reads."""

    node_config: Mapping[str, int]
    """"partition-id": the node's place among all, from 0; "num-partitions": how many there are."""
    run_config: Mapping[str, object] = field(default_factory=dict)


def client_maker(
    kind: str, *, nodes: Sequence[NodeId], seed: int, folder: str = "", base: str = ""
) -> MakeClient:
    """Makes a node's client by the function `module:function` of the user's.

    It is called with those of the keywords that it names: `context` (as Flower's `client_fn`),
    `node`, `partition_id`, `num_partitions`, `seed` and `folder`. Each client is made under the
    same random seed, so that all begin with the same model.

    Raises:
        ConfigError: there is no such function.
    """
    assert is_own(kind)
    function = load_function(kind, folder=base)
    where = str(Path(base, folder).expanduser()) if folder else ""
    positions = {node: i for i, node in enumerate(nodes)}

    def make(node: NodeId) -> Any:  # noqa: ANN401 - a class of the user's
        place = {"partition-id": positions[node], "num-partitions": len(positions)}
        offered: dict[str, object] = {
            "context": ClientContext(place),
            "node": node,
            "partition_id": positions[node],
            "num_partitions": len(positions),
            "seed": seed,
            "folder": where,
        }
        _seed_all(draw_bits(seed, "", "init", 0))
        made: Any = call_with(function, offered)
        # What `NumPyClient.to_client()` gives still holds it.
        client = getattr(made, "numpy_client", made)
        missing = [name for name in _METHODS if not callable(getattr(client, name, None))]
        if missing:
            raise ConfigError(
                f"{kind}: returned {type(made).__name__}, which has no {' and no '.join(missing)};"
                ' with data.kind "client" a Flower NumPyClient is expected'
            )
        return client

    return make


class ClientTrainer:
    """A `Trainer` whose training is each client's own `fit`; safe across threads.

    A job with so many steps is one call of `fit`; how many steps the client makes of it is up to
    it: it finds `local_steps` and `learning_rate` in the config, beside Flower's `server_round`.

    Raises:
        ConfigError: a client does not keep to the interface.
    """

    def __init__(
        self,
        make: MakeClient,
        *,
        nodes: Sequence[NodeId],
        seed: int,
        learning_rate: LearningRate,
    ) -> None:
        """`nodes`: whose clients live in this process; they are made when first needed."""
        self._make = make
        self._nodes = tuple(nodes)
        self._seed = seed
        self._learning_rate = learning_rate
        self._clients: dict[NodeId, Any] = {}
        self._lock = threading.RLock()
        first = self._client(self._nodes[0])
        arrays = [np.asarray(a) for a in first.get_parameters({})]
        self._form = _Form(type(first).__name__, arrays)
        self._initial = frozen(self._form.vector(arrays, "get_parameters"))

    @property
    def dimension(self) -> int:
        """d, the length of every vector."""
        return len(self._initial)

    @property
    def schema(self) -> str:
        """Hash of the arrays' positions, shapes and types."""
        return self._form.schema

    @property
    def notes(self) -> tuple[str, ...]:
        """That samples cannot be counted, where the clients do not tell."""
        if self.samples(self._nodes[0]) > 1:
            return ()
        return (
            "the clients have no attribute num_examples: a server's mean counts them all alike",
        )

    @property
    def layout(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of the parts of a vector, in order."""
        return self._form.layout

    def initial(self) -> Vector:
        """What the first client began with."""
        return self._initial

    def samples(self, node: NodeId) -> int:
        """The client's `num_examples`, 1 where it has none, 0 where it lives elsewhere."""
        if node not in self._nodes:
            return 0
        with self._lock:
            return int(getattr(self._client(node), "num_examples", 1))

    def labels(self, node: NodeId) -> tuple[int, ...]:
        """Nothing: a client does not show its labels."""
        return ()

    def train(self, jobs: Sequence[TrainJob]) -> list[TrainOutcome]:
        """One `fit` for each job, in order."""
        with self._lock:
            return [self._train_one(job) for job in jobs]

    def evaluate(self, vectors: Sequence[Vector], nodes: Sequence[NodeId]) -> list[Score]:
        """Score each vector by its node's own `evaluate`; by the first's for a server."""
        with self._lock:
            return [
                self._score(vector, node if node in self._nodes else self._nodes[0])
                for vector, node in zip(vectors, nodes, strict=True)
            ]

    def _client(self, node: NodeId) -> Any:  # noqa: ANN401 - a class of the user's
        if node not in self._clients:
            self._clients[node] = self._make(node)
        return self._clients[node]

    def _train_one(self, job: TrainJob) -> TrainOutcome:
        if job.correction is not None or job.proximal:
            raise ConfigError(
                "this algorithm adds to every gradient, and a client's own training loop cannot be"
                ' given that; take e.g. algorithm.kind = "pull_mix", "dpsgd" or "fedavg"'
            )
        config = {
            "server_round": job.first_step // job.steps + 1,
            "local_steps": job.steps,
            "learning_rate": self._learning_rate.at(job.first_step),
        }
        client = self._client(job.node)
        _seed_all(draw_bits(self._seed, job.node, "fit", job.first_step))
        answer = client.fit(self._form.arrays(job.start), config)
        arrays, _, metrics = self._three(answer, "fit")
        vector = self._form.vector([np.asarray(a) for a in arrays], "fit")
        return TrainOutcome(frozen(vector), None, _number(metrics, "train_loss", "loss"))

    def _score(self, vector: Vector, node: NodeId) -> Score:
        _seed_all(draw_bits(self._seed, node, "evaluate", 0))
        answer = self._client(node).evaluate(self._form.arrays(vector), {})
        loss, _, metrics = self._three(answer, "evaluate")
        accuracy = metrics.get("accuracy")
        return Score(float(loss), None if accuracy is None else float(accuracy))

    def _three(self, answer: Any, method: str) -> tuple[Any, int, Mapping[str, Any]]:  # noqa: ANN401
        if not isinstance(answer, tuple) or len(answer) != 3:  # noqa: PLR2004 - Flower's three
            raise ConfigError(
                f"{self._form.owner}.{method} returned {type(answer).__name__}; expected three:"
                " parameters (evaluate: the loss), number of examples, metrics"
            )
        return answer


class _Form:
    """What a client's list of arrays looks like, and how it becomes one vector and back.

    Floats travel as float32 and come back in their own types. Integers (counters of batch
    normalisation) stay what they were at the start.
    """

    def __init__(self, owner: str, first: Sequence[Array]) -> None:
        self.owner = owner
        self._first = [a.copy() for a in first]
        travels = [(f"array-{i}", a) for i, a in enumerate(first) if a.dtype.kind == "f"]
        if not travels:
            raise ConfigError(
                f"{owner}.get_parameters gives no arrays of floats: there is no model"
            )
        self.layout = tuple((name, tuple(a.shape)) for name, a in travels)
        """Names and shapes of what travels, in order."""
        self.schema = schema_hash((name, shape, "float32") for name, shape in self.layout)

    def vector(self, arrays: Sequence[Array], method: str) -> Vector:
        """The floats of all arrays, one after the other, as a new vector."""
        found, wanted = [a.shape for a in arrays], [a.shape for a in self._first]
        if found != wanted:
            raise ConfigError(
                f"{self.owner}.{method} gives {len(found)} arrays of other shapes than at first"
                f" ({len(wanted)}): all clients, and all their answers, must have the same"
            )
        floats = [a for a, was in zip(arrays, self._first, strict=True) if was.dtype.kind == "f"]
        return np.concatenate([np.asarray(a, np.float32).reshape(-1) for a in floats])

    def arrays(self, vector: Vector) -> list[Array]:
        """New arrays as the client knows them."""
        arrays: list[Array] = []
        begin = 0
        for was in self._first:
            if was.dtype.kind != "f":
                arrays.append(was.copy())
                continue
            end = begin + was.size
            arrays.append(vector[begin:end].reshape(was.shape).astype(was.dtype))
            begin = end
        return arrays


def _number(metrics: Mapping[str, Any], *names: str) -> float:
    """The first of these that the client tells; 0 where it tells none, which says nothing."""
    return next((float(metrics[name]) for name in names if name in metrics), 0.0)


def _seed_all(bits: int) -> None:
    """The random numbers that a client's loop may draw, all from one seed.

    Global state, because that is what such loops read; torch's only where it is in use.
    """
    random.seed(bits)
    np.random.seed(bits % _SEED_MAX)  # noqa: NPY002 - what clients draw from
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(bits % _SEED_MAX)
