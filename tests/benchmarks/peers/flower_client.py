"""The client of the job as Flower's users write it; its actors import this module."""

import os
from functools import cache

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

app = ClientApp()


def make_model() -> nn.Module:
    """The MLP 64-32-10."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


@cache
def samples(place: int, nodes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One client's share of the digits."""
    data = np.load(os.environ["BENCH_DATA"])
    return torch.from_numpy(data["x"][place::nodes]), torch.from_numpy(data["y"][place::nodes])


@app.train()
def train(message: Message, context: Context) -> Message:
    """One minibatch step from the server's model."""
    place, nodes = context.node_config["partition-id"], context.node_config["num-partitions"]
    x, y = samples(int(place), int(nodes))
    model = make_model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    chosen = torch.randperm(len(x))[:16]
    loss = nn.functional.cross_entropy(model(x[chosen]), y[chosen])
    loss.backward()
    optimizer.step()
    content = RecordDict(
        {
            "arrays": ArrayRecord(model.state_dict()),
            "metrics": MetricRecord({"num-examples": len(x), "loss": loss.item()}),
        }
    )
    return Message(content=content, reply_to=message)
