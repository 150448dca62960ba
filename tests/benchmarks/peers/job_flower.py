"""The job as Flower's users write it: job_flower.py DATA NODES ROUNDS, in its own environment.

FedAvg over all clients, one minibatch step each per round, by Flower's simulation on Ray with one
core per client. The first round, in which actors start, is told apart. Prints JSON as last line.
"""

import json
import os
import sys
from time import perf_counter

os.environ |= {
    "BENCH_DATA": os.path.abspath(sys.argv[1]),  # noqa: PTH100 - before anything is imported
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}

import flower_client
import numpy as np
import torch
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation


def main() -> None:
    """Run, and time the rounds from the second on."""
    nodes, rounds = int(sys.argv[2]), int(sys.argv[3])
    data = np.load(sys.argv[1])
    test_x, test_y = torch.from_numpy(data["test_x"]), torch.from_numpy(data["test_y"])
    ends_s = [perf_counter()]
    accuracies: list[float] = []
    server = ServerApp()

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        """Called by Flower before the first round and after each: cheap, and our clock."""
        if number:
            ends_s.append(perf_counter())
        if number == rounds:
            model = flower_client.make_model()
            model.load_state_dict(arrays.to_torch_state_dict())
            with torch.inference_mode():
                right = (model(test_x).argmax(1) == test_y).float().mean()
            accuracies.append(float(right))
        return MetricRecord({})

    @server.main()
    def serve(grid: Grid, _context: Context) -> None:
        strategy = FedAvg(
            fraction_train=1.0,
            fraction_evaluate=0.0,
            min_train_nodes=nodes,
            min_available_nodes=nodes,
        )
        first = ArrayRecord(flower_client.make_model().state_dict())
        strategy.start(grid, first, num_rounds=rounds, evaluate_fn=evaluate)

    run_simulation(
        server,
        flower_client.app,
        num_supernodes=nodes,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"include_dashboard": False},
        },
    )

    answer = {
        "node_steps": nodes * (rounds - 1),
        "run_s": ends_s[-1] - ends_s[1],
        "start_s": ends_s[1] - ends_s[0],
        "accuracy": accuracies[0],
    }
    print(f"\n{json.dumps(answer)}")


if __name__ == "__main__":
    main()
