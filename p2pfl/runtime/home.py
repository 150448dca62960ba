"""The experiment as one machine sees it: with that machine's data at its nodes."""

from collections.abc import Sequence
from dataclasses import replace

from p2pfl.experiment import Experiment
from p2pfl.own_data import own_data


def brought_by(
    experiment: Experiment, node: str, *, where: str, among: Sequence[str]
) -> Experiment:
    """The same experiment with a machine's data at `node`; the digest stays what it is.

    `where`: as `p2pfl up --data` has it; empty: as the experiment says. `among`: the machine's
    nodes; data of its own is dealt to those of them that learn.

    Raises:
        ConfigError: the experiment has no such node, or learns no data.
    """
    config, place = experiment.config, experiment.place(node)
    own = own_data(config.data, where or None, None)
    if own is None:
        return experiment
    if own.parts is None:
        # Only the place of the files differs, which no digest counts.
        return Experiment(replace(config, data=own.data), folder=experiment.folder)
    learners = [each for each in among if experiment.place(each).learns]
    if not place.learns:
        node = experiment.learners[0]
    elif len(learners) > 1:
        part = f"{learners.index(node) + 1}/{len(learners)}"
        own = own_data(config.data, where, part) or own
    return experiment.at_home(experiment.place(node).node, own)
