"""What an experiment of clients with data and a training loop of their own must satisfy.

p2pfl hands a client a model and gets one back: it deals no data, makes no steps, and adds nothing
to gradients. What would have to is refused, with the reason.
"""

from dataclasses import fields

from p2pfl.algorithms.suite import needs_of
from p2pfl.config.read import Place
from p2pfl.config.schema import EvaluationConfig, ExperimentConfig, TrainingConfig

_STEPS_BY_ITSELF = (
    "clip_norm",
    "optimizer",
    "momentum",
    "betas",
    "eps",
    "weight_decay",
    "batch_size",
)


def check_client(config: ExperimentConfig, place: Place) -> None:
    """Refuse what cannot be with `data.kind = "client"`.

    Raises:
        ConfigError: the first thing wrong.
    """
    if config.data.kind != "client":
        return
    if ":" not in config.model.kind:
        raise place.at("model.kind").error(
            f'is "{config.model.kind}" and data.kind is "client"; allowed: the function that makes'
            ' the clients, "module:function"'
        )
    if config.partition.kind != "iid" or config.data.samples is not None:
        key = "data.samples" if config.partition.kind == "iid" else "partition.kind"
        raise place.at(key).error('is given, but data.kind "client" brings its own; remove it')
    _check_training(config.training, place.at("training"))
    if config.evaluation.samples != EvaluationConfig().samples:
        raise place.at("evaluation.samples").error(
            'is given, but data.kind "client" evaluates by itself; remove it'
        )
    _check_algorithm(config, place.at("algorithm"))


def _check_training(training: TrainingConfig, place: Place) -> None:
    defaults = {field.name: field.default for field in fields(TrainingConfig)}
    for key in _STEPS_BY_ITSELF:
        if getattr(training, key) != defaults[key]:
            raise place.at(key).error('is given, but data.kind "client" steps by itself; remove it')
    if training.local_steps is None:
        raise place.at("local_epochs").error(
            'is given, but data.kind "client" goes through its data by itself; say how many steps'
            " that is by local_steps"
        )
    if training.weighting == "samples":
        raise place.at("weighting").error(
            'is "samples", but only its owner knows how many a client has; give weights'
        )


def _check_algorithm(config: ExperimentConfig, place: Place) -> None:
    chosen = config.algorithm
    if chosen.kind == "centralized":
        raise place.at("kind").error(
            'is "centralized", but data.kind "client" never leaves its client; take another'
        )
    corrects = any(needs.plain_sgd for needs in needs_of(chosen.kind))
    if corrects or chosen.kind == "fedprox" or chosen.proximal:
        raise place.at("kind").error(
            f'is "{chosen.kind}", which adds to every gradient or reads it off plain SGD, but'
            ' data.kind "client" has a training loop of its own; take "pull_mix", "dpsgd",'
            ' "fedavg" or another that only mixes models'
        )
    if chosen.selection == "loss":
        raise place.at("selection").error(
            'is "loss", but what a client of data.kind "client" says of its loss cannot be relied'
            " on; remove it"
        )
