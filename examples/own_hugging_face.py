"""A Hugging Face model, as its `Trainer` uses it: from local files, nothing is downloaded.

python examples/own_hugging_face.py        # pip install transformers; simulated, then for real
MODEL=folder python ...                    # a model that `save_pretrained` wrote to this folder
p2pfl simulate examples/digits.toml --set model.kind=own_hugging_face:make_model
"""

import os
from pathlib import Path

from torch import nn
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification

import p2pfl

HERE = Path(__file__).parent

TINY = {"hidden_size": 32, "intermediate_size": 64}
DEPTH = {"num_hidden_layers": 2, "num_attention_heads": 4}
IMAGE = {"image_size": 8, "patch_size": 2, "num_channels": 1, "num_labels": 10}


def make_model() -> nn.Module:
    """The loss is `model(pixel_values=x, labels=y).loss`; for text x are the tokens `[m, L]`."""
    model: nn.Module
    if folder := os.environ.get("MODEL"):
        # `**IMAGE` would go here too, where the saved head has other classes.
        model = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
    else:
        model = ViTForImageClassification(ViTConfig(**TINY, **DEPTH, **IMAGE))
    return model


def main() -> None:
    experiment = p2pfl.load_experiment(HERE / "digits.toml").replace(
        topology=p2pfl.Topology(kind="path", nodes=2),
        partition=p2pfl.Partition(),
        model=p2pfl.Model(kind="own_hugging_face:make_model"),
        training=p2pfl.Training(optimizer="adamw", learning_rate=0.003, local_steps=4),
        compute=p2pfl.Compute(step_s=0.005),
        stop=p2pfl.Stop(steps=200),
    )
    print(p2pfl.compare(p2pfl.simulate(experiment)))
    print(p2pfl.compare(p2pfl.run_experiment(experiment)))


if __name__ == "__main__":
    main()
