"""The peers' job without a simulator: python job_loop.py DATA NODES STEPS torch|trainer.

`torch` is a loop over torch modules with torch's own optimizer, as one writes it without a
framework; `trainer` is p2pfl's plain trainer. Both only train: no mixing, no messages.
"""

import json
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from job_p2pfl import experiment_of

from p2pfl.learning.trainer import TrainJob

Round = Callable[[int], None]


def with_torch(data: str, nodes: int) -> Round:
    """One step at every node, each a module with an optimizer of its own."""
    digits = np.load(data)
    x, y = torch.from_numpy(digits["x"]), torch.from_numpy(digits["y"])
    models = [
        torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
        for _ in range(nodes)
    ]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    shares = [torch.arange(place, len(x), nodes) for place in range(nodes)]

    def one_round(_: int) -> None:
        for model, optimizer, share in zip(models, optimizers, shares, strict=True):
            chosen = share[torch.randperm(len(share))[:16]]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[chosen]), y[chosen])
            loss.backward()  # type: ignore[no-untyped-call] # torch ships it unannotated
            optimizer.step()

    return one_round


def with_trainer(data: str, nodes: int) -> Round:
    """One step at every node by the trainer that real nodes use."""
    experiment = experiment_of(data, nodes=nodes, kind="local", steps=1, trainer="loop")
    trainer = experiment.make_trainer()
    vectors = dict.fromkeys(experiment.learners, trainer.initial())

    def one_round(number: int) -> None:
        jobs = [TrainJob(node, vector, number, 1, None) for node, vector in vectors.items()]
        done = trainer.train(jobs)
        vectors.update({job.node: out.vector for job, out in zip(jobs, done, strict=True)})

    return one_round


def main() -> None:
    """Warm up for a round, measure, answer."""
    data, nodes, steps, what = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(1)
    began_s = perf_counter()
    one_round = (with_torch if what == "torch" else with_trainer)(data, nodes)
    one_round(0)
    ready_s = perf_counter()
    for number in range(1, steps + 1):
        one_round(number)
    answer = {
        "node_steps": nodes * steps,
        "run_s": perf_counter() - ready_s,
        "start_s": ready_s - began_s,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
