"""From Python: one experiment in virtual time, in a calm and in a rough world, side by side.

python examples/01_simulate.py
"""

from pathlib import Path

import p2pfl

HERE = Path(__file__).parent


def main() -> None:
    experiment = p2pfl.load_experiment(HERE / "digits.toml").replace(stop=p2pfl.Stop(time_s=10.0))
    calm = p2pfl.simulate(experiment, seed=0)
    rough = p2pfl.simulate(
        experiment.replace(network=p2pfl.Network(latency_s=0.08, loss=0.1)), seed=0
    )
    print(p2pfl.compare(calm, rough))
    print(f"largest staleness ever mixed: {rough.staleness_max:.2f} {rough.staleness_unit}")


if __name__ == "__main__":
    main()
