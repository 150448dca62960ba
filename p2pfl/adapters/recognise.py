"""Which framework a user's module comes from, by the methods that it has."""

from p2pfl.adapters.hugging_face import hugging_face_objective, is_hugging_face
from p2pfl.adapters.lightning import is_lightning, lightning_objective
from p2pfl.adapters.own_loss import OwnLoss, has_own_loss
from p2pfl.learning.objective import Objective
from p2pfl.learning.task import Task


def objective_of(task: Task) -> Objective | None:
    """How the task's model comes to its loss; None: a plain module, whose outputs are judged.

    Raises:
        ConfigError: the module asks for what p2pfl would not do.
    """
    module = task.make_model()
    if has_own_loss(module):
        return OwnLoss()
    if is_lightning(module):
        return lightning_objective(module, task)
    if is_hugging_face(module):
        return hugging_face_objective(module)
    return None
