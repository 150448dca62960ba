"""The job as gossipy's users write it: job_gossipy.py DATA NODES ROUNDS, in its own environment.

Push gossip on a random 4-regular graph: in each round every node sends its model to a random
neighbour, and who hears one merges it and takes one minibatch step. Prints one line of JSON last.
"""

import json
import sys
from importlib.util import find_spec
from time import perf_counter
from types import ModuleType

import networkx as nx
import numpy as np
import torch

if find_spec("torchvision") is None:
    # gossipy imports it without declaring it, for a data set that this job does not use.
    sys.modules["torchvision"] = ModuleType("torchvision")

from gossipy.core import AntiEntropyProtocol, CreateModelMode, StaticP2PNetwork
from gossipy.data import DataDispatcher
from gossipy.data.handler import ClassificationDataHandler
from gossipy.model.handler import TorchModelHandler
from gossipy.model.nn import TorchMLP
from gossipy.node import GossipNode
from gossipy.simul import GossipSimulator, SimulationEventReceiver

ROUND_LEN = 100
"""Time steps in a round, as in gossipy's own examples."""


class Count(SimulationEventReceiver):
    """Messages that arrived; each is one merge and one step."""

    def __init__(self) -> None:
        self.messages = 0

    def update_message(self, failed: bool, msg: object = None) -> None:  # noqa: FBT001 - its interface
        """One message was sent, or lost."""
        self.messages += not failed

    def update_end(self) -> None:
        """The simulation is over."""

    def update_timestep(self, t: int) -> None:
        """Time went on."""


def main() -> None:
    """Build, warm up for a round, measure."""
    data, nodes, rounds = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    began_s = perf_counter()
    torch.manual_seed(0)
    handler = ClassificationDataHandler(
        torch.from_numpy(data["x"]), torch.from_numpy(data["y"]), test_size=0.0
    )
    graph = nx.random_regular_graph(min(4, nodes - 1), nodes, seed=0)
    dispatcher = DataDispatcher(handler, n=nodes, eval_on_user=False)
    everybody = GossipNode.generate(
        data_dispatcher=dispatcher,
        p2p_net=StaticP2PNetwork(nodes, nx.to_numpy_array(graph)),
        model_proto=TorchModelHandler(
            net=TorchMLP(64, 10, (32,)),
            optimizer=torch.optim.SGD,
            optimizer_params={"lr": 0.1},
            criterion=torch.nn.CrossEntropyLoss(),
            local_epochs=0,  # one minibatch
            batch_size=16,
            create_model_mode=CreateModelMode.MERGE_UPDATE,
        ),
        round_len=ROUND_LEN,
        sync=True,
    )
    simulator = GossipSimulator(
        nodes=everybody,
        data_dispatcher=dispatcher,
        delta=ROUND_LEN,
        protocol=AntiEntropyProtocol.PUSH,
    )
    count = Count()
    simulator.add_receiver(count)
    simulator.init_nodes(seed=0)
    simulator.start(n_rounds=1)
    ready_s = perf_counter()
    before = count.messages
    simulator.start(n_rounds=rounds)
    run_s = perf_counter() - ready_s
    with torch.inference_mode():
        test_x, test_y = torch.from_numpy(data["test_x"]), data["test_y"]
        right = [
            float((node.model_handler.model(test_x).argmax(1).numpy() == test_y).mean())
            for node in everybody.values()
        ]
    answer = {
        "node_steps": count.messages - before,
        "run_s": run_s,
        "start_s": ready_s - began_s,
        "accuracy": float(np.mean(right)),
    }
    print(f"\n{json.dumps(answer)}")


if __name__ == "__main__":
    main()
