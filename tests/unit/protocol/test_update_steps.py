"""Updates of different lengths: the algorithm says how many steps, the node counts them."""

from support.bench import make_bench

from p2pfl.algorithms.local_sgd import LocalSGD
from p2pfl.messages import Effect, ModelMessage, Publish, Train


def published(effects: list[Effect]) -> list[ModelMessage]:
    return [
        e.message for e in effects if isinstance(e, Publish) and isinstance(e.message, ModelMessage)
    ]


def only_train(effects: list[Effect]) -> Train:
    (train,) = [e for e in effects if isinstance(e, Train)]
    return train


def test_an_algorithm_may_say_how_many_steps_an_update_has() -> None:
    bench = make_bench(algorithm=LocalSGD(switch_step=1))
    bench.start()
    bench.model("n1", 0, 0.1)
    train = only_train(bench.model("n2", 0, 0.1))
    assert (train.first_step, train.steps) == (0, 1)
    (message,) = published(bench.trained(1.0))
    assert message.header.local_steps == 1
    bench.model("n1", 1, 1.1)
    train = only_train(bench.model("n2", 1, 1.1))
    assert (train.first_step, train.steps) == (1, 2)
    (message,) = published(bench.trained(2.0))
    assert message.header.local_steps == 2
    assert bench.node.steps == 3
